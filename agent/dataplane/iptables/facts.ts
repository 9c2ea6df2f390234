// What the rules of one address family need to know of the node, worked out of the settings, the Node object and the machine's
// addresses. Pure. Equal facts give equal rules.
import { ofFamily } from "../../../src/shared/net/ranges.ts";
import type { Family } from "../../plan/endpoints.ts";
import type { KernelNode } from "../../plan/plan.ts";
import { nodePortAddresses } from "../kernel/node-port-addresses.ts";
import type { KernelSettings } from "../kernel/settings.ts";

export interface Facts {
  readonly family: Family;
  /** The bit of the packet mark, as "0x4000". */
  readonly mark: string;
  readonly masqueradeAll: boolean;
  /** Each matches traffic of this node's pods, and can be negated by "! " before it. Empty: it cannot be told. */
  readonly fromPods: readonly string[];
  /** Each matches destinations that serve NodePorts. Empty: none does. */
  readonly nodePortTargets: readonly string[];
  /** NodePorts answer at 127.0.0.1, so packets from elsewhere to 127.0.0.0/8 must be kept out. */
  readonly localhostNodePorts: boolean;
  /** The node's own addresses of this family. */
  readonly nodeAddresses: readonly string[];
  /** The kernel can remember clients (xt_recent). */
  readonly recent: boolean;
}

export function factsOf(
  family: Family,
  settings: KernelSettings,
  node: KernelNode,
  localAddresses: readonly string[],
): Omit<Facts, "recent"> {
  const nodeAddresses = ofFamily(node.addresses, family);
  return {
    family,
    mark: `0x${(2 ** settings.masqueradeBit).toString(16)}`,
    masqueradeAll: settings.masqueradeAll,
    fromPods: fromPods(family, settings, node),
    nodePortTargets: nodePortTargets(family, settings, nodeAddresses, localAddresses),
    localhostNodePorts: family === "IPv4" && settings.localhostNodePorts,
    nodeAddresses,
  };
}

function fromPods(family: Family, { localDetector }: KernelSettings, node: KernelNode): string[] {
  const within = (cidrs: readonly string[]) => ofFamily(cidrs, family).map((cidr) => `-s ${cidr}`);
  switch (localDetector.kind) {
    case "cluster-cidr":
      return within(localDetector.cidrs);
    case "node-cidr":
      return within(node.podCIDRs);
    case "interface":
      return [`-i ${localDetector.name}`];
    case "interface-prefix":
      return [`-i ${localDetector.prefix}+`];
    default:
      return [];
  }
}

function nodePortTargets(
  family: Family,
  settings: KernelSettings,
  nodeAddresses: readonly string[],
  localAddresses: readonly string[],
): string[] {
  const loopback = family === "IPv4" ? "127.0.0.0/8" : "::1/128";
  // The kernel has no route_localnet for IPv6, so ::1 cannot be forwarded.
  const withLoopback = family === "IPv4" && settings.localhostNodePorts;
  const addresses = nodePortAddresses(family, settings, nodeAddresses, localAddresses);
  if (addresses === "all") return [`-m addrtype --dst-type LOCAL${withLoopback ? "" : ` ! -d ${loopback}`}`];
  return addresses
    .filter((address) => withLoopback || !isLoopback(address))
    .toSorted()
    .map((address) => `-d ${address}`);
}

const isLoopback = (address: string): boolean => address === "::1" || address.startsWith("127.");
