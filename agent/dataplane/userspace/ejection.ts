// When an endpoint is passed over because it failed. Pure: state in, state out, `now` passed in (ms).
// A pod that refuses connections is noticed here before its readiness probe tells Kubernetes. Ejected endpoints come
// last, never "not at all": a wrong verdict costs a detour, not an outage.

/** Failures in a row before an endpoint is ejected: one may be a hiccup, and each costs its request only a local retry. */
export const EJECT_AFTER = 3;
/** Length of the first ejection; doubles with each failure that follows it. */
export const EJECT_MS = 2_000;
export const EJECT_MAX_MS = 60_000;

export interface Failures {
  readonly inARow: number;
  /** Ejected while now < until. */
  readonly until: number;
  /** Why the latest one failed. */
  readonly why: string;
}

export const noFailures: Failures = { inARow: 0, until: 0, why: "" };

/**
 * One more failure. During an ejection only `why` changes: requests sent there for want of anything better must not
 * lengthen it. The first failure after it ejects again at once, for twice as long.
 */
export function failed(before: Failures, why: string, now: number): Failures {
  if (now < before.until) return { ...before, why };
  const inARow = before.inARow + 1;
  if (inARow < EJECT_AFTER) return { inARow, until: 0, why };
  return { inARow, until: now + Math.min(EJECT_MAX_MS, EJECT_MS * 2 ** (inARow - EJECT_AFTER)), why };
}

export const isEjected = (failures: Failures, now: number): boolean => now < failures.until;
/** True from the first ejection until a success: what this node reports as unavailable. */
export const isBroken = (failures: Failures): boolean => failures.inARow >= EJECT_AFTER;
