// Which epochs a cluster's snapshots may be in, as pure decisions. Each leader's epoch is above the one before, by a Lease's
// transitions or by a grant of the edge; so whoever once publishes in a very high one fences off all who come after. Nobody
// can get there: without a grant an epoch is bounded by the cluster's age, and grants go up by one.

/** A Lease counts its transitions as int32, and agents write granted epochs there. */
export const EPOCH_MAX = 2 ** 31 - 1;
/** A cluster may come to this edge with an old Lease. This many transitions it may have had before that. */
const EPOCHS_BEFORE = 1_000_000;
/** No Lease changes hands faster than this. */
const EPOCH_MS = 1_000;

/** The highest epoch that a snapshot may be in. `granted`: the highest that the edge handed out. */
export function epochLimit(createdAt: number, granted: number, now: number): number {
  const byAge = EPOCHS_BEFORE + Math.max(0, Math.floor((now - createdAt) / EPOCH_MS));
  return Math.min(EPOCH_MAX, Math.max(granted, byAge));
}

/** One more than any epoch that was granted or used; undefined where they are used up. */
export function nextEpoch(granted: number, used: number): number | undefined {
  const next = Math.max(granted, used) + 1;
  return next <= EPOCH_MAX ? next : undefined;
}
