// Decides who leads. Pure. Expiry counts from the moment when this agent first saw the Lease as it is now, never from the times
// in it, because the clocks of nodes differ. The Lease itself does not fence. Its `transitions` does, as the epoch of what the
// leader publishes. So every take-over raises it, also when a process takes back its own Lease after a restart.

/** What we need of a Lease. */
export interface LeaseRecord {
  readonly version: string;
  /** Empty: released. */
  readonly holder: string;
  readonly transitions: number;
  readonly durationMs: number;
}

export type LeaseStep =
  | { readonly do: "create" }
  /** Compare-and-swap on the version that was seen. */
  | { readonly do: "take"; readonly transitions: number }
  | { readonly do: "wait" };

/** For an agent that does not hold the Lease. `unchangedMs` is for how long it has seen this version. */
export function decideLease(lease: LeaseRecord | undefined, unchangedMs: number, self: string): LeaseStep {
  if (lease === undefined) return { do: "create" };
  // The holder may be this pod, although this process never took the Lease: its container was restarted.
  const free = lease.holder === "" || lease.holder === self || unchangedMs >= lease.durationMs;
  return free ? { do: "take", transitions: lease.transitions + 1 } : { do: "wait" };
}
