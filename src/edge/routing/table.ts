// The RoutingTable: a snapshot compiled for one purpose, answering a request. Plain JSON, made by compile.ts in the
// ClusterObject, stored there in chunks, cached by Worker isolates and TunnelObjects, which index it (match.ts).
// Holds what Kubernetes says, never connectivity: a flapping link must not make anybody reload tables.
import type { NodeAlgorithm } from "../../shared/model/snapshot.ts";

export interface RoutingTable {
  readonly version: 1;
  readonly cluster: string;
  /** Rises with every change of content; 0 = nothing published yet. */
  readonly generation: number;
  readonly nodes: readonly TableNode[];
  readonly routes: readonly Route[];
  readonly listeners: readonly Listener[];
}

export interface TableNode {
  readonly name: string;
  /** Where transport direct reaches it: DNS name or address, no port. */
  readonly address?: string;
}

/** hostname + port, to a route. Several listeners may share one route. */
export interface Listener {
  readonly hostname: string;
  readonly port: number;
  /** True for 443 and the zone's other HTTPS ports: the edge terminates TLS there. */
  readonly tls: boolean;
  /** Index into routes. */
  readonly route: number;
}

/** Why a route answers 503 whatever nodes are connected. */
export interface Unavailable {
  readonly reason: "no-endpoints" | "no-eligible-nodes" | "not-programmed";
  readonly message: string;
}

export interface Route {
  /** "namespace/name": with port, what a tunnel stream names; the agent looks it up in its own plan. */
  readonly service: string;
  /** Service port number. */
  readonly port: number;
  readonly transport: "tunnel" | "direct";
  readonly nodePort?: number;
  readonly algorithm: NodeAlgorithm;
  /** ClientIP affinity: the edge orders nodes by the client's hash, whatever the algorithm. */
  readonly affinity: boolean;
  /** CIDRs; empty = everybody. */
  readonly sourceRanges: readonly string[];
  readonly nodes: readonly RouteNode[];
  readonly unavailable?: Unavailable;
}

/** A node that may get new streams of this route. Not listed = never used for it. */
export interface RouteNode {
  /** Index into the table's nodes. */
  readonly node: number;
  readonly weight: number;
  /** True where hints prefer it; others follow only when no preferred one is available. */
  readonly preferred: boolean;
}
