// Which Services are ours to expose, and as what. Pure.
// An ExternalName aims wherever its author likes, and anybody who may write a Service is an author: it is off unless the
// operator's --allow-external-name lists the name or the address (isAddressAllowed), and what it resolves to must not be
// a part of the cluster or the node itself.
import type { KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import { wantsExposure } from "./annotations.ts";
import { compileRanges, parseAddress, parseRange } from "../../src/wire/ranges.ts";

export const CLASS = "postern.dev/edge";

export interface EligibilityOptions {
  /** Take Services without a class as well: --default-class. */
  readonly defaultClass: boolean;
  /** Name suffixes ("lan", "nas.example.com") and CIDRs: --allow-external-name. */
  readonly allowExternalName: readonly string[];
}

export type ExposedKind = "LoadBalancer" | "Headless" | "ExternalName";

/** Undefined where the Service is none of ours. */
export function exposedAs(service: KubeService, options: EligibilityOptions): ExposedKind | undefined {
  const { spec, metadata } = service;
  // On its way out: the edge lets go of it before its finalizer does.
  if (metadata.deletionTimestamp !== undefined) return undefined;
  if (spec.type === "LoadBalancer") {
    const ours = spec.loadBalancerClass === undefined ? options.defaultClass : spec.loadBalancerClass === CLASS;
    return ours ? "LoadBalancer" : undefined;
  }
  if (!wantsExposure(service)) return undefined;
  if (spec.type === "ExternalName") return "ExternalName";
  return isHeadless(service) ? "Headless" : undefined;
}

export const isHeadless = ({ spec }: KubeService): boolean =>
  spec.type === "ClusterIP" && (spec.clusterIP === "None" || spec.clusterIPs[0] === "None");

/** True where the operator's list may cover this name; its addresses decide where the list has only CIDRs. */
export function isNameAllowed(name: string, allow: readonly string[]): boolean {
  return allow.some((entry) => parseRange(entry) !== undefined) || matchesSuffix(name, allow);
}

/** "nas.lan" matches "lan", ".lan", "*.lan" and "nas.lan". */
export function matchesSuffix(name: string, allow: readonly string[]): boolean {
  const host = name.toLowerCase().replace(/\.$/, "");
  return allow.some((entry) => {
    const suffix = entry.toLowerCase().replace(/^\*?\./, "");
    return parseRange(entry) === undefined && suffix !== "" && (host === suffix || host.endsWith(`.${suffix}`));
  });
}

/** Whether an ExternalName may be dialled at this address. Compiled once per plan: `observed` says what is the cluster's own. */
export function addressGuard(observed: Observed, allow: readonly string[]): (name: string, address: string) => boolean {
  const ranges = allow.filter((entry) => parseRange(entry) !== undefined);
  const isListed = ranges.length === 0 ? () => false : (compileRanges(ranges)?.include ?? (() => true));
  const own = new Set<string>();
  for (const { status } of observed.nodes) for (const { address } of status.addresses) own.add(canonical(address));
  for (const { spec } of observed.services) for (const address of spec.clusterIPs) own.add(canonical(address));
  for (const { spec } of observed.services) if (spec.clusterIP !== undefined) own.add(canonical(spec.clusterIP));
  // Pods, and the API server (the endpoints of default/kubernetes).
  for (const { endpoints } of observed.endpointSlices) {
    for (const { addresses } of endpoints) for (const address of addresses) own.add(canonical(address));
  }
  return (name, address) => {
    const kind = parseAddress(address)?.range();
    if (kind === undefined) return false;
    if (isListed(address)) return true;
    // Everything else that is special: loopback, linkLocal, unspecified, multicast, broadcast, …
    const ordinary = kind === "unicast" || kind === "private" || kind === "uniqueLocal" || kind === "carrierGradeNat";
    return ordinary && !own.has(canonical(address)) && matchesSuffix(name, allow);
  };
}

const canonical = (address: string): string => parseAddress(address)?.toString() ?? address;
