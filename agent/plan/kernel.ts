// What the kernel of this node forwards for one Service, as kube-proxy would (pkg/proxy: serviceport, topology): its frontends by
// address family, and the endpoints that each traffic policy gives them. Pure. The executors of --proxy all share it, so that
// nftables, iptables and ipvs differ in how they forward and in nothing else.
import type { EndpointAlgorithm } from "../../src/shared/model/snapshot.ts";
import { canonicalAddress, disjointRanges, familyOf, ofFamily } from "../../src/shared/net/ranges.ts";
import type { KubeEndpointSlice, KubeNode, KubeService, KubeServiceCIDR } from "../source/resources.ts";
import { isHeadless } from "./eligible.ts";
import { type Family, mergeSlices, type Policy, type ServiceEndpoint, usable } from "./endpoints.ts";
import type { KernelEndpoint, KernelNode, KernelPort, KernelService } from "./plan.ts";
import { servicePorts, type ServicePortPlan } from "./ports.ts";
import { affinityOf } from "./snapshot.ts";

/** A Service with this label belongs to another service proxy (KEP-2447), and kube-proxy leaves it alone. */
export const PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name";
/**
 * An EndpointSlice with this label is of a headless Service, and kube-proxy does not read it. Up to 1.35 it did not read Services with
 * the label either, whatever their ClusterIP; a label that says "headless" is taken at its word here.
 */
export const HEADLESS_LABEL = "service.kubernetes.io/headless";
const families: readonly Family[] = ["IPv4", "IPv6"];

export interface KernelContext {
  readonly node: { readonly name: string; readonly zone: string | undefined };
  readonly weights: ReadonlyMap<string, number>;
}

export function kernelNode(node: KubeNode | undefined, serviceCIDRs: readonly KubeServiceCIDR[]): KernelNode {
  const of = (type: string) =>
    (node?.status.addresses ?? []).flatMap((each) => (each.type === type ? canonical([each.address]) : []));
  const [internal, external] = [of("InternalIP"), of("ExternalIP")];
  return {
    addresses: families.flatMap((family) => {
      const own = ofFamily(internal, family);
      return own.length > 0 ? own : ofFamily(external, family);
    }),
    podCIDRs: disjointRanges(node?.spec.podCIDRs ?? []),
    // One that is being deleted counts until it is gone: while ClusterIPs come from it, it stays.
    serviceCIDRs: disjointRanges(serviceCIDRs.flatMap(({ spec }) => spec.cidrs)),
  };
}

/** Undefined where the Service has no ClusterIP, is another proxy's, calls itself headless, or is an ExternalName. */
export function kernelService(
  service: KubeService,
  slices: readonly KubeEndpointSlice[],
  algorithm: EndpointAlgorithm,
  context: KernelContext,
): KernelService | undefined {
  const { spec, metadata } = service;
  const { [PROXY_NAME_LABEL]: otherProxy, [HEADLESS_LABEL]: headless } = metadata.labels;
  if (spec.type === "ExternalName" || isHeadless(service)) return undefined;
  if (otherProxy !== undefined || headless !== undefined) return undefined;
  const clusterIPs = canonical(spec.clusterIPs.length > 0 ? spec.clusterIPs : [spec.clusterIP ?? ""]);
  if (clusterIPs.length === 0) return undefined;
  const offered = servicePorts(service, []);
  const byFamily = families.flatMap((family) => {
    const clusterIP = ofFamily(clusterIPs, family)[0];
    if (clusterIP === undefined) return [];
    const own = slices.filter(
      ({ addressType, metadata: { labels } }) => addressType === family && labels[HEADLESS_LABEL] === undefined,
    );
    // A slice of IPv6 may hold ::ffff:10.0.0.1, which is an IPv4 address and no endpoint of this family.
    const endpoints = mergeSlices(service, own, []).flatMap((endpoint) => {
      const address = canonicalAddress(endpoint.address);
      if (address === undefined || familyOf(address) !== family) return [];
      return address === endpoint.address ? endpoint : { ...endpoint, address };
    });
    return [{ family, clusterIP, endpoints }];
  });
  const healthCheck = healthCheckOf(
    service,
    byFamily.map(({ endpoints }) => endpoints),
    context,
  );
  return {
    ports: byFamily.flatMap(({ family, clusterIP, endpoints }) => {
      const frontend = frontendOf(service, family);
      return offered.map((port) => ({
        ...{ family, clusterIP, ...frontend, algorithm, ...affinityOf(service) },
        ...portOf(port),
        ...endpointsOf(port, endpoints, frontend, context),
      }));
    }),
    ...(healthCheck === undefined ? {} : { healthCheck }),
  };
}

type Frontend = Pick<
  KernelPort,
  "externalIPs" | "loadBalancerIPs" | "sourceRanges" | "internalPolicy" | "externalPolicy"
>;

const portOf = ({ protocol, port, name, nodePort }: ServicePortPlan) => ({
  ...{ protocol, port, name },
  ...(nodePort === undefined ? {} : { nodePort }),
});

/** The rest of what the Service says about one family, the same for all its ports. */
function frontendOf({ spec, status }: KubeService, family: Family): Frontend {
  const externalIPs = ofFamily(canonical(spec.externalIPs), family);
  // An absent ipMode is VIP (KEP-1860).
  const vips = status.loadBalancer.ingress.filter(({ ipMode }) => ipMode !== "Proxy").map(({ ip }) => ip ?? "");
  const loadBalancerIPs = spec.type === "LoadBalancer" ? ofFamily(canonical(vips), family) : [];
  // A Service that nothing outside can reach has no external policy, whatever its field says.
  const reachable = spec.type !== "ClusterIP" || spec.externalIPs.length > 0;
  return {
    ...{ externalIPs, loadBalancerIPs, ...sourceRanges(spec.loadBalancerSourceRanges, family) },
    internalPolicy: spec.internalTrafficPolicy,
    externalPolicy: reachable ? spec.externalTrafficPolicy : "Cluster",
  };
}

/** Each family is held to its own ranges; one that has none, or a /0, is open to everybody. */
function sourceRanges(texts: readonly string[], family: Family): { sourceRanges?: readonly string[] } {
  const ranges = ofFamily(disjointRanges(texts), family);
  return ranges.length === 0 || ranges.some((range) => range.endsWith("/0")) ? {} : { sourceRanges: ranges };
}

function endpointsOf(
  { key, protocol, nodePort }: ServicePortPlan,
  endpoints: readonly ServiceEndpoint[],
  { externalIPs, loadBalancerIPs, internalPolicy, externalPolicy }: Frontend,
  { node, weights }: KernelContext,
): Pick<KernelPort, "cluster" | "local" | "anywhere" | "serving"> {
  const external = nodePort !== undefined || externalIPs.length > 0 || loadBalancerIPs.length > 0;
  const of = (policy: Policy): readonly KernelEndpoint[] =>
    usable(endpoints, key, policy, node).map((endpoint) => ({
      address: endpoint.address,
      port: endpoint.ports.get(key) ?? 0,
      weight: (endpoint.node === undefined ? undefined : weights.get(endpoint.node)) ?? 1,
      local: (endpoint.node ?? node.name) === node.name,
    }));
  const all = of("Cluster");
  return {
    // Under an external policy of Local, traffic from this node and its pods still goes to all of them.
    cluster: internalPolicy === "Cluster" || external ? all : [],
    local: internalPolicy === "Local" || (external && externalPolicy === "Local") ? of("Local") : [],
    anywhere: all.length > 0,
    ...(protocol === "UDP"
      ? {
          serving: endpoints
            .filter(({ serving, ports }) => serving && ports.has(key))
            .map(({ address, ports }) => `${address} ${ports.get(key)}`),
        }
      : {}),
  };
}

/**
 * Ready ones only: terminating endpoints still serve, but a balancer must send no more. By distinct address, in the family that has
 * more of them: of a pod with two addresses both families have one.
 */
function healthCheckOf(
  { spec }: KubeService,
  families: readonly (readonly ServiceEndpoint[])[],
  { node }: KernelContext,
): KernelService["healthCheck"] {
  const { healthCheckNodePort = 0, externalTrafficPolicy: policy } = spec;
  if (healthCheckNodePort === 0 || spec.type !== "LoadBalancer" || policy !== "Local") return undefined;
  const counts = families.map((endpoints) => {
    const local = endpoints.filter((endpoint) => endpoint.ready && endpoint.node === node.name);
    return new Set(local.map(({ address }) => address)).size;
  });
  return { nodePort: healthCheckNodePort, localEndpoints: Math.max(0, ...counts) };
}

/** As the kernel writes them; what is no address is left out. */
const canonical = (texts: readonly string[]): string[] => [
  ...new Set(texts.flatMap((text) => canonicalAddress(text) ?? [])),
];
