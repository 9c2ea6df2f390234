// What this isolate knows of the deployment: the directory (hostname -> clusters) and those clusters' tables, with when each
// was last checked. Plain data in globals: never a stub, a promise or a stream of some request.
// Freshness (docs/design.md, section 4): served from what was checked at most 5 s ago, renewed in the background from 3 s on;
// beyond 5 s, and before any 404, one bounded refresh; while the objects cannot be reached, 60 s at most. Each thing is asked
// for by one request at a time: the others look whether its answer has come, since workerd ties a promise to the request that
// made it.
import type { DirectoryEntry, Member } from "../../shared/control/answers.ts";
import type { ClusterRpc, GatewayRpc, ProbeState } from "../rpc/contract.ts";
import { GATEWAY_NAME } from "../rpc/names.ts";
import type { Effects } from "../forward/transport.ts";
import { type Door, hostnameOf, index, type Match, match, type TableIndex } from "../routing/match.ts";

const FRESH_MS = 5_000;
const RENEW_MS = 3_000;
const STALE_MS = 60_000;
/** A refresh that takes longer is given up; what is known serves on. */
const REFRESH_MS = 2_000;
/** After a refresh so recent, a miss is a miss, and what failed is not asked again. */
const MISS_MS = 1_000;
/** How often a request looks whether what another one asked for has come, ms. */
const LOOK_MS = 10;

/** The objects that know: those of src/edge/env.ts. */
export interface Objects {
  readonly GATEWAY: { readonly getByName: (name: string) => Pick<GatewayRpc, "directory"> };
  readonly CLUSTER: { readonly getByName: (name: string) => Pick<ClusterRpc, "table"> };
}

/** Keeps a promise going when its request is over. */
export interface Context {
  readonly waitUntil: (promise: Promise<unknown>) => void;
}

/** One thing that an object is asked for. */
interface Fact {
  /** When the last answer was asked for, epoch ms: what changed while it was on its way is not in it. */
  checkedAt: number;
  /** When it was last asked for, epoch ms. */
  askedAt: number;
  /** The answer to that has not come, nor failed. */
  underWay: boolean;
  /** When it was last found that no answer came, epoch ms. */
  failedAt: number;
  /** Somebody who knows says that it has changed since. */
  outdated: boolean;
}

export interface ClusterTable extends Fact {
  readonly name: string;
  index: TableIndex | undefined;
  generation: number;
  probes: ProbeState;
  /** Until when somebody reads its access log, as far as is known here, epoch ms; 0: never yet. */
  watchedUntil: number;
}

/** A cluster that can serve a request, with the listener in its table. */
export interface Candidate {
  readonly member: Member;
  readonly table: ClusterTable;
  /** Of which `match` is; the table may have a newer one meanwhile. */
  readonly index: TableIndex;
  readonly shards: number;
  readonly match: Match;
}

/** Of a copy that an isolate keeps: its version or generation, and when it was last confirmed, epoch ms. */
export interface Known {
  readonly number: number;
  readonly checkedAt: number;
}

/** A hostname of the directory. */
interface Host {
  readonly members: readonly { readonly member: Member; readonly table: ClusterTable }[];
  /** All that an answer for it rests on: the directory, and the tables. */
  readonly facts: readonly Fact[];
}

const unchecked = (): Fact => ({ checkedAt: 0, askedAt: 0, underWay: false, failedAt: 0, outdated: false });

export class Tables {
  readonly #effects: Pick<Effects, "now" | "later">;
  #version = -1;
  #hosts = new Map<string, Host>();
  #shards: Readonly<Record<string, number>> = {};
  readonly #directory = unchecked();
  /** Of a host that nobody owns. */
  readonly #unknown: Host = { members: [], facts: [this.#directory] };
  /** By name, of all hosts. */
  readonly #clusters = new Map<string, ClusterTable>();

  constructor(effects: Pick<Effects, "now" | "later">) {
    this.#effects = effects;
  }

  /** Clusters that serve this door, as far as is known; empty: none. */
  find(door: Door): readonly Candidate[] {
    const found: Candidate[] = [];
    for (const { member, table } of this.#host(door.host).members) {
      const { index: ofTable } = table;
      const listener = ofTable === undefined ? undefined : match(ofTable, door);
      if (ofTable === undefined || listener === undefined) continue;
      found.push({ member, table, index: ofTable, shards: this.#shards[member.cluster] ?? 1, match: listener });
    }
    return found;
  }

  /** What is known of the directory and of one cluster's table, and when each was last checked; undefined: nothing. */
  known(cluster: string): { readonly directory: Known | undefined; readonly table: Known | undefined } {
    const table = this.#clusters.get(cluster);
    return {
      directory: this.#version < 0 ? undefined : { number: this.#version, checkedAt: this.#directory.checkedAt },
      table:
        table === undefined || table.generation < 0
          ? undefined
          : { number: table.generation, checkedAt: table.checkedAt },
    };
  }

  /**
   * What to do about freshness before serving what find() gave for `host`: "serve", "renew" (serve, and refresh beside it; said
   * to one request of many), "wait".
   */
  plan(host: string, candidates: readonly Candidate[], now: number): "serve" | "renew" | "wait" {
    const { facts } = this.#host(host);
    // A listener that has nothing behind it may just have got something: that is worth a look, as a miss is.
    const limit = candidates.every(({ match }) => match.route.unavailable !== undefined) ? MISS_MS : FRESH_MS;
    let due = false;
    let patient = candidates.length > 0;
    let wait = false;
    for (const fact of facts) {
      const age = now - fact.checkedAt;
      due ||= isDue(fact, now);
      wait ||= age > limit;
      // What nobody got a moment ago is not waited for by each request: what is known serves until it is too old.
      patient &&= age <= limit || (age <= STALE_MS && failedLately(fact, now));
    }
    if (wait && !patient) return "wait";
    return due ? "renew" : "serve";
  }

  /** True where even stale facts must not serve `host` any more. */
  expired(host: string, now: number): boolean {
    return this.#host(host).facts.some(({ checkedAt }) => now - checkedAt > STALE_MS);
  }

  /**
   * Asks the objects that `host` depends on, or waits for the answers that other requests have asked for. Never throws; false
   * where one of them did not answer in time.
   */
  async refresh(objects: Objects, ctx: Context, host: string): Promise<boolean> {
    try {
      return await Promise.race([
        this.#refresh(objects, ctx, host),
        this.#after(REFRESH_MS).then(() => this.#giveUp(host)),
      ]);
    } catch {
      return false;
    }
  }

  #giveUp(host: string): false {
    const now = this.#effects.now();
    for (const fact of this.#host(host).facts) if (fact.underWay && !isUnderWay(fact, now)) fact.failedAt = now;
    return false;
  }

  async #refresh(objects: Objects, ctx: Context, host: string): Promise<boolean> {
    const table = (known: ClusterTable): Promise<boolean> =>
      this.#once(ctx, known, () => this.#askTable(objects, known));
    const before = new Set(this.#host(host).members.map((each) => each.table));
    const directory = this.#once(ctx, this.#directory, () => this.#askDirectory(objects));
    const tables = [...before].map(table);
    const checked = [await directory];
    for (const each of this.#host(host).members) if (!before.has(each.table)) tables.push(table(each.table));
    checked.push(...(await Promise.all(tables)));
    return checked.every(Boolean);
  }

  /** By this request, or, where another one is at it, by that one. */
  async #once(ctx: Context, fact: Fact, ask: () => Promise<void>): Promise<boolean> {
    const now = this.#effects.now();
    if (!isUnderWay(fact, now)) {
      const asked = this.#ask(fact, now, ask);
      // Others wait for it: it must not end with a client that leaves.
      ctx.waitUntil(asked);
      return await asked;
    }
    const { askedAt } = fact;
    for (let waited = 0; waited < REFRESH_MS && fact.underWay && fact.askedAt === askedAt; waited += LOOK_MS)
      await this.#after(LOOK_MS);
    return fact.checkedAt >= askedAt;
  }

  async #ask(fact: Fact, now: number, ask: () => Promise<void>): Promise<boolean> {
    fact.askedAt = now;
    fact.underWay = true;
    fact.outdated = false;
    try {
      await ask();
      fact.checkedAt = Math.max(fact.checkedAt, now);
      return true;
    } catch {
      fact.failedAt = this.#effects.now();
      return false;
    } finally {
      // One that was given up as lost may end after the next has begun.
      if (fact.askedAt === now) fact.underWay = false;
    }
  }

  async #askDirectory(objects: Objects): Promise<void> {
    const known = this.#version;
    const { version, entries, shards } = await objects.GATEWAY.getByName(GATEWAY_NAME).directory(
      known < 0 ? undefined : known,
    );
    if (entries === undefined || version < this.#version) return;
    this.#version = version;
    this.#shards = shards ?? {};
    this.#hosts = new Map(entries.map((entry) => [entry.hostname, this.#hostOf(entry)]));
    const named = new Set([...this.#hosts.values()].flatMap(({ members }) => members.map(({ table }) => table.name)));
    for (const cluster of this.#clusters.keys()) if (!named.has(cluster)) this.#clusters.delete(cluster);
  }

  #hostOf(entry: DirectoryEntry): Host {
    const members = entry.members.map((member) => ({ member, table: this.#table(member.cluster) }));
    return { members, facts: [this.#directory, ...members.map(({ table }) => table)] };
  }

  async #askTable(objects: Objects, known: ClusterTable): Promise<void> {
    const answer = await objects.CLUSTER.getByName(known.name).table(
      known.generation < 0 ? undefined : { generation: known.generation, probes: known.probes.version },
    );
    if (answer.table !== undefined && answer.generation >= known.generation) {
      known.index = index(answer.table);
      known.generation = answer.generation;
    }
    if (answer.probes !== undefined) known.probes = answer.probes;
    if (answer.watchedUntil !== undefined) known.watchedUntil = answer.watchedUntil;
  }

  #table(cluster: string): ClusterTable {
    let table = this.#clusters.get(cluster);
    if (table === undefined) {
      table = {
        ...unchecked(),
        name: cluster,
        index: undefined,
        generation: -1,
        probes: { version: -1, unhealthy: [] },
        watchedUntil: 0,
      };
      this.#clusters.set(cluster, table);
    }
    return table;
  }

  /**
   * A TunnelObject answered: its generation confirms this table, or says that either is old (false): asking the ClusterObject
   * settles which. Where it is the other one, asking again and again would not.
   */
  confirm(table: ClusterTable, generation: string | null, askedAt: number): boolean {
    if (generation === null) return true;
    if (generation === String(table.generation)) {
      table.checkedAt = Math.max(table.checkedAt, askedAt);
      return true;
    }
    if (table.askedAt <= askedAt) table.outdated = true;
    return !isDue(table, this.#effects.now());
  }

  /** Somebody reads its access log; a table that nobody has asked for yet will say so itself. */
  watched(cluster: string, until: number): void {
    const table = this.#clusters.get(cluster);
    if (table !== undefined) table.watchedUntil = until;
  }

  #after(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#effects.later(ms, resolve));
  }

  #host(host: string): Host {
    return this.#hosts.get(host) ?? this.#hosts.get(hostnameOf(host)) ?? this.#unknown;
  }
}

/** Where its request was lost, it counts as failed after the time that a refresh may take. */
const isUnderWay = ({ underWay, askedAt }: Fact, now: number): boolean => underWay && now - askedAt < REFRESH_MS;

const failedLately = ({ failedAt, checkedAt }: Fact, now: number): boolean =>
  failedAt > checkedAt && now - failedAt <= FRESH_MS;

/** To be asked for in the background, by one request. */
const isDue = (fact: Fact, now: number): boolean =>
  !isUnderWay(fact, now) && (now - fact.checkedAt > RENEW_MS || fact.outdated) && now - fact.askedAt > MISS_MS;
