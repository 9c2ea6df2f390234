// Flips a verdict only after so many results in a row that contradict it: one lost probe is not an outage, one lucky one
// no recovery. A pure reducer over plain data, which the owner may store as JSON.

export interface ThresholdConfig {
  /** Consecutive failures that make a healthy thing unhealthy; at least 1. */
  readonly failures: number;
  /** Consecutive successes that make an unhealthy thing healthy; at least 1. */
  readonly successes: number;
}

export interface ThresholdState {
  readonly healthy: boolean;
  /** Results in a row that contradict `healthy`. */
  readonly against: number;
}

/** A node that has not been probed yet may be used. */
export const initial: ThresholdState = { healthy: true, against: 0 };

/** Returns the same object where nothing changed. */
export function step(state: ThresholdState, ok: boolean, config: ThresholdConfig): ThresholdState {
  if (ok === state.healthy) return state.against === 0 ? state : { healthy: state.healthy, against: 0 };
  const against = state.against + 1;
  const needed = ok ? config.successes : config.failures;
  return against >= needed ? { healthy: ok, against: 0 } : { healthy: state.healthy, against };
}
