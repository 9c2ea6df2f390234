// Which nodes may get new streams of one Service port, and whether any endpoint could take them. As kube-proxy decides it
// (pkg/proxy/topology.go), seen from outside: the edge chooses the node, the node the endpoint. Pure.
import type { SnapshotEndpoint, SnapshotNode, SnapshotService } from "../../shared/model/snapshot.ts";
import type { RouteNode, Unavailable } from "./table.ts";

export interface RouteNodes {
  readonly nodes: readonly RouteNode[];
  readonly unavailable?: Unavailable;
}

/** `nodes` in the table's order: a RouteNode names its place there. */
export function routeNodes(service: SnapshotService, port: number, nodes: readonly SnapshotNode[]): RouteNodes {
  const key = String(port);
  const having = service.endpoints.filter(({ ports }) => ports[key] !== undefined);
  const ready = having.filter((endpoint) => endpoint.ready);
  const leaving = having.filter((endpoint) => !endpoint.ready && endpoint.serving && endpoint.terminating);
  const local = service.externalTrafficPolicy === "Local";
  const listed = local ? localNodes(ready, leaving, nodes) : clusterNodes(ready, leaving, nodes);
  if (ready.length === 0 && leaving.length === 0) {
    const message = `Service ${service.namespace}/${service.name} has no ready endpoint for port ${port}.`;
    return { nodes: listed, unavailable: { reason: "no-endpoints", message } };
  }
  if (listed.length > 0) return { nodes: listed };
  const message = local
    ? "No node that may take requests has an endpoint of its own, as externalTrafficPolicy: Local asks."
    : "No node of the cluster may take requests.";
  return { nodes: [], unavailable: { reason: "no-eligible-nodes", message } };
}

/** Any node reaches every endpoint. Preferred: those for which an endpoint is hinted, or all where hints say nothing. */
function clusterNodes(
  ready: readonly SnapshotEndpoint[],
  leaving: readonly SnapshotEndpoint[],
  nodes: readonly SnapshotNode[],
): RouteNode[] {
  const perNode = countByNode(ready.length > 0 ? ready : leaving);
  const hinted = hintedNodes(ready);
  const anyHinted = nodes.some((node) => node.excluded === undefined && hinted(node));
  return nodes.flatMap((node, at): RouteNode[] => {
    if (node.excluded !== undefined) return [];
    const weight = node.weight ?? Math.max(1, perNode.get(node.name) ?? 0);
    return [{ node: at, weight, preferred: !anyHinted || hinted(node) }];
  });
}

/** Only nodes with an endpoint of their own: a ready one, else one that still serves on its way out. Hints do not apply. */
function localNodes(
  ready: readonly SnapshotEndpoint[],
  leaving: readonly SnapshotEndpoint[],
  nodes: readonly SnapshotNode[],
): RouteNode[] {
  const readyThere = countByNode(ready);
  const leavingThere = countByNode(leaving);
  return nodes.flatMap((node, at): RouteNode[] => {
    const endpoints = readyThere.get(node.name) ?? leavingThere.get(node.name);
    if (node.excluded !== undefined || endpoints === undefined) return [];
    // kube-proxy's health check says 503 for a node whose endpoints are all terminating, so other nodes come first.
    return [{ node: at, weight: node.weight ?? endpoints, preferred: readyThere.has(node.name) }];
  });
}

function countByNode(endpoints: readonly SnapshotEndpoint[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { node } of endpoints) if (node !== undefined) counts.set(node, (counts.get(node) ?? 0) + 1);
  return counts;
}

/** Hints count only if all ready endpoints have them: for nodes first, else for zones. */
function hintedNodes(ready: readonly SnapshotEndpoint[]): (node: SnapshotNode) => boolean {
  const forNodes = allHints(ready, ({ forNodes: hints }) => hints);
  const forZones = allHints(ready, ({ forZones: hints }) => hints);
  return ({ name, zone }) => forNodes.has(name) || (zone !== undefined && forZones.has(zone));
}

/** Empty as soon as one endpoint has none. */
function allHints(
  endpoints: readonly SnapshotEndpoint[],
  hintsOf: (endpoint: SnapshotEndpoint) => readonly string[] | undefined,
): ReadonlySet<string> {
  const all = new Set<string>();
  for (const endpoint of endpoints) {
    const hints = hintsOf(endpoint) ?? [];
    if (hints.length === 0) return new Set();
    for (const hint of hints) all.add(hint);
  }
  return all;
}
