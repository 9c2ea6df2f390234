// Outlier ejection: who fails several requests in a row is left out for a while, longer each time. Never more than a share of
// all, for then the fault lies elsewhere and leaving nodes out only makes it worse. Memory of one owner, lost with it: the
// worst of that is that a bad node must fail again. Time and chance are arguments.

/** Failures in a row that eject. */
const FAILURES = 5;
/** The first ejection, ms; each following one is twice as long, up to the cap. */
const BASE_MS = 5_000;
const CAP_MS = 300_000;
/** Largest share that is ejected at one time. Of two, one; of one, none. */
const SHARE_MAX = 0.5;
/** Up to this share is added to each ejection, so that those who fell together do not return together. */
const JITTER = 0.2;

interface Outlier {
  failures: number;
  /** In a row, without a success between two. */
  ejections: number;
  until: number;
}

export class Ejector {
  readonly #random: () => number;
  /** Only those that failed since their last success. */
  readonly #outliers = new Map<string, Outlier>();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** What succeeds while it is ejected was sent before, and shortens nothing. */
  succeeded(key: string, now: number): void {
    if (this.#outliers.size > 0 && this.ejectedUntil(key, now) === undefined) this.#outliers.delete(key);
  }

  /** `candidates`: how many there are in all. True where it is ejected by this failure. */
  failed(key: string, now: number, candidates: number): boolean {
    let outlier = this.#outliers.get(key);
    if (outlier === undefined) {
      outlier = { failures: 0, ejections: 0, until: 0 };
      this.#outliers.set(key, outlier);
    }
    // What fails while ejected was sent before.
    if (outlier.until > now) return false;
    outlier.failures++;
    // After its time it is on probation: one more failure and it goes again.
    if (outlier.failures < FAILURES && outlier.ejections === 0) return false;
    if (this.#ejected(now) + 1 > candidates * SHARE_MAX) return false;
    outlier.until = now + Math.min(CAP_MS, BASE_MS * 2 ** outlier.ejections) * (1 + JITTER * this.#random());
    outlier.ejections++;
    return true;
  }

  /** In the clock of `now`; undefined: it is not ejected. */
  ejectedUntil(key: string, now: number): number | undefined {
    const until = this.#outliers.get(key)?.until ?? 0;
    return until > now ? until : undefined;
  }

  /** When the next ejection ends; Infinity: nobody is ejected. */
  nextReturn(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { until } of this.#outliers.values()) if (until > now && until < next) next = until;
    return next;
  }

  /** Forgets all others: they are gone for good. */
  retain(keys: { has(key: string): boolean }): void {
    for (const key of this.#outliers.keys()) if (!keys.has(key)) this.#outliers.delete(key);
  }

  #ejected(now: number): number {
    let count = 0;
    for (const { until } of this.#outliers.values()) if (until > now) count++;
    return count;
  }
}
