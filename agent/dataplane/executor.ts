// The Executor contract: makes a node do what its ForwardingPlan says. userspace is the only one so far.
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
