// The Executor contract: makes a node do what its ForwardingPlan says. userspace serves the tunnel's streams and the NodePorts of
// the demo; those of --proxy all program the kernel.
import type { Family } from "../plan/endpoints.ts";
import type { ForwardingPlan } from "../plan/plan.ts";

/** What came of it. A part that cannot be done is a problem, never a silent substitute. */
export interface Applied {
  readonly problems: readonly { readonly service: string; readonly reason: string; readonly message: string }[];
  /** Of executors that kube-proxy has metrics of: what this apply wrote. Absent, or without a family, where it wrote nothing. */
  readonly written?: readonly Written[];
}

export interface Written {
  readonly family: Family;
  /** iptables: rules of ours by table, all that there are and those of them that were written now. */
  readonly rules?: Readonly<Record<"filter" | "nat", { readonly total: number; readonly last: number }>>;
  /** iptables: how often changes, or everything, were refused before the rules were as they should be. */
  readonly refused?: { readonly changes: number; readonly everything: number };
  /** nftables: removals of what is used no more that failed. */
  readonly failedCleanups?: number;
}

export interface Executor {
  /** Makes the node equal to `plan`, idempotently; calls are serialised by the caller. Connections that stay valid survive. */
  apply(plan: ForwardingPlan): Promise<Applied>;
  /** Takes away all that this executor ever made. */
  clear(): Promise<void>;
}

/**
 * An executor that programs the kernel. What it made outlives the process: clear() leaves it. Calls of all its methods are serialised by the caller.
 * `apply` rejects where nothing of the plan could be applied; the next apply is then a full one.
 */
export interface KernelExecutor extends Executor {
  /** Takes away what any process ever made under this mode's names, kube-proxy included. Works without an apply before it. */
  cleanup(): Promise<void>;
  /** False: somebody changed our rules. The next apply is then a full one. */
  check(): Promise<boolean>;
  /**
   * The next apply writes everything over what is there, also for an unchanged plan: that mends what check() does not see. No packet
   * meets a missing rule meanwhile, and clients with affinity keep their endpoints.
   */
  renew(): void;
}
