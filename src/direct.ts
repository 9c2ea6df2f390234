// Transport direct, the isolate's part: which nodes, in what order, and what to do when one fails or is silent. Load and
// failures are exact per isolate only; what probes found comes with the tables. Memory only.
// A fetch tells nothing while it waits, so an idempotent request without an answer for a second is sent to the next node
// beside the first, and whichever answers first wins; the retry budget bounds it.
import { createBalancer } from "./balance/index.ts";
import { RetryBudget } from "./health/budget.ts";
import { combine } from "./health/combine.ts";
import { Ejector } from "./health/ejection.ts";
import { clientAcceptEncoding } from "./http/client.ts";
import { failure } from "./http/failure.ts";
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
  readonly nodes: readonly DirectNode[];
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
    });
    const upgrade = request.headers.get("upgrade");
    if (upgrade !== null) headers.set("upgrade", upgrade);
    const body = await replayable(request);
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
      if (outcome instanceof Response) ejector.succeeded(node.key, now);
      else ejector.failed(node.key, Date.now(), state.nodes.length);
      return outcome;
    };
    const outcome = await this.#firstAnswer(order[Symbol.iterator](), attempt, idempotent, again);
    if (outcome instanceof Response) return directAnswer(outcome);
    return failure(outcome === undefined ? "no-available-node" : "endpoint-broke", request);
  }

  /** Node after node, beside each other where one is silent. What loses is cancelled with the request. */
  async #firstAnswer(
    nodes: Iterator<DirectNode>,
    attempt: (node: DirectNode) => Promise<Response | Failed>,
    idempotent: boolean,
    replayable: boolean,
  ): Promise<Response | Failed | undefined> {
    let pending: Promise<Response | Failed>[] = [];
    let last: Failed | undefined;
    let attempts = 0;
    let node = nodes.next();
    const budget = (): boolean => this.#budget.retry(Date.now());
    while (node.done !== true) {
      const started: Promise<Response | Failed> = attempt(node.value).then((outcome) => {
        if (!(outcome instanceof Response)) pending = pending.filter((each) => each !== started);
        return outcome;
      });
      pending.push(started);
      attempts++;
      node = nodes.next();
      const hedge = idempotent && replayable && node.done !== true;
      let outcome: Response | Failed | "silent" = await (hedge ? within(HEDGE_MS, pending) : Promise.race(pending));
      // Silent, and no retry left to spend on it: wait for what is under way.
      if (outcome === "silent" && !budget()) outcome = await Promise.race(pending);
      if (outcome === "silent") continue;
      if (outcome instanceof Response) return outcome;
      last = outcome;
      if (!decideRetry({ sent: outcome.sent, idempotent, replayable, attempts, budget }).retry) break;
    }
    while (pending.length > 0) {
      const outcome = await Promise.race(pending);
      if (outcome instanceof Response) return outcome;
      last = outcome;
    }
    return last;
  }

  /** Available nodes by preference, then those that are not: better than refusing. */
  *#order(state: RouteState, ejector: Ejector, probes: ProbeState, ctx: PickContext): Iterable<DirectNode> {
    const verdict = (node: DirectNode): boolean => {
      const probe = probes.unhealthy.find((each) => each.node === node.key);
      return combine({
        measured: probe === undefined ? undefined : { probe: probe.reason },
        ejectedUntil: ejector.ejectedUntil(node.key, ctx.now),
        now: ctx.now,
      }).available;
    };
    const available = state.nodes.filter(verdict);
    const tiers = [
      available.filter((node) => node.preferred),
      available.filter((node) => !node.preferred),
      state.nodes.filter((node) => !available.includes(node)),
    ];
    for (const tier of tiers) yield* state.balancer.order(tier, ctx);
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
      state = { balancer: createBalancer(route.algorithm), nodes };
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
async function within<T>(ms: number, pending: readonly Promise<T>[]): Promise<T | "silent"> {
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

/** undefined: there is no body. A small one of known length as bytes; "stream": it can be sent once. */
async function replayable(request: Request): Promise<ArrayBuffer | "stream" | undefined> {
  if (request.body === null) return undefined;
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  return length <= REPLAYABLE_BYTES ? request.arrayBuffer() : "stream";
}
