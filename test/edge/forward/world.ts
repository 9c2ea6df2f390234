// A scripted transport on a clock that the test sets: nodes come and go, and do with each try what a script says. It keeps book
// of all that the loop does, so that tests can count.
import { forward } from "../../../src/edge/forward/loop.ts";
import { type BodySink, noBody, type RequestBody, requestBody } from "../../../src/edge/forward/request-body.ts";
import type {
  Answer,
  Failed,
  Hedging,
  Mover,
  Outgoing,
  Transport,
  Unanswered,
} from "../../../src/edge/forward/transport.ts";
import { Waiting } from "../../../src/edge/forward/waiting.ts";
import type { Budget } from "../../../src/shared/wire/session.ts";
import { Clock } from "./clock.ts";

/** What a node does with one try, so many ms after it came; "silent": nothing, ever, but ask whether it should be left. */
export interface Script {
  readonly does: "answer" | "refuse" | "break" | "leave" | "leave-unsent" | "silent";
  readonly after: number;
  /** Bytes of the body that it takes before it lets the loop wait; it goes on 100 ms later. */
  readonly window: number;
}

/** A client's body. */
export interface BodyScript {
  readonly chunks: readonly { readonly bytes: number; readonly after: number }[];
  readonly whole: boolean;
  readonly breaks: boolean;
}

export interface RequestScript {
  readonly method: string;
  readonly idempotent: boolean;
  readonly again: boolean;
  readonly sightings: number;
  readonly at: number;
  readonly body: BodyScript | undefined;
  /** One for each of its tries, the last for all further ones. */
  readonly tries: readonly Script[];
}

/** Up from the beginning or not; then changes at each of these times. */
export interface NodeScript {
  readonly up: boolean;
  readonly changes: readonly number[];
}

interface ScriptedAnswer extends Answer {
  readonly by: Attempted;
}

/** One try, as the node saw it. */
export interface Attempted {
  readonly node: number;
  readonly at: number;
  readonly bytes: number[];
  /** Of this request's tries, how many were under way when it began. */
  readonly beside: number;
  ended: boolean;
  outcome?: ScriptedAnswer | Failed;
  discarded: boolean;
}

/** One request's book. */
export interface Passage extends Outgoing {
  readonly body: RequestBody;
  readonly script: RequestScript;
  readonly attempts: Attempted[];
  /** Nodes tried since a node may have come. */
  pass: Set<number>;
  /** Tries that went to a node which had been tried in the same pass. */
  twice: number;
  /** Times at which it began to wait for a node, and until when. */
  readonly waits: { readonly at: number; readonly until: number }[];
  paid: number;
  refusedToPay: boolean;
  /** Of the loop's own timers, those that neither ended nor were stopped when the request was over. */
  timers: number;
  readonly results: (ScriptedAnswer | Unanswered | "gone")[];
  endedAt: number;
  readonly allBytes: readonly number[];
}

const SWEEP_MS = 250;

export class World {
  readonly clock = new Clock();
  readonly effects = { now: this.clock.now, random: () => 0.5, later: this.clock.later };
  readonly start = this.clock.time;
  readonly memory: Budget;
  readonly passages: Passage[] = [];
  readonly up: boolean[];
  budget: number;
  blamed = 0;
  praised = 0;
  silences: number[] = [];
  readonly hedging?: Hedging<number, Passage>;
  readonly #before: readonly boolean[];
  readonly #changes: { readonly at: number; readonly node: number; readonly is: boolean }[] = [];
  #lastLeft = Number.NEGATIVE_INFINITY;
  readonly #waiting = new Waiting(this.effects);
  readonly #running = new Map<number, Set<() => void>>();

  constructor(nodes: readonly NodeScript[], options: { memory: number; budget: number; hedging: boolean }) {
    this.memory = { held: 0, limit: options.memory };
    this.budget = options.budget;
    this.up = nodes.map(({ up }) => up);
    this.#before = this.up.slice();
    nodes.forEach(({ changes }, node) => {
      for (const at of changes) this.clock.later(at, () => this.#change(node, this.up[node] !== true));
    });
    if (options.hedging)
      this.hedging = {
        possible: () => nodes.length > 1,
        heardSince: () => false,
        silent: (node) => void this.silences.push(node),
      };
  }

  /** Lets a request come in at its time. */
  ask(script: RequestScript): void {
    this.clock.later(script.at, () => void this.#ask(script));
  }

  async #ask(script: RequestScript): Promise<void> {
    const total = script.body?.chunks.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
    const allBytes = Array.from({ length: total }, (_, i) => i % 251);
    const made = script.body === undefined ? noBody : await this.#body(script.body, allBytes);
    const passage: Passage = {
      ...script,
      script,
      body: made ?? noBody,
      attempts: [],
      pass: new Set(),
      twice: 0,
      waits: [],
      paid: 0,
      refusedToPay: false,
      timers: 0,
      results: [],
      endedAt: Number.NaN,
      allBytes,
    };
    this.passages.push(passage);
    const ended = (result: ScriptedAnswer | Unanswered | "gone"): void => {
      passage.endedAt = this.clock.time;
      passage.results.push(result);
    };
    if (made === undefined) return ended("gone");
    const timers = new Set<object>();
    const later = (ms: number, call: () => void): (() => void) => {
      const timer = {};
      timers.add(timer);
      const stop = this.clock.later(ms, () => {
        timers.delete(timer);
        call();
      });
      return () => {
        timers.delete(timer);
        stop();
      };
    };
    ended(await forward(this.#for(passage), passage, { ...this.effects, later }));
    passage.timers = timers.size;
  }

  /** What the loop is given: it keeps book of this request. */
  #for(passage: Passage): Transport<number, Passage, ScriptedAnswer> {
    return {
      retries: {
        request: () => {},
        retry: () => {
          if (this.budget <= 0) {
            passage.refusedToPay = true;
            return false;
          }
          this.budget--;
          passage.paid++;
          return true;
        },
      },
      order: (_request, now) => this.#order(now),
      hasOther: (_request, tried) => this.up.some((up, node) => up && !tried.includes(node)),
      attempt: (node, _request, now, mover) => this.#attempt(node, passage, now, mover),
      discard: ({ by }) => void (by.discarded = true),
      succeeded: () => void this.praised++,
      failed: () => void this.blamed++,
      reconnecting: (now) => now - this.#lastLeft < 30_000,
      changed: async (until) => {
        passage.waits.push({ at: this.clock.time, until });
        const came = await this.#waiting.wait(until);
        if (came) passage.pass = new Set();
        return came;
      },
      ...(this.hedging !== undefined && { hedging: this.hedging }),
    };
  }

  #body(script: BodyScript, allBytes: readonly number[]): Promise<RequestBody | undefined> {
    let at = 0;
    let next = 0;
    const wait = (ms: number): Promise<void> => new Promise((resolve) => void this.clock.later(ms, resolve));
    const read = async (): Promise<Uint8Array | undefined> => {
      const chunk = script.chunks[next++];
      if (chunk === undefined) {
        if (script.breaks) throw new Error("the client broke it off");
        return undefined;
      }
      await wait(chunk.after);
      at += chunk.bytes;
      return Uint8Array.from(allBytes.slice(at - chunk.bytes, at));
    };
    const whole = async (): Promise<Uint8Array> => {
      const parts: number[] = [];
      for (let each = await read(); each !== undefined; each = await read()) parts.push(...each);
      return Uint8Array.from(parts);
    };
    return requestBody({ length: script.whole ? allBytes.length : Number.NaN, whole, read }, this.memory, this.effects);
  }

  *#order(now: number): Iterable<number> {
    const first = now % this.up.length;
    for (let i = 0; i < this.up.length; i++) {
      const node = (first + i) % this.up.length;
      if (this.up[node] === true) yield node;
    }
  }

  #attempt(node: number, request: Passage, now: number, mover: Mover): Promise<ScriptedAnswer | Failed> {
    const { attempts, script, body } = request;
    const mine = script.tries[attempts.length] ?? script.tries.at(-1);
    if (mine === undefined) throw new Error("a request has a script");
    const { does, after, window } = mine;
    if (this.up[node] !== true) throw new Error(`node ${node} is down`);
    if (request.pass.has(node)) request.twice++;
    request.pass.add(node);
    const beside = attempts.filter(({ ended }) => !ended).length;
    const attempted: Attempted = { node, at: now, bytes: [], beside, ended: false, discarded: false };
    attempts.push(attempted);
    return new Promise((resolve) => {
      const end = (outcome: ScriptedAnswer | Failed): void => {
        if (attempted.outcome !== undefined) return;
        attempted.outcome = outcome;
        attempted.ended = true;
        for (const stop of stops) stop();
        this.#running.get(node)?.delete(lose);
        if (!outcome.ok) body.detach();
        resolve(outcome);
      };
      const fail = (reason: Failed["reason"], more: Partial<Failed>): void =>
        end({ ok: false, sent: "maybe", reason, detail: "scripted", ...more });
      const lose = (): void =>
        fail("endpoint-broke", { lost: true, sent: does === "leave-unsent" ? "never" : "maybe" });
      const running = this.#running.get(node) ?? new Set();
      this.#running.set(node, running.add(lose));
      const stops: (() => void)[] = [];
      const later = (ms: number, call: () => void): void => void stops.push(this.clock.later(ms, call));
      const sweep = (): void => {
        if (mover.mayMove()) fail("no-available-node", {});
        else later(SWEEP_MS, sweep);
      };
      let seen = false;
      let due = false;
      /** It answers once it has all of the body. */
      const answer = (): void => {
        due = true;
        if (seen) end({ ok: true, by: attempted });
      };
      let taken = 0;
      const sink: BodySink = {
        write: (bytes, isLast) => {
          if (attempted.ended) throw new Error("written to after its end");
          attempted.bytes.push(...bytes);
          seen ||= isLast;
          if (seen && due) answer();
          taken += bytes.length;
          if (taken < window) return true;
          taken = 0;
          later(100, () => body.resume());
          return false;
        },
        flush: () => {},
        onBroken: () => fail("client-gone", { final: true }),
      };
      if (body.streamed) body.attach(sink);
      else sink.write(body.whole ?? new Uint8Array(0), true);
      // Where tries are hedged, nothing tells that a node is silent.
      if (does === "silent") return this.hedging === undefined ? later(1_000, sweep) : undefined;
      later(after, () => {
        if (does === "answer") return answer();
        if (does === "refuse") return fail("no-endpoints", { sent: "never" });
        if (does === "break") return fail("endpoint-broke", { final: true });
        this.#change(node, false);
        lose();
      });
    });
  }

  /** Nodes that were up at that time. */
  upAt(time: number): readonly number[] {
    const up = this.#before.slice();
    for (const { at, node, is } of this.#changes) if (at <= time) up[node] = is;
    return up.flatMap((is, node) => (is ? [node] : []));
  }

  /** Whether a node went away in the half minute before. */
  leftLately(time: number): boolean {
    return this.#changes.some(({ at, is }) => !is && at <= time && time - at < 30_000);
  }

  allDown(): void {
    for (const node of this.up.keys()) this.#change(node, false);
  }

  #change(node: number, up: boolean): void {
    if (this.up[node] === up) return;
    this.up[node] = up;
    this.#changes.push({ at: this.clock.time, node, is: up });
    if (up) return this.#waiting.wake();
    this.#lastLeft = this.clock.time;
    for (const lose of [...(this.#running.get(node) ?? [])]) lose();
  }
}
