// Transport direct: one cluster's nodes as the loop (src/edge/forward/loop.ts) sees them in one isolate, and one try by fetch. Load
// and failures are exact per isolate only; what probes found comes with the tables. Memory only: kept for a cluster as long as
// its table is known, whatever the table's generation, and dropped for routes and nodes that go.
import { RetryBudget } from "../forward/retry-budget.ts";
import type { Trace } from "../forward/trace.ts";
import type { Effects, Failed, Hedging, Outgoing, Transport } from "../forward/transport.ts";
import type { RoutingTable } from "../routing/table.ts";
import type { ProbeState } from "../rpc/contract.ts";
import type { PickContext } from "../../shared/balance/balancer.ts";
import { combine } from "../../shared/health/combine.ts";
import { Ejector } from "../../shared/health/ejection.ts";
import type { DirectBody } from "./body.ts";
import { Period } from "./load.ts";
import { type DirectNode, type Kept, routeKey, type RouteState } from "./nodes.ts";
import type { DirectTry } from "./passing.ts";

/** A node that was silent while another answered comes after the others for so long, ms. No ejection: it may only be slow. */
const SILENT_MS = 10_000;

export interface DirectOutgoing extends Outgoing {
  readonly body: DirectBody;
  readonly headers: Headers;
  /** Path and query as they came. */
  readonly target: string;
  readonly upgrade: boolean;
  /** Of the client's address. */
  readonly client: number;
  readonly nodes: RouteState;
  readonly probes: ProbeState;
  /** Nodes that are not available are better than refusing. */
  readonly lastResort: boolean;
  /** undefined: nobody reads the access log. */
  readonly trace: Trace | undefined;
}

export interface DirectAnswer {
  readonly ok: true;
  /** As it came from the backend. */
  readonly response: Response;
}

export interface DirectEffects extends Effects {
  /** Never rejects. */
  readonly exchange: (attempt: DirectTry) => Promise<Response | Failed>;
}

export class DirectTransport
  implements Transport<DirectNode, DirectOutgoing, DirectAnswer>, Hedging<DirectNode, DirectOutgoing>
{
  readonly retries = new RetryBudget();
  readonly hedging = this;
  readonly period = new Period();
  /** By routeKey. */
  readonly kept = new Map<string, Kept>();
  readonly #effects: DirectEffects;
  readonly #ejector: Ejector;
  #generation = -1;
  /** Until when some node comes after the others because it was silent, epoch ms. */
  #silentUntil = 0;

  constructor(effects: DirectEffects) {
    this.#effects = effects;
    this.#ejector = new Ejector(effects.random);
  }

  /** Forgets what a newer table has no more. */
  setTable({ generation, routes, nodes }: RoutingTable): void {
    if (generation <= this.#generation) return;
    this.#generation = generation;
    this.#ejector.retain(new Set(nodes.map(({ name }) => name)));
    if (this.kept.size === 0) return;
    const stay = new Set(routes.map(routeKey));
    for (const key of this.kept.keys()) if (!stay.has(key)) this.kept.delete(key);
  }

  /** Available nodes by preference, then those that were silent, then those that are not available. */
  *order(request: DirectOutgoing, now: number): Iterable<DirectNode> {
    const { nodes, probes, client } = request;
    const ctx: PickContext = { now, random: this.#effects.random, client };
    const troubled =
      probes.unhealthy.length > 0 ||
      this.#silentUntil > now ||
      this.#ejector.nextReturn(now) !== Number.POSITIVE_INFINITY;
    for (const tier of troubled ? this.#tiers(request, now) : nodes.tiers) yield* nodes.balancer.order(tier, ctx);
  }

  #tiers({ nodes, probes, lastResort }: DirectOutgoing, now: number): readonly (readonly DirectNode[])[] {
    const available = (node: DirectNode): boolean => {
      const probe = probes.unhealthy.find((each) => each.node === node.key);
      const measured = probe === undefined ? undefined : { probe: probe.reason };
      return combine({ measured, ejectedUntil: this.#ejector.ejectedUntil(node.key, now), now }).available;
    };
    const tiers = nodes.tiers.map((tier) => tier.filter(available));
    const silent = (node: DirectNode): boolean => node.state.silentUntil > now;
    const heard = tiers.map((tier) => tier.filter((node) => !silent(node)));
    const rest = lastResort ? nodes.tiers.flat().filter((node) => !available(node)) : [];
    return [...heard, tiers.flat().filter(silent), rest];
  }

  /** No try asks: a fetch tells nothing while it waits. */
  hasOther(): boolean {
    return false;
  }

  attempt(node: DirectNode, request: DirectOutgoing): Promise<DirectAnswer | Failed> {
    const pending = this.#attempt(node, request);
    return request.trace === undefined ? pending : request.trace.follow(node.key, pending, ({ response }) => response);
  }

  async #attempt({ origin, state }: DirectNode, request: DirectOutgoing): Promise<DirectAnswer | Failed> {
    const { target, method, headers, body } = request;
    const place = state.take();
    const outcome = await this.#effects.exchange({ url: origin + target, method, headers, body: body.take() });
    state.release(place);
    if (!(outcome instanceof Response)) return outcome;
    state.answeredAt = this.#effects.now();
    return { ok: true, response: outcome };
  }

  discard({ response }: DirectAnswer): void {
    void response.body?.cancel().catch(() => {});
  }

  succeeded({ key }: DirectNode, startedAt: number): void {
    this.#ejector.succeeded(key, startedAt);
  }

  failed({ key }: DirectNode, { nodes }: DirectOutgoing, now: number): void {
    this.#ejector.failed(key, now, nodes.size);
  }

  /** Nothing tells that a node has come back: no request waits for one. */
  reconnecting(): boolean {
    return false;
  }

  changed(): Promise<boolean> {
    return Promise.resolve(false);
  }

  // ---- hedging ---------------------------------------------------------------------------------------------------

  possible({ nodes, upgrade }: DirectOutgoing): boolean {
    return !upgrade && nodes.size > 1;
  }

  heardSince({ state }: DirectNode, since: number): boolean {
    return state.answeredAt > since;
  }

  silent({ state }: DirectNode, now: number): void {
    this.#silentUntil = state.silentUntil = now + SILENT_MS;
  }
}
