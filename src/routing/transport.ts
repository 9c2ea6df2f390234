// Whether a route that asks for transport direct can have it. Behind edge → NodePort a packet's source is the edge and Host is
// rewritten: what depends on the client's address goes by tunnel instead, with a condition that names the field. Pure.
import type { SnapshotNode, SnapshotService } from "../wire/snapshot.ts";
import type { Conditions } from "./conditions.ts";
import type { ServicePort } from "./ports.ts";
import { compileRanges } from "../wire/ranges.ts";
import type { Route, RouteNode } from "./table.ts";

/** `eligible`: nodes that the route could use by tunnel; by direct, those of them with an address. */
export function transportOf(
  service: SnapshotService,
  { port, nodePort }: ServicePort,
  eligible: readonly RouteNode[],
  nodes: readonly SnapshotNode[],
  conditions: Conditions,
): Pick<Route, "transport" | "nodePort" | "nodes"> {
  const tunnel = { transport: "tunnel", ...(nodePort === undefined ? {} : { nodePort }), nodes: eligible } as const;
  if (service.transport === "tunnel") return tunnel;
  const reachable = eligible.filter(({ node }) => nodes[node]?.directAddress !== undefined);
  const obstacles = serviceObstacles(service);
  // Other kinds have no NodePorts at all, which has been said.
  if (nodePort === undefined && service.kind === "LoadBalancer")
    obstacles.push(`port ${port} has no spec.ports[].nodePort (see spec.allocateLoadBalancerNodePorts)`);
  if (reachable.length === 0 && eligible.length > 0)
    obstacles.push(
      "no node that may take requests has the annotation postern.dev/direct-address (or agents say --direct-address-type)",
    );
  if (obstacles.length > 0 || nodePort === undefined) {
    const message = `Annotation postern.dev/transport: direct is not possible, requests go by tunnel: ${obstacles.join("; ")}.`;
    conditions.add("DirectNotPossible", message);
    return tunnel;
  }
  const message =
    "Transport direct rewrites the Host header to the node's address; the client's is in X-Forwarded-Host. A Service that needs Host uses postern.dev/transport: tunnel.";
  conditions.add("HostNotKept", message);
  return { transport: "direct", nodePort, nodes: reachable };
}

function serviceObstacles({ kind, sourceRanges, affinitySeconds }: SnapshotService): string[] {
  const obstacles: string[] = [];
  if (kind !== "LoadBalancer") obstacles.push(`spec.type: a Service of kind ${kind} has no NodePorts`);
  if (compileRanges(sourceRanges) !== undefined)
    obstacles.push("spec.loadBalancerSourceRanges: behind a NodePort the client's address is not known");
  if (affinitySeconds !== undefined)
    obstacles.push("spec.sessionAffinity: ClientIP: behind a NodePort all clients look alike");
  return obstacles;
}
