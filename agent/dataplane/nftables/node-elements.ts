// What the node itself adds to the sets: its pods' ranges, the addresses at which it serves NodePorts, and the cluster's ranges of
// Services. Pure.
import { asRange, disjointRanges, ofFamily, parseAddress } from "../../../src/shared/net/ranges.ts";
import type { KernelNode } from "../../plan/plan.ts";
import { nodePortAddresses } from "../kernel/node-port-addresses.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import type { Element } from "../kernel/claims.ts";
import type { NftFamily } from "./layout.ts";

/** `localAddresses`: of all interfaces. */
export function nodeElements(
  family: NftFamily,
  node: KernelNode,
  settings: KernelSettings,
  localAddresses: () => readonly string[],
): readonly Element[] {
  const { localDetector } = settings;
  const pods =
    localDetector.kind === "cluster-cidr"
      ? localDetector.cidrs
      : localDetector.kind === "node-cidr"
        ? node.podCIDRs
        : [];
  const own = family === "ip" ? "IPv4" : "IPv6";
  const arePodsKnown = ofFamily(disjointRanges(pods), own).length > 0;
  const found = nodePortAddresses(own, settings, node.addresses, localAddresses());
  // Every one is a constant rule's business (layout.ts).
  const addresses = found === "all" ? [] : found;
  const elements = (set: string, texts: readonly string[]) =>
    ofFamily(disjointRanges(texts), own).map((key): Element => ({ set, key }));
  return [
    ...elements("local-pods", pods),
    ...elements("pods-known", arePodsKnown ? [family === "ip" ? "0.0.0.0/0" : "::/0"] : []),
    ...elements("service-cidrs", node.serviceCIDRs),
    ...elements("node-port-addresses", addresses.filter((each) => !isLoopback(each)).map(asRange)),
  ];
}

const isLoopback = (address: string): boolean => parseAddress(address)?.range() === "loopback";
