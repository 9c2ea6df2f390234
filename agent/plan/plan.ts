// The ForwardingPlan: what one node should do, computed from Observed and the node's own name. An executor
// (agent/dataplane/executor.ts) carries it out. Pure data, sorted, so that equal plans are deep-equal. It holds what the
// executors read: `ports` serve the tunnel's streams and userspace NodePorts, `kernel` the executors of --proxy all.
import type { EndpointAlgorithm } from "../../src/shared/model/snapshot.ts";
import type { Family, Policy } from "./endpoints.ts";

export interface ForwardingPlan {
  /** The node this plan is for. */
  readonly node: string;
  readonly services: readonly PlanService[];
  /** Only with --proxy all. */
  readonly kernel?: KernelNode;
}

/** What the API server says of this node and its cluster, for the executors that program the kernel. */
export interface KernelNode {
  /** Of each family its InternalIPs, or where it has none its ExternalIPs; the first of a family is the primary one. */
  readonly addresses: readonly string[];
  /** spec.podCIDRs */
  readonly podCIDRs: readonly string[];
  /** What the cluster takes its ClusterIPs from, as CIDRs of which none lies within another. Empty where nobody says. */
  readonly serviceCIDRs: readonly string[];
}

export interface PlanService {
  /** "namespace/name" */
  readonly key: string;
  /** True where the edge may open tunnel streams to it. */
  readonly exposed: boolean;
  /** An ExternalName: what its server is called. It gets this as Host and SNI; endpoints carry resolved addresses. */
  readonly externalName?: string;
  readonly algorithm: EndpointAlgorithm;
  /** ClientIP affinity in seconds; absent: none. */
  readonly affinitySeconds?: number;
  /** CIDRs, checked; empty = everybody. */
  readonly sourceRanges: readonly string[];
  /** Empty where neither the tunnel nor a userspace NodePort needs them. */
  readonly ports: readonly PlanPort[];
  /** Only with --proxy all, and only where the Service has a ClusterIP that is ours to serve. */
  readonly kernel?: KernelService;
}

/** A Service as kube-proxy sees it. */
export interface KernelService {
  /** Sorted by family, port and protocol. */
  readonly ports: readonly KernelPort[];
  /** Only type LoadBalancer with externalTrafficPolicy Local: where its balancer asks how many ready endpoints this node has. */
  readonly healthCheck?: { readonly nodePort: number; readonly localEndpoints: number };
}

/** One port of a Service in one address family. All addresses are of that family, in canonical form. */
export interface KernelPort {
  readonly family: Family;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly port: number;
  /** "" where the port has no name. */
  readonly name: string;
  readonly clusterIP: string;
  readonly nodePort?: number;
  readonly externalIPs: readonly string[];
  /** Of status.loadBalancer; without those of ipMode Proxy, which the kernel must leave alone. */
  readonly loadBalancerIPs: readonly string[];
  /** Who may ask the loadBalancerIPs, as CIDRs of which none lies within another; absent: everybody. NodePorts and externalIPs are never subject to it. */
  readonly sourceRanges?: readonly string[];
  readonly internalPolicy: Policy;
  /** "Cluster" for what cannot be reached from outside. */
  readonly externalPolicy: Policy;
  /** Usable ones anywhere, topology hints applied. Empty where no policy asks for them. */
  readonly cluster: readonly KernelEndpoint[];
  /** Usable ones on this node. Empty where no policy asks for them. */
  readonly local: readonly KernelEndpoint[];
  /** Some endpoint is usable, if not from here: a policy of Local then drops what it would refuse otherwise. */
  readonly anywhere: boolean;
  /** UDP only: "address port" of each endpoint that is still serving, whatever policy and hints say. Their flows are kept. */
  readonly serving?: readonly string[];
  /** ClientIP affinity in seconds; absent: none. */
  readonly affinitySeconds?: number;
  readonly algorithm: EndpointAlgorithm;
}

export interface KernelEndpoint {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** It runs on this node, or may do so: nobody says where. A pod of this node that reaches itself needs another source. */
  readonly local: boolean;
}

export interface PlanPort {
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly port: number;
  readonly nodePort?: number;
  /** For traffic from outside (tunnel, NodePort) at this node: externalTrafficPolicy, hints and fallback applied. */
  readonly external: readonly PlanEndpoint[];
  /** Why `external` is empty, in words for an error page; absent where it is not. */
  readonly refusal?: string;
}

export interface PlanEndpoint {
  /** Pod UID where there is one, else address: identity for affinity and ejection. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** Only as a fallback: it is on its way out. */
  readonly terminating: boolean;
}
