// What must hold while things change. A change has Services of its own and is a sequence of checks, which its Stage makes
// and keeps; the tables (../tables/) have what holds while nothing changes.
import type { Outcome, Question } from "../messages.ts";
import type { Endpoint, ServiceSpec } from "../objects.ts";
import { destination, wordOf } from "../play.ts";
import { type Expectation, type Expected, expectedOf, type Family, type Mode, type Protocol } from "../row.ts";
import type { World } from "../world.ts";

export interface Change {
  readonly name: string;
  readonly services: readonly ServiceSpec[];
  /** It disturbs the others. */
  readonly alone?: true;
  /** Absent: all. */
  readonly modes?: readonly Mode[];
  /** kube-proxy knows nothing of it. */
  readonly onlyFor?: "agent";
  readonly play: (stage: Stage) => Promise<void>;
}

export interface Checked {
  readonly change: string;
  readonly check: string;
  readonly expected: string;
  readonly seen: string;
  readonly right: boolean;
  readonly because: string | undefined;
}

export interface Way {
  readonly from: string;
  readonly to: string;
  readonly service: string;
  readonly family: Family;
  readonly fromPort?: number;
  /** TCP: it stays open until it is released. */
  readonly hold?: true;
}

/** A busy machine is given its time: a packet that finds no rules is not dropped here, but answered by the gateway. */
const WITHIN_MS = 2_500;
/** It takes a second. On a busy machine a change of rules alone has taken 14; this only ends what hangs. */
const FLOWS_MOVE_WITHIN_MS = 60_000;

/** What a change does, and what it finds. */
export class Stage {
  readonly world: World;
  readonly checked: Checked[] = [];
  readonly #change: string;
  /** It is kube-proxy that is judged. */
  readonly isReference: boolean;

  constructor(world: World, change: string, isReference: boolean) {
    this.world = world;
    this.#change = change;
    this.isReference = isReference;
  }

  /** As in row.ts: "a1, but kube-proxy: drop". */
  check(check: string, seen: string, expect: Expectation, because?: string): void {
    const expected = this.#expected(expect);
    const right = expected.oneOf ? expected.words.includes(seen) : expected.text === seen;
    this.checked.push({ change: this.#change, check, expected: expected.text, seen, right, because });
  }

  /** Its slices are written anew; returns when all nodes know. */
  async endpoints(service: string, endpoints: readonly Endpoint[]): Promise<void> {
    await this.world.cluster.putEndpoints({ name: service, endpoints });
    await this.world.settled();
  }

  /** The word for what came. UDP: a datagram of the flow that comes `fromPort`. */
  async ask(protocol: Protocol, { from, to, service, family, fromPort, hold }: Way): Promise<string> {
    const place = destination(to, this.world.numberOf(service), family);
    const withinMs = WITHIN_MS * this.world.patience;
    const question: Question = { do: "ask", protocol, family, ...place, fromPort, hold, withinMs };
    return wordOf(await this.world.residents.ask(from, question));
  }

  /** What a connection gets. */
  async checkConnection(check: string, way: Way, expect: Expectation): Promise<void> {
    this.check(check, await this.ask("TCP", way), expect);
  }

  /** What a flow of UDP gets at last: entries of conntrack go after the rules have come. */
  async checkFlow(check: string, way: Way, expect: Expectation, because?: string): Promise<void> {
    const expected = this.#expected(expect).text;
    let seen = "";
    const met = async (): Promise<boolean> => (seen = await this.ask("UDP", way)) === expected;
    await this.world.until("a flow goes where it should", met, FLOWS_MOVE_WITHIN_MS).catch(() => {});
    this.check(check, seen, expect, because);
  }

  #expected(expect: Expectation): Expected {
    return expectedOf(expect, this.world.mode, this.isReference);
  }

  /** Closes what is held. */
  async release(from: string, server: string): Promise<void> {
    await this.world.residents.ask(from, { do: "release", server });
  }

  get(from: string, url: string): Promise<Outcome> {
    return this.world.get(from, url);
  }
}
