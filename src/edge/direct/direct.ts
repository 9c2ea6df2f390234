// Transport direct, the isolate's part: which nodes, in what order, what each has in flight, who failed. How they are tried is
// src/edge/direct/tries.ts. Load and failures are exact per isolate only; what probes found comes with the tables. Memory only:
// kept for a cluster as long as its table is known, whatever the table's generation, and dropped for routes and nodes that go.
import { createBalancer } from "../../shared/balance/index.ts";
import { RetryBudget } from "../forward/retry-budget.ts";
import { combine } from "../../shared/health/combine.ts";
import { Ejector } from "../../shared/health/ejection.ts";
import { clientAcceptEncoding } from "../http/forwarded.ts";
import { directRequestHeaders, type Refused } from "../http/headers.ts";
import { isIdempotent } from "../forward/retry.ts";
import type { ProbeState } from "../rpc/contract.ts";
import { type DialRules, originOf } from "../routing/dial.ts";
import type { Match } from "../routing/match.ts";
import type { Route, RoutingTable } from "../routing/table.ts";
import type { Failed } from "../forward/transport.ts";
import { Load, Period } from "./load.ts";
import { type DirectTry, mayHaveBody, passesAsItCame } from "./passing.ts";
import { firstAnswer } from "./tries.ts";
import type { Balancer, Candidate, PickContext } from "../../shared/balance/balancer.ts";
import { clientHash, hash32 } from "../../shared/balance/hash.ts";

/** Without an answer for so long, the next node is asked beside the first, ms. */
const HEDGE_MS = 1_000;
/** A node that was silent while another answered comes after the others for so long, ms. No ejection: it may only be slow. */
const SILENT_MS = 10_000;
/** Bodies of at most so many bytes are read first, so that they can be sent again. */
const REPLAYABLE_BYTES = 64 * 1024;

/** A node as one route sees it, from table to table. */
class NodeState extends Load {
  /** When it last answered a request of this route, epoch ms. */
  answeredAt = 0;
  /** Until when it comes after the others, epoch ms. */
  silentUntil = 0;
}

class DirectNode implements Candidate {
  readonly key: string;
  readonly hash: number;
  readonly weight: number;
  readonly preferred: boolean;
  readonly origin: string;
  readonly state: NodeState;

  constructor(name: string, weight: number, preferred: boolean, origin: string, state: NodeState) {
    this.key = name;
    this.hash = hash32(name);
    this.weight = weight;
    this.preferred = preferred;
    this.origin = origin;
    this.state = state;
  }

  get inFlight(): number {
    return this.state.inFlight;
  }
}

/** What stays of a route from table to table. */
interface Kept {
  readonly balancer: Balancer;
  readonly nodes: Map<string, NodeState>;
}

interface RouteState {
  readonly balancer: Balancer;
  /** Preferred nodes, then the others; without regard to their health. */
  readonly tiers: readonly (readonly DirectNode[])[];
  readonly size: number;
}

/** One cluster's. */
class ClusterState {
  readonly ejector: Ejector;
  readonly budget = new RetryBudget();
  readonly period = new Period();
  /** By routeKey. */
  readonly kept = new Map<string, Kept>();
  generation = -1;
  /** Until when some node comes after the others because it was silent, epoch ms. */
  silentUntil = 0;

  constructor(random: () => number) {
    this.ejector = new Ejector(random);
  }
}

const routeKey = ({ service, port, algorithm }: Route): string => `${service}:${port}:${algorithm}`;

export interface DirectRequest {
  readonly match: Match;
  /** Of which `match` is. */
  readonly table: RoutingTable;
  readonly probes: ProbeState;
  /** The same object as long as the cluster's table is known. */
  readonly cluster: object;
  readonly dial: DialRules;
  readonly client: string;
  readonly scheme: "http" | "https";
  readonly forwarderSecret: string | undefined;
  /** Path and query as they came. */
  readonly target: string;
  /** It came through a trusted proxy. */
  readonly trusted: boolean;
  /** A repeat after the edge's process was lost: sent once. */
  readonly again: boolean;
  /** How many nodes may see it; at least 1. */
  readonly sightings: number;
  /** Nodes that are not available are better than refusing; false where another cluster may be better yet. */
  readonly lastResort: boolean;
}

export type DirectOutcome =
  /** As it came from the backend: directAnswer() makes it the client's. */
  | Response
  /** Nodes may have seen it: that many. */
  | (Failed & { readonly sightings: number })
  /** It may not be passed on. */
  | Refused
  /** No node is available, and none was asked. */
  | "none-available"
  /** Not for this transport: a fetch would change or refuse it, or no node may be dialled. Nothing of it was read. */
  | "by-tunnel"
  /** The client broke off while its body was read. */
  | "client-gone";

export interface DirectEffects {
  readonly exchange: (attempt: DirectTry) => Promise<Response | Failed>;
  readonly random: () => number;
  /** Epoch ms. */
  readonly now: () => number;
  /** Calls once after `ms`; what it returns stops that. */
  readonly later: (ms: number, call: () => void) => () => void;
}

export class Direct {
  readonly #effects: DirectEffects;
  /** Routes are objects of one table. */
  readonly #routes = new WeakMap<Route, RouteState>();
  readonly #clusters = new WeakMap<object, ClusterState>();

  constructor(effects: DirectEffects) {
    this.#effects = effects;
  }

  async fetch(request: Request, direct: DirectRequest): Promise<DirectOutcome> {
    const { match, client, target } = direct;
    const { exchange, random, now, later } = this.#effects;
    const cluster = this.#clusterState(direct);
    const state = this.#routeState(direct, cluster);
    if (state.size === 0 || !passesAsItCame(request, target)) return "by-tunnel";
    const { ejector, budget } = cluster;
    const startedAt = now();
    cluster.period.moveOn(startedAt);
    const nodes = this.#order(state, cluster, direct, { now: startedAt, random, client: clientHash(client) });
    const headers = directRequestHeaders(request.headers, {
      client,
      proto: direct.scheme,
      host: request.headers.get("host") ?? match.host,
      port: match.port,
      acceptEncoding: clientAcceptEncoding(request, direct.forwarderSecret),
      edge: direct.forwarderSecret,
      trusted: direct.trusted,
    });
    if (!(headers instanceof Headers)) return headers;
    const { method } = request;
    const upgrade = request.headers.get("upgrade");
    if (upgrade !== null) headers.set("upgrade", upgrade);
    const idempotent = !direct.again && isIdempotent(method, request.headers);
    const body = await bodyToSend(request, idempotent);
    if (body === "gone") return "client-gone";
    budget.request(startedAt);
    const send = async (node: DirectNode): Promise<Response | Failed> => {
      const place = node.state.take();
      const outcome = await exchange({ url: node.origin + target, method, headers, body });
      node.state.release(place);
      if (outcome instanceof Response) {
        node.state.answeredAt = now();
        ejector.succeeded(node.key, startedAt);
      } else ejector.failed(node.key, now(), state.size);
      return outcome;
    };
    const mayHedge = idempotent && upgrade === null && state.size > 1 && (method === "GET" || method === "HEAD");
    const { outcome, sightings, silent } = await firstAnswer({
      nodes: nodes[Symbol.iterator](),
      send,
      sightings: direct.sightings,
      repeatable: idempotent && !(body instanceof ReadableStream),
      hedgeMs: mayHedge ? HEDGE_MS : undefined,
      answeredSince: (node, since) => node.state.answeredAt > since,
      budget: () => budget.retry(now()),
      now,
      later,
    });
    if (silent !== undefined) cluster.silentUntil = silent.state.silentUntil = now() + SILENT_MS;
    if (outcome === undefined) return "none-available";
    return outcome instanceof Response ? outcome : { ...outcome, sightings };
  }

  /** Available nodes by preference, then those that are not. */
  *#order(state: RouteState, cluster: ClusterState, direct: DirectRequest, ctx: PickContext): Iterable<DirectNode> {
    const { ejector, silentUntil } = cluster;
    const troubled =
      direct.probes.unhealthy.length > 0 ||
      silentUntil > ctx.now ||
      ejector.nextReturn(ctx.now) !== Number.POSITIVE_INFINITY;
    for (const tier of troubled ? this.#tiers(state, ejector, direct, ctx.now) : state.tiers)
      yield* state.balancer.order(tier, ctx);
  }

  #tiers(
    state: RouteState,
    ejector: Ejector,
    { probes, lastResort }: DirectRequest,
    now: number,
  ): readonly (readonly DirectNode[])[] {
    const available = (node: DirectNode): boolean => {
      const probe = probes.unhealthy.find((each) => each.node === node.key);
      const measured = probe === undefined ? undefined : { probe: probe.reason };
      return combine({ measured, ejectedUntil: ejector.ejectedUntil(node.key, now), now }).available;
    };
    const tiers = state.tiers.map((tier) => tier.filter(available));
    const silent = (node: DirectNode): boolean => node.state.silentUntil > now;
    const heard = tiers.map((tier) => tier.filter((node) => !silent(node)));
    const rest = lastResort ? state.tiers.flat().filter((node) => !available(node)) : [];
    return [...heard, tiers.flat().filter(silent), rest];
  }

  #clusterState({ cluster, table }: DirectRequest): ClusterState {
    let state = this.#clusters.get(cluster);
    if (state === undefined) {
      state = new ClusterState(this.#effects.random);
      this.#clusters.set(cluster, state);
    }
    if (table.generation > state.generation) {
      state.generation = table.generation;
      forgetWhatWent(state, table);
    }
    return state;
  }

  #routeState({ match: { route }, table, dial }: DirectRequest, cluster: ClusterState): RouteState {
    let state = this.#routes.get(route);
    if (state === undefined) {
      state = routeState(route, table, dial, cluster);
      this.#routes.set(route, state);
    }
    return state;
  }
}

/** Whoever is still in the table keeps cursor, load and silence. */
function routeState(route: Route, table: RoutingTable, dial: DialRules, cluster: ClusterState): RouteState {
  const key = routeKey(route);
  const before = cluster.kept.get(key);
  const kept: Kept = { balancer: before?.balancer ?? createBalancer(route.algorithm), nodes: new Map() };
  const nodes: DirectNode[] = [];
  for (const { node, weight, preferred } of route.nodes) {
    const { name, address } = table.nodes[node] ?? {};
    if (name === undefined || address === undefined || route.nodePort === undefined) continue;
    const origin = originOf(address, route.nodePort, dial);
    if (origin === undefined) continue;
    const state = before?.nodes.get(name) ?? new NodeState(cluster.period);
    kept.nodes.set(name, state);
    nodes.push(new DirectNode(name, weight, preferred, origin, state));
  }
  cluster.kept.set(key, kept);
  const tiers = [nodes.filter((node) => node.preferred), nodes.filter((node) => !node.preferred)];
  return { balancer: kept.balancer, tiers, size: nodes.length };
}

function forgetWhatWent({ kept, ejector }: ClusterState, { routes, nodes }: RoutingTable): void {
  ejector.retain(new Set(nodes.map(({ name }) => name)));
  if (kept.size === 0) return;
  const stay = new Set(routes.map(routeKey));
  for (const key of kept.keys()) if (!stay.has(key)) kept.delete(key);
}

/** As it came, or, where it may be sent twice and is small and of known length, as bytes. */
async function bodyToSend(
  request: Request,
  idempotent: boolean,
): Promise<ReadableStream | ArrayBuffer | null | "gone"> {
  if (request.body === null || !mayHaveBody(request)) return null;
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  if (!idempotent || !(length <= REPLAYABLE_BYTES)) return request.body;
  try {
    return await request.arrayBuffer();
  } catch {
    return "gone";
  }
}
