// EndpointSlices → the endpoints of a Service, and which of them a node uses. Pure. The rules are kube-proxy's
// (pkg/proxy: endpointslicecache, topology), so that a packet and a tunnel stream end at the same pods.
import type { KubeEndpointSlice, KubeService } from "../source/resources.ts";
import { isHeadless } from "./eligible.ts";
import { canonicalAddress, parseAddress } from "../../src/shared/net/ranges.ts";
import type { OfferedPort } from "./annotations.ts";
import { compareText } from "../../src/shared/sorted.ts";
import { ownerOf } from "./keys.ts";

export type Family = "IPv4" | "IPv6";

/** One pod (or hand-written address) of a Service. */
export interface ServiceEndpoint {
  /** targetRef UID where there is one, else the address: one pod counts once. */
  readonly key: string;
  readonly address: string;
  readonly node: string | undefined;
  readonly zone: string | undefined;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly forZones: readonly string[];
  readonly forNodes: readonly string[];
  /** "TCP:80" (protocol and Service port) → its own port. */
  readonly ports: ReadonlyMap<string, number>;
}

export type Policy = "Cluster" | "Local";
type Slice = Pick<KubeEndpointSlice, "endpoints" | "ports" | "addressType">;

/** "namespace/name" → its slices, by name: order decides which of two duplicates counts. */
export function slicesByService(
  slices: readonly KubeEndpointSlice[],
): ReadonlyMap<string, readonly KubeEndpointSlice[]> {
  const byService = new Map<string, KubeEndpointSlice[]>();
  for (const slice of slices) {
    const key = ownerOf(slice);
    if (key === undefined || slice.metadata.deletionTimestamp !== undefined) continue;
    const list = byService.get(key);
    if (list === undefined) byService.set(key, [slice]);
    else list.push(slice);
  }
  return byService;
}

export const portKey = (protocol: string, port: number): string => `${protocol}:${port}`;

/**
 * The Service's endpoints in the family it prefers; only where there is none, in the other: both families name the same
 * pods. `offered` stands in for the ports that a headless Service may lack.
 */
export function tunnelEndpoints(
  service: KubeService,
  slices: readonly Slice[],
  offered: readonly OfferedPort[],
): readonly ServiceEndpoint[] {
  const first = firstFamily(service);
  const endpoints = mergeSlices(
    service,
    slices.filter(({ addressType }) => addressType === first),
    offered,
  );
  if (endpoints.length > 0) return endpoints;
  const second: Family = first === "IPv4" ? "IPv6" : "IPv4";
  return mergeSlices(
    service,
    slices.filter(({ addressType }) => addressType === second),
    offered,
  );
}

function firstFamily({ spec }: KubeService): Family {
  const clusterIP = spec.clusterIPs[0] ?? spec.clusterIP ?? "";
  return spec.ipFamilies[0] ?? (parseAddress(clusterIP)?.kind() === "ipv6" ? "IPv6" : "IPv4");
}

/** Sorted by key, then address. Each slice may map a port's name to a number of its own. */
export function mergeSlices(
  service: KubeService,
  slices: readonly Slice[],
  offered: readonly OfferedPort[],
): readonly ServiceEndpoint[] {
  const found = slices.flatMap((slice) =>
    slice.addressType === "FQDN" ? [] : [{ endpoints: slice.endpoints, ports: portsOf(service, slice, offered) }],
  );
  const merged = new Merged();
  // The same pod in two slices (of two families, or of two ports) is one; the same address twice for a port counts once, and as
  // it is where it is not on its way out.
  for (const going of [false, true])
    for (const { endpoints, ports } of found)
      for (const endpoint of endpoints)
        if ((endpoint.conditions?.terminating ?? false) === going) merged.add(endpoint, ports);
  return merged.all();
}

/** What a slice's endpoints serve of a Service's ports. */
function portsOf(service: KubeService, { ports: own }: Slice, offered: readonly OfferedPort[]): Ports {
  if (service.spec.ports.length === 0 && isHeadless(service))
    return new Map(offered.map(({ port, target }) => [portKey("TCP", port), target]));
  const selects = service.spec.selector !== undefined;
  return new Map(
    service.spec.ports.flatMap(({ name, protocol, port, targetPort }) => {
      const same = own.find((candidate) => candidate.name === name && candidate.protocol === protocol);
      // A port without number is one that no pod has (a targetPort of a name unknown to it). One that is not listed was
      // renamed, or is new, and the slice has not followed yet: a number is what it will be, and no request waits.
      const target = same === undefined && selects && typeof targetPort === "number" ? targetPort : same?.port;
      return target === undefined ? [] : [[portKey(protocol, port), target] as const];
    }),
  );
}

type Ports = ServiceEndpoint["ports"];

/** Endpoints while they are gathered. Those of one slice share one map of ports: a cluster has a hundred thousand of them. */
class Merged {
  /** By address: mostly one each. */
  readonly #endpoints = new Map<string, ServiceEndpoint[]>();

  add(written: KubeEndpointSlice["endpoints"][number], ports: Ports): void {
    const { addresses, conditions, nodeName, zone, targetRef, hints } = written;
    const [address] = addresses;
    if (address === undefined || canonicalAddress(address) === undefined) return;
    const key = nonEmpty(targetRef?.uid) ?? address;
    const there = this.#endpoints.get(address) ?? [];
    const known = there.findIndex((endpoint) => endpoint.key === key);
    const before = there[known];
    const added = there.length === 0 ? ports : notTaken(ports, before, there);
    if (before !== undefined) {
      if (added.size > 0) there[known] = { ...before, ports: new Map([...before.ports, ...added]) };
      return;
    }
    there.push({
      key,
      address,
      node: nonEmpty(nodeName),
      zone,
      ready: conditions?.ready ?? true,
      serving: conditions?.serving ?? true,
      terminating: conditions?.terminating ?? false,
      forZones: hints?.forZones.map(({ name }) => name) ?? none,
      forNodes: hints?.forNodes.map(({ name }) => name).filter((name) => name !== "") ?? none,
      ports: added,
    });
    this.#endpoints.set(address, there);
  }

  all(): readonly ServiceEndpoint[] {
    return [...this.#endpoints.values()]
      .flat()
      .sort((a, b) => compareText(a.key, b.key) || compareText(a.address, b.address));
  }
}

const none: readonly string[] = [];
const nonEmpty = (text: string | undefined): string | undefined => (text === "" ? undefined : text);

/** What the endpoint does not serve yet, and no other of its address at the same port. */
function notTaken(ports: Ports, before: ServiceEndpoint | undefined, there: readonly ServiceEndpoint[]): Ports {
  const free = [...ports].filter(
    ([key, port]) => before?.ports.has(key) !== true && there.every((each) => each.ports.get(key) !== port),
  );
  return new Map(free);
}

/**
 * Those that traffic for one port uses at a node. Ready ones, even while terminating (publishNotReadyAddresses); if there
 * is none, serving ones on their way out: over the whole cluster for policy Cluster, on this node for Local.
 */
export function usable(
  endpoints: readonly ServiceEndpoint[],
  port: string,
  policy: Policy,
  node: { readonly name: string; readonly zone: string | undefined },
): readonly ServiceEndpoint[] {
  const having = endpoints.filter(({ ports }) => ports.has(port));
  const candidates = policy === "Local" ? having.filter((endpoint) => endpoint.node === node.name) : having;
  const ready = candidates.filter((endpoint) => endpoint.ready);
  if (ready.length === 0) return candidates.filter(({ serving, terminating }) => serving && terminating);
  // With Local, hints never apply.
  return policy === "Local" ? ready : hinted(ready, node);
}

/** Hints count only if every ready endpoint has them and one matches: node first, then zone; else everything. */
function hinted(
  ready: readonly ServiceEndpoint[],
  node: { readonly name: string; readonly zone: string | undefined },
): readonly ServiceEndpoint[] {
  const { name, zone } = node;
  if (ready.every(({ forNodes }) => forNodes.length > 0)) {
    const matching = ready.filter(({ forNodes }) => forNodes.includes(name));
    if (matching.length > 0) return matching;
  }
  if (zone !== undefined && ready.every(({ forZones }) => forZones.length > 0)) {
    const matching = ready.filter(({ forZones }) => forZones.includes(zone));
    if (matching.length > 0) return matching;
  }
  return ready;
}
