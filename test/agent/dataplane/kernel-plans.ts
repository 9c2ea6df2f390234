// Plans for the kernel's executors: written briefly, or made by fast-check. Addresses come from small pools, so that Services share
// endpoints and ask for the same frontends, as they do in real clusters.
import * as fc from "fast-check";
import type {
  ForwardingPlan,
  KernelEndpoint,
  KernelNode,
  KernelPort,
  KernelService,
  PlanService,
} from "../../../agent/plan/plan.ts";

export const kernelNode: KernelNode = {
  addresses: ["192.168.9.1", "fd00:9::1"],
  podCIDRs: ["10.244.1.0/24", "fd00:10:1::/64"],
  serviceCIDRs: [],
};

export const to = (address: string, more: Partial<KernelEndpoint> = {}): KernelEndpoint => ({
  ...{ address, port: 8080, weight: 1, local: true },
  ...more,
});

/** "10.244.1.5:8080" is on this node, "10.244.2.5:8080" elsewhere. */
export function endpoint(socket: string): KernelEndpoint {
  const [address = "", port] = socket.split(":");
  return to(address, { port: Number(port), local: address.startsWith("10.244.1.") });
}

/** A TCP port 80 of an IPv4 Service; where a policy is Local, endpoints of this node are local ones. */
export function kernelPort(
  clusterIP: string,
  endpoints: readonly (KernelEndpoint | string)[],
  more: Partial<KernelPort> = {},
): KernelPort {
  const cluster = endpoints.map((each) => (typeof each === "string" ? endpoint(each) : each));
  const isLocal = more.internalPolicy === "Local" || more.externalPolicy === "Local";
  return {
    ...{ family: "IPv4", protocol: "TCP", port: 80, name: "", clusterIP, externalIPs: [], loadBalancerIPs: [] },
    ...{ internalPolicy: "Cluster", externalPolicy: "Cluster", cluster, algorithm: "random" },
    local: isLocal ? cluster.filter(({ local }) => local) : [],
    anywhere: cluster.length > 0,
    ...more,
  };
}

/** UDP port 53 of a Service that has endpoints somewhere. */
export const dnsPort = (parts: Partial<KernelPort> = {}): KernelPort =>
  kernelPort("10.96.0.10", [], { protocol: "UDP", port: 53, name: "dns", anywhere: true, ...parts });

export const planService = (
  key: string,
  ports: readonly KernelPort[],
  kernel: Partial<KernelService> = {},
  parts: Partial<PlanService> = {},
): PlanService => ({
  ...{ key, exposed: false, algorithm: ports[0]?.algorithm ?? "random", sourceRanges: [], ports: [] },
  kernel: { ports, ...kernel },
  ...parts,
});

export const planOf = (services: readonly PlanService[], kernel: KernelNode = kernelNode): ForwardingPlan => ({
  ...{ node: "n1", services, kernel },
});

const small = (max: number) => fc.integer({ min: 1, max });
const policy = fc.constantFrom("Cluster" as const, "Local" as const);

/** One port of one family. Its addresses are the pool's: ClusterIPs are the Service's own, externalIPs anybody's. */
function anyPort(
  service: number,
  family: "IPv4" | "IPv6",
  port: number,
  protocol: KernelPort["protocol"],
): fc.Arbitrary<KernelPort> {
  const address = (net: number, host: number) => (family === "IPv4" ? `10.${net}.0.${host}` : `fd00:${net}::${host}`);
  const endpoint = fc.record({
    host: small(6),
    port: fc.constantFrom(8080, 8443),
    weight: fc.constantFrom(1, 1, 2, 5),
  });
  const endpoints = fc.uniqueArray(endpoint, { maxLength: 5, selector: ({ host, port: own }) => `${host} ${own}` });
  return fc
    .record({
      all: endpoints,
      externalIPs: fc.uniqueArray(small(3), { maxLength: 2 }),
      loadBalancerIPs: fc.uniqueArray(small(3), { maxLength: 2 }),
      nodePort: fc.option(small(4), { nil: undefined }),
      ...{ internalPolicy: policy, externalPolicy: policy },
      ranged: fc.boolean(),
      affinitySeconds: fc.option(fc.constantFrom(60, 10_800), { nil: undefined }),
      algorithm: fc.constantFrom("random" as const, "rr" as const, "wrr" as const, "sh" as const),
    })
    .map(
      ({
        all,
        externalIPs,
        loadBalancerIPs,
        nodePort,
        ranged,
        affinitySeconds,
        internalPolicy,
        externalPolicy,
        algorithm,
      }) => {
        const cluster = all.map(({ host, port: own, weight }) =>
          to(address(244, host), { port: own, weight, local: host < 3 }),
        );
        const isLocal = internalPolicy === "Local" || externalPolicy === "Local";
        return {
          ...{
            family,
            protocol,
            port,
            name: `p${port}`,
            clusterIP: address(96, service),
            internalPolicy,
            externalPolicy,
          },
          externalIPs: externalIPs.map((host) => address(50, host)),
          loadBalancerIPs: loadBalancerIPs.map((host) => address(51, host)),
          ...(nodePort === undefined ? {} : { nodePort: 30_000 + nodePort }),
          ...(ranged ? { sourceRanges: [family === "IPv4" ? "10.0.0.0/8" : "fd00::/16"] } : {}),
          ...(affinitySeconds === undefined ? {} : { affinitySeconds }),
          ...{
            cluster,
            local: isLocal ? cluster.filter(({ local }) => local) : [],
            anywhere: cluster.length > 0,
            algorithm,
          },
        };
      },
    );
}

/** `services`: at most so many. Their names are s1, s2, …, so that plans of one run differ in what those are. */
export const anyServices = (services = 6): fc.Arbitrary<PlanService[]> =>
  fc.uniqueArray(small(services), { maxLength: services }).chain((numbers) =>
    fc.tuple(
      ...numbers.map((service) =>
        fc
          .uniqueArray(
            fc.record({
              family: fc.constantFrom("IPv4" as const, "IPv6" as const),
              port: fc.constantFrom(80, 443),
              protocol: fc.constantFrom("TCP" as const, "UDP" as const, "SCTP" as const),
            }),
            { minLength: 1, maxLength: 3, selector: ({ family, port, protocol }) => `${family} ${port} ${protocol}` },
          )
          .chain((ports) =>
            fc.tuple(...ports.map(({ family, port, protocol }) => anyPort(service, family, port, protocol))),
          )
          .map((ports) => planService(`default/s${service}`, ports)),
      ),
    ),
  );
