// The Executor contract: makes a node do what its ForwardingPlan says. `userspace` is one; KernelExecutors program the kernel.
import type { ForwardingPlan } from "../plan/plan.ts";

/** What came of it. A part that cannot be done is a problem, never a silent substitute. */
export interface Applied {
  readonly problems: readonly { readonly service: string; readonly reason: string; readonly message: string }[];
}

export interface Executor {
  /** Makes the node equal to `plan`, idempotently; calls are serialised by the caller. Connections that stay valid survive. */
  apply(plan: ForwardingPlan): Promise<Applied>;
  /** Takes away all that this executor ever made. */
  clear(): Promise<void>;
}

/** Its rules outlive the process: clear() leaves them, so that a restart or an upgrade changes nothing for a packet. */
export interface KernelExecutor extends Executor {
  /** Removes everything that this executor, or kube-proxy in the same mode, ever made on this node. Throws where it cannot. */
  cleanup(): Promise<void>;
  /** False: somebody changed our rules; the next apply is a full one. */
  check(): Promise<boolean>;
}
