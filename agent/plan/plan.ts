// The ForwardingPlan: what one node should do, computed from Observed and the node's own name. An executor
// (agent/dataplane/executor.ts) carries it out; userspace is the only one so far. Pure data, sorted, so that equal plans are
// deep-equal. It holds what an executor reads: ClusterIPs, traffic from inside the cluster and the like come with their user.
import type { EndpointAlgorithm } from "../../src/shared/model/snapshot.ts";

export interface ForwardingPlan {
  /** The node this plan is for. */
  readonly node: string;
  readonly services: readonly PlanService[];
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
  readonly ports: readonly PlanPort[];
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
