// Who leads: the decision about the Lease. Pure. Expiry counts from the moment when this agent first saw the Lease as it is
// now, never from the times in it: clocks of nodes differ. A Lease does not fence: its `transitions` does, as the epoch of
// what the leader publishes. So every taking-over raises it, a process' own after a restart included.

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

/** For whoever does not hold it. `unchangedMs`: for how long we have seen it exactly so. */
export function decideLease(lease: LeaseRecord | undefined, unchangedMs: number, self: string): LeaseStep {
  if (lease === undefined) return { do: "create" };
  // Ours, but this process never took it: the container was restarted within its pod.
  const free = lease.holder === "" || lease.holder === self || unchangedMs >= lease.durationMs;
  return free ? { do: "take", transitions: lease.transitions + 1 } : { do: "wait" };
}
