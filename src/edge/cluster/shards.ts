// What the ClusterObject asks of its TunnelObjects: to take the table, to close the sockets of withdrawn tokens, to list their
// nodes. A request that a shard does not confirm stays in SQLite, and the owner's alarm repeats it until it is confirmed.
// Calls only shards that an agent has dialled, because a call creates the object that it names.
import { backoff } from "../../shared/net/backoff.ts";
import type { RoutingTable } from "../routing/table.ts";
import type { ClusterStore } from "./store.ts";
import type { Env } from "../env.ts";
import type { TunnelNode } from "../../shared/control/answers.ts";
import type { ClusterProbe } from "../rpc/contract.ts";
import { tunnelName } from "../rpc/names.ts";
import { within } from "../rpc/within.ts";

const TIMEOUT_MS = 3_000;
/** How much later than its probes a shard may answer. */
const PROBE_SPARE_MS = 1_000;
const RETRY = { firstMs: 1_000, maxMs: 60_000 };
/**
 * Sockets of a withdrawn token are closed a second time after this time: a dial that was authorised just before the token was
 * withdrawn has arrived by then.
 */
const LATE_DIAL_MS = 10_000;

export class Shards {
  readonly #store: ClusterStore;
  readonly #namespace: Env["TUNNEL"];
  #failures = 0;

  constructor(store: ClusterStore, namespace: Env["TUNNEL"]) {
    this.#store = store;
    this.#namespace = namespace;
  }

  /** Returns when every shard has answered or run out of time. */
  async push(table: RoutingTable): Promise<void> {
    const { cluster, generation } = table;
    const behind = this.#store.shards().filter(({ pushed }) => pushed < generation);
    await Promise.all(
      behind.map(({ shard }) =>
        this.#confirmed(`table to shard ${cluster}/${shard}`, async () => {
          await within(TIMEOUT_MS, this.#object(cluster, shard).setTable(table));
          this.#store.setPushed(shard, generation);
        }),
      ),
    );
  }

  /** Writes down that the sockets of `tokens` are to be closed; close() does it. */
  withdraw(tokens: readonly string[], reason: string, now: number): void {
    for (const token of tokens)
      for (const { shard } of this.#store.shards())
        this.#store.setClosing({ token, shard, reason, not_before: now, rounds: 2 });
  }

  async close(cluster: string, now: number): Promise<void> {
    const due = this.#store.closings().filter(({ not_before }) => not_before <= now);
    await Promise.all(
      due.map((closing) =>
        this.#confirmed(`closing sockets at shard ${cluster}/${closing.shard}`, async () => {
          const { token, shard, reason, rounds } = closing;
          await within(TIMEOUT_MS, this.#object(cluster, shard).closeToken(token, reason));
          if (rounds > 1) this.#store.setClosing({ ...closing, not_before: now + LATE_DIAL_MS, rounds: rounds - 1 });
          else this.#store.removeClosing(closing);
        }),
      ),
    );
  }

  /** Throws where a shard does not confirm: the caller repeats it. */
  async closeAll(cluster: string, reason: string): Promise<void> {
    await Promise.all(
      this.#store
        .shards()
        .map(({ shard }) => within(TIMEOUT_MS, this.#object(cluster, shard).closeToken("all", reason))),
    );
  }

  async nodes(cluster: string): Promise<{ shard: number; nodes: readonly TunnelNode[] | undefined }[]> {
    return await Promise.all(
      this.#store.shards().map(async ({ shard }) => {
        try {
          return { shard, nodes: await within(TIMEOUT_MS, this.#object(cluster, shard).nodes()) };
        } catch {
          return { shard, nodes: undefined };
        }
      }),
    );
  }

  /** Every shard asks its connections at the same time; `most` are asked in all. */
  async probe(
    cluster: string,
    { question, limitMs, most }: { question: { service?: string }; limitMs: number; most: number },
  ): Promise<ClusterProbe> {
    const shards = this.#store.shards();
    const about = { question, limitMs, most: Math.floor(most / Math.max(1, shards.length)) };
    const probed = await Promise.all(
      shards.map(async ({ shard }) => {
        try {
          return { shard, found: await within(limitMs + PROBE_SPARE_MS, this.#object(cluster, shard).probe(about)) };
        } catch {
          return { shard, found: undefined };
        }
      }),
    );
    return {
      connections: probed.flatMap(({ shard, found }) => (found?.connections ?? []).map((each) => ({ ...each, shard }))),
      leftOut: probed.reduce((sum, { found }) => sum + (found?.leftOut ?? 0), 0),
      silentShards: probed.filter(({ found }) => found === undefined).map(({ shard }) => shard),
    };
  }

  /** A shard that does not hear it says less in the log, and hears the next. */
  async watchLog(cluster: string, until: number): Promise<void> {
    await Promise.all(
      this.#store.shards().map(async ({ shard }) => {
        try {
          await within(TIMEOUT_MS, this.#object(cluster, shard).watchLog(until));
        } catch (error) {
          console.warn(`shard ${cluster}/${shard} does not know that its log is read`, error);
        }
      }),
    );
  }

  /** When there is something to repeat, epoch ms; undefined where all is confirmed. */
  due(generation: number, now: number): number | undefined {
    const retry = now + backoff(this.#failures, RETRY);
    const times = this.#store.closings().map(({ not_before }) => Math.max(not_before, retry));
    if (this.#store.shards().some(({ pushed }) => pushed < generation)) times.push(retry);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  async #confirmed(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      console.error(`${what} failed, will be repeated`, error);
    }
  }

  #object(cluster: string, shard: number): ReturnType<Env["TUNNEL"]["getByName"]> {
    return this.#namespace.getByName(tunnelName(cluster, shard));
  }
}
