// Which endpoint orders this executor can do, and how to make one. A balancer belongs to one Service port: some keep
// state. rr, wrr and sh are the edge's round-robin, weighted and source-hash under IPVS' names. wlc, dh, sed and nq are IPVS' own; asking for them here is a condition, never a silent substitute.
import type { Balancer } from "../../../src/shared/balance/balancer.ts";
import { RoundRobin } from "../../../src/shared/balance/round-robin.ts";
import { SourceHash } from "../../../src/shared/balance/source-hash.ts";
import { Weighted } from "../../../src/shared/balance/weighted.ts";
import type { EndpointAlgorithm } from "../../../src/shared/model/snapshot.ts";
import { LeastConnections } from "./least-connections.ts";
import { Maglev } from "./maglev.ts";
import { Random } from "./random.ts";

const makers = new Map<EndpointAlgorithm, () => Balancer>([
  ["random", () => new Random()],
  ["rr", () => new RoundRobin()],
  ["wrr", () => new Weighted()],
  ["lc", () => new LeastConnections()],
  ["sh", () => new SourceHash()],
  ["maglev", () => new Maglev()],
]);

export const userspaceAlgorithms: readonly EndpointAlgorithm[] = [...makers.keys()];

/** Undefined where userspace cannot do it. */
export function createEndpointBalancer(algorithm: EndpointAlgorithm): Balancer | undefined {
  return makers.get(algorithm)?.();
}
