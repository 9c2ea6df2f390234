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

/**
 * What a kernel's executor, or a port of the node, may keep from a single Service. Each becomes a Warning Event on that Service, under this
 * reason; docs/reference.md is made of the texts.
 */
export const nodeProblems = {
  RulesRefused: "the kernel of a node refuses the Service's rules, so that this node does not forward it",
  FrontendConflict: "another Service has the same address and port already, and keeps it",
  AffinityNotSupported: "the kernel of a node cannot remember clients, so that ClientIP affinity is not kept there",
  EndpointAlgorithmNotSupported:
    "a node cannot order endpoints in the way that the Service asks for, and says how it does instead",
  FailedToStartServiceHealthcheck:
    "the Service's healthCheckNodePort cannot be opened on a node, mostly because another process has it",
} as const;

/** A problem of one Service on this node, which becomes an Event. */
export interface NodeProblem {
  readonly service: string;
  readonly reason: keyof typeof nodeProblems;
  readonly message: string;
}

/** What came of it in the kernel. */
export interface KernelApplied extends Applied {
  readonly problems: readonly NodeProblem[];
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
 * What a look at the kernel found. intact: all is as the last apply left it. changed: another program changed it. due: nobody did, but the next
 * apply has something to do for an unchanged plan too: what was refused is to be tried again, or the node has other addresses.
 */
export type Checked = "intact" | "changed" | "due";

/**
 * An executor that programs the kernel. What it made outlives the process: clear() leaves it. Calls of all its methods are serialised by the caller.
 * `apply` rejects where nothing of the plan could be applied; the next apply is then a full one.
 */
export interface KernelExecutor extends Executor {
  apply(plan: ForwardingPlan): Promise<KernelApplied>;
  /**
   * Takes away what any process ever made under this mode's names, kube-proxy included. Works without an apply before it. With `leaveOpen`
   * frontends stay through which connections go that would end with them; resolves to their number, to be called again later.
   */
  cleanup(leaveOpen?: boolean): Promise<number>;
  /** After "changed" the next apply is a full one. */
  check(): Promise<Checked>;
  /**
   * The next apply writes everything over what is there, also for an unchanged plan: that mends what check() does not see. No packet
   * meets a missing rule meanwhile, and clients with affinity keep their endpoints.
   */
  renew(): void;
}
