// The edge's node orders by name. A balancer belongs to one route: most keep a cursor, in memory only, and a restart merely
// starts the round anew.
import type { Balancer } from "./balancer.ts";
import type { NodeAlgorithm } from "../model/snapshot.ts";
import { LeastRequest } from "./least-request.ts";
import { RoundRobin } from "./round-robin.ts";
import { SourceHash } from "./source-hash.ts";
import { Weighted } from "./weighted.ts";

const makers: Readonly<Record<NodeAlgorithm, () => Balancer>> = {
  "least-request": () => new LeastRequest(),
  "round-robin": () => new RoundRobin(),
  "source-hash": () => new SourceHash(),
  weighted: () => new Weighted(),
};

export function createBalancer(name: NodeAlgorithm): Balancer {
  return makers[name]();
}
