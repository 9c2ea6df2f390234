// Which ExternalNames may be served, and at which addresses. Pure. An ExternalName aims wherever its author likes, and anybody
// who may write a Service is an author: nothing is served but what the operator's --allow-external-name lists. That means:
// - A suffix (lan, nas.example.com) lists names, a CIDR (192.168.1.0/24) lists addresses. Either lets a name through to its
//   *ordinary* addresses: not loopback, link-local, multicast and the like, and not a part of the cluster or its machines
//   (own addresses of this node and the other Nodes, pods, Services, the API server).
// - Such an address is dialled only where that very address is listed: 192.168.1.2/32, fd00::2/128.
// - A name inside the cluster (web.shop.svc, web.shop.svc.cluster.local) is never looked up: it needs a listed suffix, and
//   leads to that Service's pods; nodes and the API server among them must be listed themselves, too.
import type { Observed } from "../source/source.ts";
import { canonicalAddress, parseAddress, parseRange } from "../../src/shared/net/ranges.ts";

/** True where the list may cover this name; its addresses decide where the list has only CIDRs. */
export function isNameAllowed(name: string, allow: readonly string[], clusterDomain: string): boolean {
  if (matchesSuffix(name, allow)) return true;
  return insideCluster(name, clusterDomain) === undefined && allow.some((entry) => parseRange(entry) !== undefined);
}

/** "nas.lan" matches "lan", ".lan", "*.lan" and "nas.lan". */
function matchesSuffix(name: string, allow: readonly string[]): boolean {
  const host = plain(name);
  return allow.some((entry) => {
    const suffix = entry.toLowerCase().replace(/^\*?\./, "");
    return parseRange(entry) === undefined && suffix !== "" && (host === suffix || host.endsWith(`.${suffix}`));
  });
}

/**
 * The Service that a name inside the cluster stands for: "web.shop.svc.cluster.local" → "shop/web". "" where it is inside, but
 * no Service's (web-0.web.shop.svc): then nothing is served. Undefined: a name of the world outside.
 */
export function insideCluster(name: string, clusterDomain: string): string | undefined {
  const host = plain(name);
  const short = host.endsWith(`.svc.${clusterDomain}`) ? host.slice(0, -clusterDomain.length - 1) : host;
  if (!short.endsWith(".svc")) return undefined;
  const [service, namespace, svc] = short.split(".");
  return svc === "svc" ? `${namespace}/${service}` : "";
}

/** Why an address may not be dialled, in words that go on from "which is …"; undefined where it may. */
export type AddressGuard = (name: string, address: string) => string | undefined;

/** Compiled once per plan. `local`: this machine's own addresses, on whatever interface. */
export function addressGuard(observed: Observed, allow: readonly string[], local: readonly string[]): AddressGuard {
  const isInRange = within(allow);
  const isOwn = ownAddresses(observed, local);
  const exact = exactAddresses(allow);
  return (name, address) => {
    const parsed = parseAddress(address);
    if (parsed === undefined) return "no IP address";
    const canonical = parsed.toString();
    if (exact.has(canonical)) return undefined;
    if (!ORDINARY.has(parsed.range())) return `a special address (${parsed.range()})`;
    return isOwn(canonical) ?? (isInRange(address) || matchesSuffix(name, allow) ? undefined : "not listed");
  };
}

/** For a name inside the cluster: its pods are meant, its machines are not. */
export function podGuard(observed: Observed, allow: readonly string[], local: readonly string[]): AddressGuard {
  const machines = new Set([...nodeAddresses(observed), ...apiServerAddresses(observed), ...local].map(canonicalOf));
  const exact = exactAddresses(allow);
  return (_name, address) => {
    const canonical = canonicalOf(address);
    if (exact.has(canonical)) return undefined;
    return machines.has(canonical) ? "a node's address or the API server's" : undefined;
  };
}

const ORDINARY: ReadonlySet<string> = new Set(["unicast", "private", "uniqueLocal", "carrierGradeNat"]);

/** What is the cluster's, and whose; undefined where it is not. */
function ownAddresses(observed: Observed, local: readonly string[]): (canonical: string) => string | undefined {
  const owners = new Map<string, string>();
  const own = (whose: string, addresses: readonly (string | undefined)[]) => {
    for (const address of addresses) if (address !== undefined) owners.set(canonicalOf(address), whose);
  };
  for (const { endpoints } of observed.endpointSlices)
    for (const { addresses } of endpoints) own("an endpoint of a Service (a pod)", addresses);
  for (const { spec, status } of observed.services) {
    const given = status.loadBalancer.ingress.map(({ ip }) => ip);
    own("a Service's address", [spec.clusterIP, ...spec.clusterIPs, ...spec.externalIPs, ...given]);
  }
  own("a node's address", [...nodeAddresses(observed), ...local]);
  own("the API server's address", apiServerAddresses(observed));
  const isPod = within(observed.nodes.flatMap(({ spec }) => spec.podCIDRs));
  return (canonical) => owners.get(canonical) ?? (isPod(canonical) ? "in the pods' network" : undefined);
}

const nodeAddresses = ({ nodes }: Observed): readonly string[] =>
  nodes.flatMap(({ status }) => status.addresses.map(({ address }) => address));

const apiServerAddresses = ({ services, endpointSlices }: Observed): readonly string[] => [
  ...endpointSlices
    .filter(
      ({ metadata }) =>
        metadata.namespace === "default" && metadata.labels["kubernetes.io/service-name"] === "kubernetes",
    )
    .flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses)),
  ...services
    .filter(({ metadata }) => metadata.namespace === "default" && metadata.name === "kubernetes")
    .flatMap(({ spec }) => spec.clusterIPs),
];

/** Whether an address is in one of these, those that are no CIDR left out. Each family by itself: 0.0.0.0/0 is no IPv6. */
function within(entries: readonly string[]): (address: string) => boolean {
  const ranges = entries.map(parseRange).filter((range) => range !== undefined);
  return (address) => {
    const parsed = parseAddress(address);
    return (
      parsed !== undefined &&
      ranges.some(([network, bits]) => network.kind() === parsed.kind() && parsed.match(network, bits))
    );
  };
}

/** Of ranges that hold one address. */
function exactAddresses(allow: readonly string[]): ReadonlySet<string> {
  return new Set(
    allow.flatMap((entry) => {
      const [address, bits] = parseRange(entry) ?? [];
      return address !== undefined && bits === (address.kind() === "ipv4" ? 32 : 128)
        ? [canonicalOf(address.toString())]
        : [];
    }),
  );
}

/** One spelling of each address; an IPv4 address written as IPv6 is the IPv4 one. */
const canonicalOf = (address: string): string => canonicalAddress(address) ?? address;
const plain = (name: string): string => name.toLowerCase().replace(/\.$/, "");
