// A route's nodes as transport direct knows them, and what stays of them from table to table.
import { createBalancer } from "../../shared/balance/index.ts";
import type { Balancer, Candidate } from "../../shared/balance/balancer.ts";
import { hash32 } from "../../shared/balance/hash.ts";
import { type DialRules, originOf } from "../routing/dial.ts";
import type { Route, RoutingTable } from "../routing/table.ts";
import { Load, type Period } from "./load.ts";

/** A node as one route sees it, from table to table. */
class NodeState extends Load {
  /** When it last answered a request of this route, epoch ms. */
  answeredAt = 0;
  /** Until when it comes after the others, epoch ms. */
  silentUntil = 0;
}

export class DirectNode implements Candidate {
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
export interface Kept {
  readonly balancer: Balancer;
  readonly nodes: Map<string, NodeState>;
}

export interface RouteState {
  readonly balancer: Balancer;
  /** Preferred nodes, then the others; without regard to their health. */
  readonly tiers: readonly (readonly DirectNode[])[];
  readonly size: number;
}

export const routeKey = ({ service, port, algorithm }: Route): string => `${service}:${port}:${algorithm}`;

/** Whoever is still in the table keeps cursor, load and silence. */
export function routeState(
  route: Route,
  table: RoutingTable,
  dial: DialRules,
  { period, kept: all }: { readonly period: Period; readonly kept: Map<string, Kept> },
): RouteState {
  const key = routeKey(route);
  const before = all.get(key);
  const kept: Kept = { balancer: before?.balancer ?? createBalancer(route.algorithm), nodes: new Map() };
  const nodes: DirectNode[] = [];
  for (const { node, weight, preferred } of route.nodes) {
    const { name, address } = table.nodes[node] ?? {};
    if (name === undefined || address === undefined || route.nodePort === undefined) continue;
    const origin = originOf(address, route.nodePort, dial);
    if (origin === undefined) continue;
    const state = before?.nodes.get(name) ?? new NodeState(period);
    kept.nodes.set(name, state);
    nodes.push(new DirectNode(name, weight, preferred, origin, state));
  }
  all.set(key, kept);
  const tiers = [nodes.filter((node) => node.preferred), nodes.filter((node) => !node.preferred)];
  return { balancer: kept.balancer, tiers, size: nodes.length };
}
