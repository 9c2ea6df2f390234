// Plans for tests of the kernel's executors: short, valid, changed by overriding parts. IPv4: Services are 10.96.0.0/16, pods
// 10.244.0.0/16 (those of this node 10.244.1.0/24), the node is 192.168.7.1.
import type {
  ForwardingPlan,
  KernelEndpoint,
  KernelPort,
  KernelService,
  PlanService,
} from "../../../../agent/plan/plan.ts";
import { defaultSettings, type KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import { factsOf, type Facts } from "../../../../agent/dataplane/iptables/facts.ts";

export const node = { addresses: ["192.168.7.1"], podCIDRs: ["10.244.1.0/24"], serviceCIDRs: [] };
export const pods = { kind: "cluster-cidr", cidrs: ["10.244.0.0/16"] } as const;

/** "10.244.1.5:80" on this node, "10.244.2.5:80" elsewhere. */
export function endpoint(socket: string): KernelEndpoint {
  const [address = "", port] = socket.split(":");
  return { address, port: Number(port), weight: 1, local: address.startsWith("10.244.1.") };
}

export function kernelPort(endpoints: readonly string[], parts: Partial<KernelPort> = {}): KernelPort {
  const all = endpoints.map(endpoint);
  return {
    ...{ family: "IPv4", protocol: "TCP", port: 80, name: "", clusterIP: "10.96.0.10" },
    ...{ externalIPs: [], loadBalancerIPs: [], internalPolicy: "Cluster", externalPolicy: "Cluster" },
    cluster: all,
    local: all.filter(({ local }) => local),
    anywhere: all.length > 0,
    algorithm: "random",
    ...parts,
  };
}

export function service(
  key: string,
  ports: readonly KernelPort[],
  kernel: Partial<KernelService> = {},
  parts: Partial<PlanService> = {},
): PlanService {
  return {
    ...{ key, exposed: false, algorithm: ports[0]?.algorithm ?? "random", sourceRanges: [], ports: [] },
    kernel: { ports, ...kernel },
    ...parts,
  };
}

export const plan = (...services: readonly PlanService[]): ForwardingPlan => ({ node: "n1", services, kernel: node });

export const settings = (parts: Partial<KernelSettings> = {}): KernelSettings => ({
  ...defaultSettings,
  ...{ mode: "iptables", families: ["IPv4"], localDetector: pods },
  ...parts,
});

export const facts = (parts: Partial<KernelSettings> = {}, localAddresses: readonly string[] = []): Facts => ({
  ...factsOf("IPv4", settings(parts), node, localAddresses),
  recent: true,
});
