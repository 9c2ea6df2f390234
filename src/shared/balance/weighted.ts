// `weighted`: shares by weight, spread evenly: weights 5, 1, 1 give a a b a c a a, never a a a a a b c ("smooth"). Each order
// adds every weight to its candidate's credit, starts with the highest, and takes the sum off that one. Credits are
// kept by key while the candidate stays, in memory only.
import type { Balancer, Candidate, PickContext } from "./balancer.ts";

interface Credit {
  readonly key: string;
  value: number;
}

export class Weighted implements Balancer {
  /** In the order of the last candidates, so that an unchanged list needs no look-ups. */
  #credits: Credit[] = [];

  *order<C extends Candidate>(candidates: readonly C[], _context: PickContext): Iterable<C> {
    const credits = this.#creditsOf(candidates);
    let first: C | undefined;
    let firstCredit: Credit | undefined;
    let total = 0;
    for (let i = 0; i < candidates.length; i++) {
      const each = candidates[i] as C;
      if (each.weight === 0) continue;
      const credit = credits[i] as Credit;
      credit.value += each.weight;
      total += each.weight;
      if (firstCredit !== undefined && credit.value <= firstCredit.value) continue;
      first = each;
      firstCredit = credit;
    }
    if (first !== undefined && firstCredit !== undefined) {
      firstCredit.value -= total;
      yield first;
    }
    // A retry takes no credit off the candidate that it goes to: the turn was the failed one's.
    const rest = candidates.map((candidate, i) => ({ candidate, value: credits[i]?.value ?? 0 }));
    rest.sort((a, b) => Math.sign(b.candidate.weight) - Math.sign(a.candidate.weight) || b.value - a.value);
    for (const { candidate } of rest) if (candidate !== first) yield candidate;
  }

  /** Drops the credits of candidates that left; new ones start with 0. */
  #creditsOf(candidates: readonly Candidate[]): readonly Credit[] {
    const known = this.#credits;
    let same = known.length === candidates.length;
    for (let i = 0; same && i < known.length; i++) same = known[i]?.key === candidates[i]?.key;
    if (same) return known;
    const byKey = new Map(known.map((credit) => [credit.key, credit]));
    this.#credits = candidates.map(({ key }) => byKey.get(key) ?? { key, value: 0 });
    return this.#credits;
  }
}
