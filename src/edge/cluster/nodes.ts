// One list of a cluster's nodes from three views: what the snapshot says, what each shard sees, what probes found. Pure.
import type { SnapshotNode } from "../../shared/model/snapshot.ts";
import type { ClusterNode, ClusterNodes, TunnelNode } from "../../shared/control/answers.ts";
import type { ProbeState } from "../rpc/contract.ts";

export function clusterNodes(
  observed: readonly SnapshotNode[],
  shards: readonly { readonly shard: number; readonly nodes: readonly TunnelNode[] | undefined }[],
  probed: ReadonlySet<string>,
  probes: ProbeState,
): ClusterNodes {
  const known = new Map(observed.map((node) => [node.name, node]));
  const seen = shards.flatMap(({ shard, nodes = [] }) => nodes.map((node) => ({ ...node, shard })));
  const unhealthy = new Map(probes.unhealthy.map(({ node, reason }) => [node, reason]));
  const names = new Set([...known.keys(), ...seen.map(({ node }) => node)]);
  const nodes = [...names].sort().map((name): ClusterNode => {
    const { excluded, directAddress } = known.get(name) ?? {};
    const reason = unhealthy.get(name);
    return {
      node: name,
      known: known.has(name),
      ...(excluded !== undefined && { excluded }),
      ...(directAddress !== undefined && { directAddress }),
      ...(probed.has(name) && { probe: { healthy: reason === undefined, reason: reason ?? "" } }),
      tunnel: seen.filter(({ node }) => node === name),
    };
  });
  return { nodes, silentShards: shards.filter((each) => each.nodes === undefined).map(({ shard }) => shard) };
}
