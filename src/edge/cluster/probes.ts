// Probes of the nodes that serve direct routes. A node answers if any HTTP answer comes from one of its NodePorts: a Service
// whose own pods are broken says nothing about the node.
// Results are rows of the ClusterObject, not memory: it hibernates between two probes, and two failures in a row must count.
import { type ThresholdConfig, type ThresholdState, initial, step } from "../../shared/health/thresholds.ts";
import { type DialRules, originOf } from "../routing/dial.ts";
import type { RoutingTable } from "../routing/table.ts";
import type { ClusterStore } from "./store.ts";
import type { ProbeState } from "../rpc/contract.ts";

export interface ProbeTarget {
  readonly node: string;
  /** One for each port: "http://10.0.0.1:30080" */
  readonly origins: readonly string[];
}

export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

interface Stored {
  readonly state: ThresholdState;
  readonly reason: string;
}

/** Cloudflare limits the subrequests of one invocation, to 50 on the free plan. More nodes take several alarms. */
const NODES_PER_ROUND = 16;
const PORTS_PER_NODE = 3;
/** Cloudflare lets one invocation have this many connections that wait for an answer. */
const AT_ONCE = 6;
const TIMEOUT_MS = 5_000;

const thresholds: ThresholdConfig = { failures: 2, successes: 1 };

export class Prober {
  readonly #store: ClusterStore;
  readonly #intervalMs: number;
  readonly #dial: DialRules;
  /** When the next round is due, epoch ms. Undefined after a restart: then the stored alarm says it. */
  #nextAt: number | undefined;
  #cursor = 0;

  constructor(store: ClusterStore, intervalMs: number, dial: DialRules) {
    this.#store = store;
    this.#intervalMs = intervalMs;
    this.#dial = dial;
  }

  /** Each node that a direct route may use, once, with the NodePorts that should answer there. */
  targets(table: RoutingTable): ProbeTarget[] {
    const targets = new Map<number, { node: string; origins: Set<string> }>();
    for (const route of table.routes) {
      if (route.transport !== "direct" || route.nodePort === undefined || route.unavailable !== undefined) continue;
      for (const { node } of route.nodes) {
        const { name, address } = table.nodes[node] ?? {};
        const origin = address === undefined ? undefined : originOf(address, route.nodePort, this.#dial);
        if (name === undefined || origin === undefined) continue;
        const target = targets.get(node) ?? { node: name, origins: new Set() };
        if (target.origins.size < PORTS_PER_NODE) target.origins.add(origin);
        targets.set(node, target);
      }
    }
    return [...targets.values()].map((target) => ({ ...target, origins: [...target.origins] }));
  }

  /** Forgets nodes that no direct route uses any more; new ones are probed at once. */
  follow(before: RoutingTable | undefined, after: RoutingTable): void {
    const had = new Set((before === undefined ? [] : this.targets(before)).map(({ node }) => node));
    const targets = this.targets(after);
    if (targets.some(({ node }) => !had.has(node))) this.#nextAt = 0;
    const kept = new Set(targets.map(({ node }) => node));
    for (const node of this.#store.probes().keys()) if (!kept.has(node)) this.#store.setProbe(node, undefined);
  }

  due(table: RoutingTable | undefined, now: number): number | undefined {
    if (table === undefined || this.targets(table).length === 0) return undefined;
    return this.#nextAt ?? now + this.#intervalMs;
  }

  /** Probes what is due. Writes nothing: pass the results to record(). */
  async run(table: RoutingTable, now: number): Promise<ReadonlyMap<string, ProbeResult>> {
    const results = new Map<string, ProbeResult>();
    if (this.#nextAt !== undefined && now < this.#nextAt) return results;
    const targets = this.targets(table);
    if (this.#cursor >= targets.length) this.#cursor = 0;
    const round = targets.slice(this.#cursor, this.#cursor + NODES_PER_ROUND);
    this.#cursor += round.length;
    // Each node is probed once in each interval, in as many rounds as that takes.
    this.#nextAt = now + Math.ceil((this.#intervalMs * round.length) / Math.max(1, targets.length));
    const waiting = round.values();
    const worker = async (): Promise<void> => {
      for (const target of waiting) results.set(target.node, await attempt(target));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return results;
  }

  /** `table` as it is now: a node that lost its direct routes while it was probed is forgotten. */
  record(results: ReadonlyMap<string, ProbeResult>, table: RoutingTable): void {
    const rows = this.#store.probes();
    for (const { node } of this.targets(table)) {
      const result = results.get(node);
      const row = rows.get(node);
      // A node whose probes succeed needs no row.
      if (result === undefined || (row === undefined && result.ok)) continue;
      const before = row === undefined ? initial : (JSON.parse(row) as Stored).state;
      const state = step(before, result.ok, thresholds);
      const stored: Stored = { state, reason: result.ok ? "answers again" : result.reason };
      this.#store.setProbe(node, result.ok && state.healthy ? undefined : JSON.stringify(stored));
      if (state.healthy !== before.healthy) this.#store.raiseProbesVersion();
    }
  }

  state(): ProbeState {
    const unhealthy = [...this.#store.probes()].flatMap(([node, row]) => {
      const { state, reason } = JSON.parse(row) as Stored;
      return state.healthy ? [] : [{ node, reason }];
    });
    return { version: this.#store.probesVersion(), unhealthy };
  }
}

async function attempt({ origins }: ProbeTarget): Promise<ProbeResult> {
  let reason = "no NodePort to probe";
  for (const origin of origins) {
    // Not AbortSignal.timeout: its timer would keep the object awake, and billed, after the answer.
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), TIMEOUT_MS);
    try {
      const response = await fetch(`${origin}/`, { redirect: "manual", signal: patience.signal });
      await response.body?.cancel();
      return { ok: true };
    } catch {
      reason = `${patience.signal.aborted ? "no answer in time" : "connection failed"} on port ${origin.slice(origin.lastIndexOf(":") + 1)}`;
    } finally {
      clearTimeout(timer);
    }
  }
  return { ok: false, reason };
}
