// Transport direct, the isolate's part: which nodes, in what order, and what to do when one fails or is silent. Load and
// failures are exact per isolate only; what probes found comes with the tables. Memory only.
// A fetch tells nothing while it waits, so an idempotent request to a node that has answered nobody for a second is sent to
// the next node beside the first, and whichever answers first wins; the retry budget bounds it.
import { createBalancer } from "./balance/index.ts";
import { RetryBudget } from "./health/budget.ts";
import { combine } from "./health/combine.ts";
import { Ejector } from "./health/ejection.ts";
import { failure } from "./http/failure.ts";
import { clientAcceptEncoding } from "./http/forwarded.ts";
import { decideRetry, isIdempotent } from "./http/retry.ts";
import type { ProbeState } from "./objects/contract.ts";
import type { Match } from "./routing/match.ts";
import type { Route, RoutingTable } from "./routing/table.ts";
import type { Failed } from "./transport/attempt.ts";
import { directAnswer, directExchange, directHeaders } from "./transport/direct.ts";
import type { Balancer, Candidate, PickContext } from "./wire/balancer.ts";
import { clientHash, hash32 } from "./wire/hash.ts";

/** Without an answer for so long, the next node is asked beside the first, ms. */
const HEDGE_MS = 1_000;
/** Bodies of at most so many bytes are read first, so that they can be sent again. */
const REPLAYABLE_BYTES = 64 * 1024;

class DirectNode implements Candidate {
  readonly key: string;
  readonly hash: number;
  readonly weight: number;
  readonly preferred: boolean;
  readonly origin: string;
  inFlight = 0;
  /** When it last answered a request of this route, epoch ms. */
  answeredAt = 0;

  constructor(name: string, weight: number, preferred: boolean, origin: string) {
    this.key = name;
    this.hash = hash32(name);
    this.weight = weight;
    this.preferred = preferred;
    this.origin = origin;
  }
}

interface RouteState {
  readonly balancer: Balancer;
  /** Preferred nodes, then the others; without regard to their health. */
  readonly tiers: readonly (readonly DirectNode[])[];
  readonly size: number;
}

export interface DirectRequest {
  readonly match: Match;
  readonly table: RoutingTable;
  readonly probes: ProbeState;
  readonly client: string;
  readonly scheme: "http" | "https";
  readonly forwarderSecret: string | undefined;
}

export class Direct {
  readonly #random: () => number;
  /** Routes are objects of one table: a new generation starts anew. */
  readonly #routes = new WeakMap<Route, RouteState>();
  readonly #ejectors = new Map<string, Ejector>();
  readonly #budget = new RetryBudget();

  constructor(random: () => number) {
    this.#random = random;
  }

  async fetch(request: Request, direct: DirectRequest): Promise<Response> {
    const { match, table, client } = direct;
    const state = this.#state(match.route, table);
    const ejector = this.#ejector(table.cluster);
    const now = Date.now();
    this.#budget.request(now);
    const order = this.#order(state, ejector, direct.probes, { now, random: this.#random, client: clientHash(client) });
    const headers = directHeaders(request, {
      client,
      proto: direct.scheme,
      host: request.headers.get("host") ?? match.host,
      port: match.port,
      acceptEncoding: clientAcceptEncoding(request, direct.forwarderSecret),
      edge: direct.forwarderSecret,
    });
    if ("reason" in headers) return failure(headers.reason, request, headers);
    const upgrade = request.headers.get("upgrade");
    if (upgrade !== null) headers.set("upgrade", upgrade);
    const body = request.body === null ? undefined : await replayable(request);
    const again = body !== "stream" && upgrade === null;
    const idempotent = isIdempotent(request.method, request.headers);
    const target = request.url.slice(Math.max(request.url.indexOf("/", 8), 8));
    const attempt = async (node: DirectNode): Promise<Response | Failed> => {
      node.inFlight++;
      const outcome = await directExchange({
        url: node.origin + target,
        method: request.method,
        headers,
        body: body === "stream" ? request.body : (body ?? null),
      });
      node.inFlight--;
      if (outcome instanceof Response) {
        node.answeredAt = Date.now();
        ejector.succeeded(node.key, now);
      } else ejector.failed(node.key, Date.now(), state.size);
      return outcome;
    };
    const onSilent = (node: DirectNode): void => void ejector.failed(node.key, Date.now(), state.size);
    const outcome = await this.#firstAnswer(order[Symbol.iterator](), attempt, onSilent, idempotent, again);
    if (outcome instanceof Response) return directAnswer(outcome);
    return failure(outcome === undefined ? "no-available-node" : "endpoint-broke", request);
  }

  /** Node after node, beside each other where one is silent. What loses is cancelled with the request. */
  async #firstAnswer(
    nodes: Iterator<DirectNode>,
    attempt: (node: DirectNode) => Promise<Response | Failed>,
    onSilent: (node: DirectNode) => void,
    idempotent: boolean,
    replayable: boolean,
  ): Promise<Response | Failed | undefined> {
    const pending = new Set<Promise<Response | Failed>>();
    const budget = (): boolean => this.#budget.retry(Date.now());
    let last: Failed | undefined;
    let node = nodes.next();
    for (let attempts = 1; node.done !== true; attempts++) {
      const started = attempt(node.value);
      pending.add(started);
      void started.then(() => pending.delete(started));
      const startedAt = Date.now();
      const asked = node.value;
      node = nodes.next();
      const hedge = idempotent && replayable && node.done !== true;
      let outcome = await (hedge ? within(HEDGE_MS, pending) : Promise.race(pending));
      // A node that answers others meanwhile is alive, and this request merely slow: no second copy of it.
      while (outcome === "silent" && asked.answeredAt >= startedAt) outcome = await within(HEDGE_MS, pending);
      if (outcome === "silent") {
        onSilent(asked);
        if (budget()) continue;
        // No retry left to spend on it: wait for what is under way.
        outcome = await Promise.race(pending);
      }
      if (outcome instanceof Response) return outcome;
      last = outcome;
      if (!decideRetry({ sent: outcome.sent, idempotent, replayable, attempts, budget }).retry) break;
    }
    while (pending.size > 0) {
      const outcome = await Promise.race(pending);
      if (outcome instanceof Response) return outcome;
      last = outcome;
    }
    return last;
  }

  /** Available nodes by preference, then those that are not: better than refusing. */
  *#order(state: RouteState, ejector: Ejector, probes: ProbeState, ctx: PickContext): Iterable<DirectNode> {
    const troubled = probes.unhealthy.length > 0 || ejector.nextReturn(ctx.now) !== Number.POSITIVE_INFINITY;
    for (const tier of troubled ? this.#tiers(state, ejector, probes, ctx.now) : state.tiers)
      yield* state.balancer.order(tier, ctx);
  }

  #tiers(state: RouteState, ejector: Ejector, probes: ProbeState, now: number): readonly (readonly DirectNode[])[] {
    const available = (node: DirectNode): boolean => {
      const probe = probes.unhealthy.find((each) => each.node === node.key);
      const measured = probe === undefined ? undefined : { probe: probe.reason };
      return combine({ measured, ejectedUntil: ejector.ejectedUntil(node.key, now), now }).available;
    };
    const all = state.tiers.flat();
    return [...state.tiers.map((tier) => tier.filter(available)), all.filter((node) => !available(node))];
  }

  #state(route: Route, table: RoutingTable): RouteState {
    let state = this.#routes.get(route);
    if (state === undefined) {
      const nodes: DirectNode[] = [];
      for (const { node, weight, preferred } of route.nodes) {
        const { name, address } = table.nodes[node] ?? {};
        if (name === undefined || address === undefined || route.nodePort === undefined) continue;
        const host = address.includes(":") ? `[${address}]` : address;
        nodes.push(new DirectNode(name, weight, preferred, `http://${host}:${route.nodePort}`));
      }
      const tiers = [nodes.filter((node) => node.preferred), nodes.filter((node) => !node.preferred)];
      state = { balancer: createBalancer(route.algorithm), tiers, size: nodes.length };
      this.#routes.set(route, state);
    }
    return state;
  }

  #ejector(cluster: string): Ejector {
    let ejector = this.#ejectors.get(cluster);
    if (ejector === undefined) {
      ejector = new Ejector(this.#random);
      this.#ejectors.set(cluster, ejector);
    }
    return ejector;
  }
}

/** The first outcome, or "silent" where none comes in time. */
async function within<T>(ms: number, pending: Iterable<Promise<T>>): Promise<T | "silent"> {
  let timer: number | undefined;
  const silence = new Promise<"silent">((resolve) => {
    timer = setTimeout(() => resolve("silent"), ms);
  });
  try {
    return await Promise.race([...pending, silence]);
  } finally {
    clearTimeout(timer ?? null);
  }
}

/** A small body of known length as bytes; "stream": it can be sent once. */
async function replayable(request: Request): Promise<ArrayBuffer | "stream"> {
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  return length <= REPLAYABLE_BYTES ? request.arrayBuffer() : "stream";
}
