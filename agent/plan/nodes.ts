// Which nodes may be given new streams, and what the edge should know of them. Pure. Excluded means "gets no new streams":
// its pods stay reachable through other nodes. A cordoned or NotReady node stays; whether it answers is measured.
import type { SnapshotNode } from "../../src/shared/model/snapshot.ts";
import type { KubeNode } from "../source/resources.ts";
import { nodeSettings } from "./annotations.ts";

export const EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";
const ZONE_LABEL = "topology.kubernetes.io/zone";
const AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler";
const LEAVING_TAINTS: readonly string[] = [AUTOSCALER_TAINT, "karpenter.sh/disrupted"];

/** `ignoreLabel`: for clusters of one node, where kubeadm's label would exclude everything. */
export function excludedReason(node: KubeNode, ignoreLabel: boolean): string | undefined {
  const { labels, deletionTimestamp, name } = node.metadata;
  if (deletionTimestamp !== undefined) return `node ${name} is being deleted`;
  const label = labels[EXCLUDE_LABEL];
  // kubeadm writes an empty value; only what reads as "false" takes the label back.
  if (!ignoreLabel && label !== undefined && !/^(0|f|false)$/i.test(label)) {
    return `label ${EXCLUDE_LABEL} (kubectl label node ${name} ${EXCLUDE_LABEL}- removes it)`;
  }
  const taint = node.spec.taints.find(({ key }) => LEAVING_TAINTS.includes(key));
  return taint === undefined ? undefined : `taint ${taint.key}: node ${name} is being removed`;
}

/**
 * Whether load balancers may send traffic here, as kube-proxy's /healthz has it (KEP-3836): the node exists, is not being deleted,
 * and the autoscaler is not about to remove it. Its `karpenter.sh/disrupted` and the exclude label do not count there.
 */
export const isStaying = (node: KubeNode | undefined): boolean =>
  node !== undefined &&
  node.metadata.deletionTimestamp === undefined &&
  !node.spec.taints.some(({ key }) => key === AUTOSCALER_TAINT);

export const zoneOf = (node: KubeNode | undefined): string | undefined => node?.metadata.labels[ZONE_LABEL];

export interface NodeOptions {
  readonly ignoreExcludeLabel: boolean;
  /** Where the edge reaches nodes without the annotation: their first address of this type. Undefined: not at all. */
  readonly directAddressType?: AddressType | undefined;
}

/** core/v1 NodeAddressType. */
export const addressTypes = ["InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname"] as const;
type AddressType = (typeof addressTypes)[number];

export function snapshotNode(node: KubeNode, { ignoreExcludeLabel, directAddressType }: NodeOptions): SnapshotNode {
  const { directAddress = addressOf(node, directAddressType), weight } = nodeSettings(node);
  const zone = zoneOf(node);
  const excluded = excludedReason(node, ignoreExcludeLabel);
  return {
    name: node.metadata.name,
    ...(zone === undefined ? {} : { zone: zone.slice(0, 253) }),
    ...(directAddress === undefined ? {} : { directAddress }),
    ...(excluded === undefined ? {} : { excluded }),
    ...(weight === undefined ? {} : { weight }),
  };
}

const addressOf = ({ status }: KubeNode, type: AddressType | undefined): string | undefined =>
  status.addresses.find((address) => address.type === type)?.address;

/** What is wrong with Nodes' annotations. Nodes have no conditions of ours: the agent logs these. */
export function nodeProblems(nodes: readonly KubeNode[]): readonly string[] {
  return nodes.flatMap((node) => nodeSettings(node).badValues.map((text) => `Node ${node.metadata.name}: ${text}`));
}
