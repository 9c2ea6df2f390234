// Outlier ejection: what fails several requests in a row is left out for a while, longer each time. The rule is one for the
// edge's nodes and for a node's endpoints; how many failures and how long differ, and so does what happens when all fail. Time
// and chance are arguments.
import { type Backoff, backoff } from "../net/backoff.ts";

export interface EjectionRules extends Backoff {
  /** Failures in a row that eject. */
  readonly failures: number;
}

export interface Outlier {
  /** In a row, without a success between two. */
  readonly failures: number;
  /** In a row, without a success between two; the next one's length depends on it. */
  readonly ejections: number;
  /** It is ejected before this time, ms. */
  readonly until: number;
}

export const blameless: Outlier = { failures: 0, ejections: 0, until: 0 };

/** One failure more. `spread` is added to the length of an ejection, as a share of it. */
export function afterFailure(before: Outlier, now: number, rules: EjectionRules, spread = () => 0): Outlier {
  // A request that fails during the ejection was sent before it, or for want of anything better: it lengthens nothing.
  if (now < before.until) return before;
  const failures = before.failures + 1;
  // After its first ejection it is on probation: the next failure ejects it again.
  if (failures < rules.failures && before.ejections === 0) return { ...before, failures };
  const length = backoff(before.ejections, rules) * (1 + spread());
  return { failures, ejections: before.ejections + 1, until: now + length };
}

/** For nodes, at the edge. */
const NODE_RULES: EjectionRules = { failures: 5, firstMs: 5_000, maxMs: 300_000 };
/** Largest share that is ejected at one time. Of two, one; of one, none. */
const SHARE_MAX = 0.5;
/** Up to this share is added to each ejection, so that nodes that were ejected together do not return together. */
const JITTER = 0.2;

/**
 * The nodes of one owner. Never more than a share of all is ejected: if more fail, the fault lies elsewhere, and leaving nodes
 * out makes it worse. Kept in memory only: after a restart a bad node must fail again.
 */
export class Ejector {
  readonly #random: () => number;
  /** Only those that failed since their last success. */
  readonly #outliers = new Map<string, Outlier>();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** A request that succeeds during the ejection was sent before it, and shortens nothing. */
  succeeded(key: string, now: number): void {
    if (this.#outliers.size > 0 && this.ejectedUntil(key, now) === undefined) this.#outliers.delete(key);
  }

  /** `candidates`: how many there are in all. True where it is ejected by this failure. */
  failed(key: string, now: number, candidates: number): boolean {
    const before = this.#outliers.get(key) ?? blameless;
    const after = afterFailure(before, now, NODE_RULES, () => JITTER * this.#random());
    const ejects = after.until > before.until;
    const full = ejects && this.#ejected(now) + 1 > candidates * SHARE_MAX;
    this.#outliers.set(key, full ? { ...before, failures: after.failures } : after);
    return ejects && !full;
  }

  /** Until when it is ejected, in the clock of `now`; undefined: it is not ejected. */
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

  /** Forgets all others. Call it when the set of nodes has changed. */
  retain(keys: { has(key: string): boolean }): void {
    for (const key of this.#outliers.keys()) if (!keys.has(key)) this.#outliers.delete(key);
  }

  #ejected(now: number): number {
    let count = 0;
    for (const { until } of this.#outliers.values()) if (until > now) count++;
    return count;
  }
}
