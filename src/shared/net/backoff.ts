// How long to wait after failures in a row: twice as long each time, up to a limit. Pure: chance is an argument.

export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The pause after one more failure than `before`, ms. For callers that are alone: nobody else retries in step with them. */
export const backoff = (before: number, { firstMs, maxMs }: Backoff): number => Math.min(firstMs * 2 ** before, maxMs);

/** The same with full jitter, at least 0 and less than that pause: many callers that failed together do not come back together. */
export const jitteredBackoff = (before: number, times: Backoff, random: () => number): number =>
  Math.floor(random() * backoff(before, times));
