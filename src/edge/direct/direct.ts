// Transport direct, the isolate's part: which of its clusters and routes a request is for, and what a fetch is to be sent.
import { clientAcceptEncoding } from "../http/forwarded.ts";
import { directRequestHeaders, type Refused } from "../http/headers.ts";
import { forward } from "../forward/loop.ts";
import { isIdempotent } from "../forward/retry.ts";
import type { Trace } from "../forward/trace.ts";
import type { Failed } from "../forward/transport.ts";
import type { ProbeState } from "../rpc/contract.ts";
import type { DialRules } from "../routing/dial.ts";
import type { Match } from "../routing/match.ts";
import type { Route, RoutingTable } from "../routing/table.ts";
import { clientHash } from "../../shared/balance/hash.ts";
import { directBody } from "./body.ts";
import { type RouteState, routeState } from "./nodes.ts";
import { passesAsItCame } from "./passing.ts";
import { type DirectEffects, type DirectOutgoing, DirectTransport } from "./transport.ts";

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
  /** For the access log; undefined: nobody reads it. */
  readonly trace: Trace | undefined;
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

export class Direct {
  readonly #effects: DirectEffects;
  /** Routes are objects of one table. */
  readonly #routes = new WeakMap<Route, RouteState>();
  readonly #clusters = new WeakMap<object, DirectTransport>();

  constructor(effects: DirectEffects) {
    this.#effects = effects;
  }

  async fetch(request: Request, direct: DirectRequest): Promise<DirectOutcome> {
    const { match, target, again } = direct;
    const transport = this.#transport(direct);
    const nodes = this.#nodes(direct, transport);
    if (nodes.size === 0 || !passesAsItCame(request, target)) return "by-tunnel";
    transport.period.moveOn(this.#effects.now());
    const headers = directRequestHeaders(request.headers, {
      client: direct.client,
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
    const idempotent = isIdempotent(method, request.headers);
    const body = await directBody(request, idempotent && !again);
    if (body === undefined) return "client-gone";
    const outgoing: DirectOutgoing = {
      method,
      idempotent,
      again,
      body,
      sightings: direct.sightings,
      headers,
      target,
      upgrade: upgrade !== null,
      client: clientHash(direct.client),
      nodes,
      probes: direct.probes,
      lastResort: direct.lastResort,
      trace: direct.trace,
    };
    const outcome = await forward(transport, outgoing, this.#effects);
    if (outcome.ok) return outcome.response;
    const { last, sightings } = outcome;
    return last === undefined ? "none-available" : { ...last, sightings };
  }

  #transport({ cluster, table }: DirectRequest): DirectTransport {
    let transport = this.#clusters.get(cluster);
    if (transport === undefined) {
      transport = new DirectTransport(this.#effects);
      this.#clusters.set(cluster, transport);
    }
    transport.setTable(table);
    return transport;
  }

  #nodes({ match: { route }, table, dial }: DirectRequest, transport: DirectTransport): RouteState {
    let state = this.#routes.get(route);
    if (state === undefined) {
      state = routeState(route, table, dial, transport);
      this.#routes.set(route, state);
    }
    return state;
  }
}
