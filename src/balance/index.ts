// The edge's node orders by name. A balancer belongs to one route: most keep a cursor, in memory only, and a restart merely
// starts the round anew.
import type { Balancer } from "../wire/balancer.ts";
import type { NodeAlgorithm } from "../wire/snapshot.ts";
import { LeastRequest } from "./least-request.ts";
import { RoundRobin } from "./round-robin.ts";
import { SourceHash } from "./source-hash.ts";
import { Weighted } from "./weighted.ts";

export function createBalancer(name: NodeAlgorithm): Balancer {
  switch (name) {
    case "least-request":
      return new LeastRequest();
    case "round-robin":
      return new RoundRobin();
    case "source-hash":
      return new SourceHash();
    case "weighted":
      return new Weighted();
  }
}
