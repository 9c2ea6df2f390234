// Whether a route that asks for transport direct can have it. Behind edge → NodePort a packet's source is the edge and Host is
// rewritten: what depends on the client's address goes by tunnel instead, with a condition that names the field. Pure.
import { annotation } from "../../shared/model/annotations.ts";
import type { SnapshotNode, SnapshotService } from "../../shared/model/snapshot.ts";
import { compileRanges } from "../../shared/net/ranges.ts";
import type { Conditions } from "./conditions.ts";
import { addressFault, type DialRules, portFault } from "./dial.ts";
import type { ServicePort } from "./ports.ts";
import type { Route, RouteNode } from "./table.ts";

/** `eligible`: nodes that the route could use by tunnel; by direct, those of them with an address that may be dialled. */
export function transportOf(
  service: SnapshotService,
  { port, nodePort }: ServicePort,
  eligible: readonly RouteNode[],
  nodes: readonly SnapshotNode[],
  dial: DialRules,
  conditions: Conditions,
): Pick<Route, "transport" | "nodePort" | "nodes"> {
  const tunnel = { transport: "tunnel", ...(nodePort === undefined ? {} : { nodePort }), nodes: eligible } as const;
  if (service.transport === "tunnel") return tunnel;
  const reachable: RouteNode[] = [];
  const faults: string[] = [];
  for (const each of eligible) {
    const { name = "", directAddress } = nodes[each.node] ?? {};
    if (directAddress === undefined) continue;
    const fault = addressFault(directAddress, dial);
    if (fault === undefined) reachable.push(each);
    else if (faults.length < NAMED_MAX) faults.push(`node ${name}: ${quoted(directAddress)} ${fault}`);
  }
  const obstacles = serviceObstacles(service);
  // Other kinds have no NodePorts at all, which has been said.
  if (nodePort === undefined && service.kind === "LoadBalancer")
    obstacles.push(`port ${port} has no spec.ports[].nodePort (see spec.allocateLoadBalancerNodePorts)`);
  const outside = nodePort === undefined ? undefined : portFault(nodePort, dial);
  if (outside !== undefined) obstacles.push(`spec.ports[].nodePort ${nodePort} ${outside}`);
  if (reachable.length === 0 && faults.length > 0) obstacles.push(`${annotation.directAddress}: ${faults.join("; ")}`);
  else if (reachable.length === 0 && eligible.length > 0)
    obstacles.push(
      `no node that may take requests has the annotation ${annotation.directAddress} (or agents say --direct-address-type)`,
    );
  if (obstacles.length > 0 || nodePort === undefined) {
    const message = `Annotation ${annotation.transport}: direct is not possible, requests go by tunnel: ${obstacles.join("; ")}.`;
    conditions.add("DirectNotPossible", message);
    return tunnel;
  }
  if (faults.length > 0)
    conditions.add(
      "DirectAddressRefused",
      `Nodes get no direct requests because of their annotation ${annotation.directAddress}: ${faults.join("; ")}.`,
    );
  const message = `Transport direct rewrites the Host header to the node's address; the client's is in X-Forwarded-Host. A Service that needs Host uses ${annotation.transport}: tunnel.`;
  conditions.add("HostNotKept", message);
  return { transport: "direct", nodePort, nodes: reachable };
}

/** Nodes named in one message, and characters of what their owner wrote. */
const NAMED_MAX = 5;
const QUOTED_MAX = 64;
const quoted = (text: string): string =>
  JSON.stringify(text.length > QUOTED_MAX ? `${text.slice(0, QUOTED_MAX)}…` : text);

function serviceObstacles({ kind, sourceRanges, affinitySeconds }: SnapshotService): string[] {
  const obstacles: string[] = [];
  if (kind !== "LoadBalancer") obstacles.push(`spec.type: a Service of kind ${kind} has no NodePorts`);
  if (compileRanges(sourceRanges) !== undefined)
    obstacles.push("spec.loadBalancerSourceRanges: behind a NodePort the client's address is not known");
  if (affinitySeconds !== undefined)
    obstacles.push("spec.sessionAffinity: ClientIP: behind a NodePort all clients look alike");
  return obstacles;
}
