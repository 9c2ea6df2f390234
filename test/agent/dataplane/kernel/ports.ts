// KernelPorts and plans of them, for tests: short, valid, changed by overriding parts.
import type { ForwardingPlan, KernelNode, KernelPort, KernelService } from "../../../../agent/plan/plan.ts";

export const kernelPort = (parts: Partial<KernelPort> = {}): KernelPort => ({
  family: "IPv4",
  protocol: "UDP",
  port: 53,
  name: "dns",
  clusterIP: "10.96.0.10",
  externalIPs: [],
  loadBalancerIPs: [],
  internalPolicy: "Cluster",
  externalPolicy: "Cluster",
  cluster: [],
  local: [],
  anywhere: true,
  algorithm: "random",
  ...parts,
});

export const kernelPlan = (
  services: Readonly<Record<string, KernelService>>,
  node: KernelNode = { addresses: ["192.168.1.10"], podCIDRs: [], serviceCIDRs: [] },
): ForwardingPlan => ({
  node: "n1",
  kernel: node,
  services: Object.entries(services).map(([key, kernel]) => ({
    ...{ key, exposed: false, algorithm: "random" as const, sourceRanges: [], ports: [], kernel },
  })),
});
