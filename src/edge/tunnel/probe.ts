// Probes a shard's connections: opens a stream of its own on each, all at the same time, and says what came of it. That a process
// is well, or that its socket is open, proves nothing of the way of a request; a stream that comes back does. It reads nothing of
// the answers: the control API does. Nothing survives.
import { type ProbeQuestion, Reset } from "../../shared/wire/messages.ts";
import { PROBE_MAX } from "../../shared/wire/limits.ts";
import type { ProbeStage } from "../../shared/control/probe.ts";
import type { Effects } from "../forward/transport.ts";
import type { ProbedLink, ProbeResult, ShardProbe } from "../rpc/contract.ts";
import type { Exchange, Link } from "./link.ts";
import type { ShardNode } from "./shard.ts";

export interface ProbeOptions {
  readonly question: ProbeQuestion;
  /** A connection that has not answered by then is said not to have. */
  readonly limitMs: number;
  /** So many connections are asked; nodes come before second connections of nodes. */
  readonly most: number;
}

/** What is known of a shard's connections. */
export interface Probed {
  readonly nodes: Iterable<ShardNode>;
  /** When anything was heard of it, a ping included; epoch ms. */
  readonly heardAt: (link: Link) => number;
  readonly effects: Effects;
}

/** Resolves after `limitMs` at the latest, and never rejects. */
export async function probeLinks(
  { nodes, heardAt, effects }: Probed,
  { question, limitMs, most }: ProbeOptions,
): Promise<ShardProbe> {
  const links = [...nodes]
    .flatMap(({ name, links: of }) => of.map((link, place) => ({ node: name, link, place })))
    .sort((a, b) => a.place - b.place);
  const now = effects.now();
  const connections = links.slice(0, most).map(async ({ node, link }): Promise<ProbedLink> => {
    const { peer } = link.session;
    const facts = {
      node,
      instance: peer?.instance ?? "",
      software: peer?.software ?? "",
      token: link.tokenId,
      since: link.since,
      heardAgoMs: Math.max(0, now - heardAt(link)),
      draining: link.session.goneAway,
      suspect: link.suspect,
      inFlight: link.session.open,
    };
    return { ...facts, probe: await probeLink(link, question, limitMs, effects) };
  });
  return { connections: await Promise.all(connections), leftOut: Math.max(0, links.length - most) };
}

/** Why no probe stream can be opened; undefined: one can. */
function obstacle({ session, usable }: Link): { readonly stage: ProbeStage; readonly why: string } | undefined {
  if (session.goneAway) return { stage: "draining", why: "the agent stops: it takes no new streams" };
  if (!session.canProbe)
    return { stage: "unsupported", why: "this agent is older than probes: upgrade it to the edge's version" };
  return usable ? undefined : { stage: "full", why: "no more streams fit on this connection" };
}

function probeLink(link: Link, question: ProbeQuestion, limitMs: number, effects: Effects): Promise<ProbeResult> {
  const hindered = obstacle(link);
  if (hindered !== undefined) return Promise.resolve({ ok: false, ...hindered, afterMs: 0, heard: false });
  return new Promise((resolve) => {
    const exchange = new ProbeExchange(link, effects, resolve);
    exchange.begin(question, limitMs);
  });
}

/** One probe stream. It ends once: answered, reset, or when its time is over. */
class ProbeExchange implements Exchange {
  waitingSince = Number.NaN;
  readonly #link: Link;
  readonly #effects: Effects;
  readonly #resolve: (result: ProbeResult) => void;
  readonly #sentAt: number;
  readonly #decoder = new TextDecoder();
  #id = 0;
  #text = "";
  #bytes = 0;
  #stopTimer: () => void = () => {};

  constructor(link: Link, effects: Effects, resolve: (result: ProbeResult) => void) {
    this.#link = link;
    this.#effects = effects;
    this.#resolve = resolve;
    this.#sentAt = effects.now();
  }

  begin(question: ProbeQuestion, limitMs: number): void {
    this.#stopTimer = this.#effects.later(limitMs, () => {
      this.#release("not-answered", Reset.CANCELLED, `no answer within ${limitMs} ms`);
    });
    this.#id = this.#link.probe(this, question, this.#sentAt);
  }

  onHead({ status }: { readonly status: number }, body: Uint8Array | undefined, end: boolean): void {
    if (status !== 200) return this.#release("bad-answer", Reset.BROKE, `the answer has status ${status}`);
    if (body !== undefined || end) this.onData(body ?? new Uint8Array(0), end);
  }

  onData(bytes: Uint8Array, end: boolean): void {
    this.#bytes += bytes.length;
    if (this.#bytes > PROBE_MAX)
      return this.#release("bad-answer", Reset.TOO_BIG, `the answer is longer than ${PROBE_MAX} bytes`);
    this.#text += this.#decoder.decode(bytes, { stream: !end });
    this.#link.consumed(this.#id, bytes.length);
    if (!end) return;
    this.#link.done(this.#id);
    this.#stopTimer();
    this.#resolve({ ok: true, sentAt: this.#sentAt, answeredAt: this.#effects.now(), answer: this.#text });
  }

  onReset(code: Reset, reason: string, lost: boolean): void {
    const why = reason === "" ? `RESET ${code}` : reason;
    this.#fail(lost ? "lost" : code === Reset.OVERLOADED ? "busy" : "reset", why);
  }

  onMessage(): void {}
  onClose(): void {}
  onDrained(): void {}
  onWait(): void {}
  onSuspect(): void {}
  onOverdue(): void {}

  #release(stage: ProbeStage, code: Reset, why: string): void {
    this.#link.release(this.#id, code, why);
    this.#fail(stage, why);
  }

  #fail(stage: ProbeStage, why: string): void {
    this.#stopTimer();
    const heard = this.#link.lastReceived > this.#sentAt;
    this.#resolve({ ok: false, stage, afterMs: this.#effects.now() - this.#sentAt, heard, why });
  }
}
