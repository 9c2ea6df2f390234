// What the node itself adds to the sets: its pods' ranges, the addresses at which it serves NodePorts, and the cluster's ranges of
// Services. Pure.
import { disjointRanges, asRange, compileRanges, parseAddress } from "../../../src/shared/net/ranges.ts";
import type { KernelNode } from "../../plan/plan.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import type { Element } from "../kernel/claims.ts";
import type { NftFamily } from "./layout.ts";

/** `localAddresses`: of all interfaces; asked only where nodePortAddresses has a CIDR. */
export function nodeElements(
  family: NftFamily,
  node: KernelNode,
  { localDetector, nodePortAddresses }: KernelSettings,
  localAddresses: () => readonly string[],
): readonly Element[] {
  const pods =
    localDetector.kind === "cluster-cidr"
      ? localDetector.cidrs
      : localDetector.kind === "node-cidr"
        ? node.podCIDRs
        : [];
  const primary = nodePortAddresses.length === 0 || nodePortAddresses.includes("primary");
  const ranges = nodePortAddresses.filter((each) => each.includes("/"));
  const chosen = ranges.length === 0 ? undefined : compileRanges(ranges);
  const matching = ranges.length === 0 ? [] : localAddresses().filter((each) => chosen?.include(each) ?? true);
  const addresses = [
    ...(primary ? node.addresses.filter((each, at) => isFirst(node.addresses, each, at)) : []),
    ...matching,
  ];
  const own = (set: string, texts: readonly string[]) =>
    disjointRanges(texts)
      .filter((range) => range.includes(":") === (family === "ip6"))
      .map((key): Element => ({ set, key }));
  return [
    ...own("local-pods", pods),
    ...own("service-cidrs", node.serviceCIDRs),
    ...own("node-port-addresses", addresses.filter((each) => !isLoopback(each)).map(asRange)),
  ];
}

/** The primary address of a family is its first. */
const isFirst = (all: readonly string[], address: string, at: number): boolean =>
  all.findIndex((each) => each.includes(":") === address.includes(":")) === at;

const isLoopback = (address: string): boolean => parseAddress(address)?.range() === "loopback";
