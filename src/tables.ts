// What this isolate knows of the deployment: the directory (hostname -> clusters) and those clusters' tables, with when each
// was last checked. Plain data in globals: never a stub, a promise or a stream of some request.
// Freshness (WORKERS.md): served from what was checked at most 5 s ago, renewed in the background from 3 s on; beyond 5 s,
// and before any 404, one bounded refresh; while the objects cannot be reached, 60 s at most.
import type { Env } from "./env.ts";
import type { DirectoryEntry, Member, ProbeState } from "./objects/contract.ts";
import { type Door, hostnameOf, index, type Match, match, type TableIndex } from "./routing/match.ts";

const FRESH_MS = 5_000;
const RENEW_MS = 3_000;
const STALE_MS = 60_000;
/** A refresh that takes longer is given up; what is known serves on. */
const REFRESH_MS = 2_000;
/** After a refresh so recent, a miss is a miss. */
const MISS_MS = 1_000;

export interface ClusterTable {
  readonly name: string;
  index: TableIndex | undefined;
  generation: number;
  probes: ProbeState;
  /** Epoch ms of the last answer that confirmed it. */
  checkedAt: number;
}

/** A cluster that can serve a request, with the listener in its table. */
export interface Candidate {
  readonly member: Member;
  readonly table: ClusterTable;
  readonly shards: number;
  readonly match: Match;
}

export class Tables {
  #version = -1;
  #entries = new Map<string, DirectoryEntry>();
  #shards: Readonly<Record<string, number>> = {};
  #checkedAt = 0;
  #renewingSince = 0;
  readonly #clusters = new Map<string, ClusterTable>();

  /** Clusters that serve this door, as far as is known; empty: none. */
  find(door: Door): readonly Candidate[] {
    const entry = this.#entry(door.host);
    if (entry === undefined) return [];
    const found: Candidate[] = [];
    for (const member of entry.members) {
      const table = this.#clusters.get(member.cluster);
      const listener = table?.index === undefined ? undefined : match(table.index, door);
      if (table !== undefined && listener !== undefined)
        found.push({ member, table, shards: this.#shards[member.cluster] ?? 1, match: listener });
    }
    return found;
  }

  /** How old the oldest fact is that find() rests on, ms. */
  age(candidates: readonly Candidate[], now: number): number {
    let oldest = this.#checkedAt;
    for (const { table } of candidates) oldest = Math.min(oldest, table.checkedAt);
    return now - oldest;
  }

  /**
   * What to do about freshness before serving: "serve", "renew" (serve, and refresh beside it; said once for many), "wait".
   */
  plan(candidates: readonly Candidate[], now: number): "serve" | "renew" | "wait" {
    const age = this.age(candidates, now);
    if (candidates.length === 0) return age <= MISS_MS ? "serve" : "wait";
    if (age > FRESH_MS) return "wait";
    // A listener that has nothing behind it may just have got something: that is worth a look.
    if (candidates.every(({ match }) => match.route.unavailable !== undefined))
      return age <= MISS_MS ? "serve" : "wait";
    if (age <= RENEW_MS || now - this.#renewingSince < REFRESH_MS) return "serve";
    this.#renewingSince = now;
    return "renew";
  }

  /** True where even stale facts must not serve any more. */
  expired(candidates: readonly Candidate[], now: number): boolean {
    return this.age(candidates, now) > STALE_MS;
  }

  /** Asks the objects that `host` depends on. Never throws; false where they did not answer in time. */
  async refresh(env: Env, host: string): Promise<boolean> {
    try {
      return await Promise.race([this.#refresh(env, host).then(() => true), after(REFRESH_MS)]);
    } catch {
      return false;
    }
  }

  async #refresh(env: Env, host: string): Promise<void> {
    // The moment of asking counts: what changed while the answer was on its way is not in it.
    const now = Date.now();
    const known = this.#version;
    const before = this.#entry(host)?.members ?? [];
    const directory = env.GATEWAY.getByName("gateway").directory(known < 0 ? undefined : known);
    const tables = before.map((member) => this.#refreshTable(env, member.cluster));
    const { version, entries, shards } = await directory;
    if (entries !== undefined && version >= this.#version) {
      this.#version = version;
      this.#entries = new Map(entries.map((entry) => [entry.hostname, entry]));
      this.#shards = shards ?? {};
    }
    const asked = new Set(before.map((member) => member.cluster));
    for (const member of this.#entry(host)?.members ?? [])
      if (!asked.has(member.cluster)) tables.push(this.#refreshTable(env, member.cluster));
    await Promise.all(tables);
    this.#checkedAt = Math.max(this.#checkedAt, now);
  }

  async #refreshTable(env: Env, cluster: string): Promise<void> {
    const now = Date.now();
    const known = this.#clusters.get(cluster);
    const answer = await env.CLUSTER.getByName(cluster).table(
      known === undefined ? undefined : { generation: known.generation, probes: known.probes.version },
    );
    const table = this.#clusters.get(cluster) ?? {
      name: cluster,
      index: undefined,
      generation: -1,
      probes: { version: -1, unhealthy: [] },
      checkedAt: 0,
    };
    this.#clusters.set(cluster, table);
    if (answer.table !== undefined && answer.generation >= table.generation) {
      table.index = index(answer.table);
      table.generation = answer.generation;
    }
    if (answer.probes !== undefined) table.probes = answer.probes;
    table.checkedAt = Math.max(table.checkedAt, now);
  }

  /** A TunnelObject answered: its generation confirms this table, or says that it is old (false). */
  confirm(table: ClusterTable, generation: string | null, askedAt: number): boolean {
    if (generation === null) return true;
    if (generation === String(table.generation)) {
      table.checkedAt = Math.max(table.checkedAt, askedAt);
      return true;
    }
    // Either side may be the older one; asking the ClusterObject settles it.
    if (table.checkedAt <= askedAt) table.checkedAt = 0;
    return false;
  }

  #entry(host: string): DirectoryEntry | undefined {
    const exact = this.#entries.get(host);
    if (exact !== undefined) return exact;
    return this.#entries.get(hostnameOf(host));
  }
}

function after(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms));
}
