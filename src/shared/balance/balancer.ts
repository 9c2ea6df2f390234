// The Balancer contract: used by the edge to order nodes and by the agent to order endpoints.
// A balancer yields an order, lazily; a retry is "take the next one". It never sees health: the caller
// passes only candidates that are available, and skips what it does not want.
// Implementations: beside this (the edge, and rr, wrr and sh of the agent), agent/endpoints/balance (the agent alone).

/** Something to choose. Owned and mutated by the caller between calls (inFlight); a balancer only reads it. */
export interface Candidate {
  /** Stable identity: node name, or endpoint UID. */
  readonly key: string;
  /** hash32(key), computed once by the owner. */
  readonly hash: number;
  /** Relative share, a whole number >= 0. 0 means: only when nothing with a weight is left. */
  readonly weight: number;
  /** Requests now in flight there. */
  readonly inFlight: number;
}

export interface PickContext {
  /** Milliseconds, monotonic or epoch: only differences matter. */
  readonly now: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** hash32 of the client's address; 0 if unknown. */
  readonly client: number;
}

/**
 * Yields every candidate exactly once, best first. `candidates` may change between calls but not during
 * one iteration. Breaking off after the first item must be cheap: that is the hot path.
 */
export interface Balancer {
  order<C extends Candidate>(candidates: readonly C[], ctx: PickContext): Iterable<C>;
}
