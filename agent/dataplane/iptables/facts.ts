// What the rules of one address family need to know of the node, worked out of the settings, the Node object and the machine's
// addresses. Pure. Equal facts give equal rules.
import { parseRange, within } from "../../../src/shared/net/ranges.ts";
import type { Family } from "../../plan/endpoints.ts";
import type { KernelNode } from "../../plan/plan.ts";
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
  const isOfFamily = (address: string) => address.includes(":") === (family === "IPv6");
  const nodeAddresses = node.addresses.filter(isOfFamily);
  return {
    family,
    mark: `0x${(2 ** settings.masqueradeBit).toString(16)}`,
    masqueradeAll: settings.masqueradeAll,
    fromPods: fromPods(settings, node, isOfFamily),
    nodePortTargets: nodePortTargets(family, settings, nodeAddresses, localAddresses.filter(isOfFamily)),
    localhostNodePorts: family === "IPv4" && settings.localhostNodePorts,
    nodeAddresses,
  };
}

function fromPods(
  { localDetector }: KernelSettings,
  node: KernelNode,
  isOfFamily: (cidr: string) => boolean,
): string[] {
  const within = (cidrs: readonly string[]) => cidrs.filter(isOfFamily).map((cidr) => `-s ${cidr}`);
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

/** As kube-proxy has it, CIDRs of the other family alone leave this one open to all addresses. */
function nodePortTargets(
  family: Family,
  { nodePortAddresses, localhostNodePorts }: KernelSettings,
  nodeAddresses: readonly string[],
  localAddresses: readonly string[],
): string[] {
  const loopback = family === "IPv4" ? "127.0.0.0/8" : "::1/128";
  // The kernel has no route_localnet for IPv6, so ::1 cannot be forwarded.
  const withLoopback = family === "IPv4" && localhostNodePorts;
  const everywhere = [`-m addrtype --dst-type LOCAL${withLoopback ? "" : ` ! -d ${loopback}`}`];
  const keyword = (text: string) => ["all", "primary", "localhost"].includes(text);
  const wanted = nodePortAddresses.filter((text) => keyword(text) || text.includes(":") === (family === "IPv6"));
  if (wanted.length === 0 || wanted.includes("all")) return everywhere;
  const ranges = wanted.flatMap((text) => {
    const range = parseRange(text);
    return range === undefined ? [] : [range];
  });
  if (ranges.some(([, prefix]) => prefix === 0)) return everywhere;
  const addresses = [
    ...(wanted.includes("primary") ? nodeAddresses.slice(0, 1) : []),
    ...(wanted.includes("localhost") ? [family === "IPv4" ? "127.0.0.1" : "::1"] : []),
    ...within(wanted, localAddresses),
  ];
  return [...new Set(addresses)]
    .filter((address) => withLoopback || !isLoopback(address))
    .sort()
    .map((address) => `-d ${address}`);
}

const isLoopback = (address: string): boolean => address === "::1" || address.startsWith("127.");
