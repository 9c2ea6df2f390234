// `wrr`: shares by weight, spread evenly. Weights 5, 1, 1 give a a b a c a a, not a a a a a b c ("smooth"):
// each pick adds every weight to its candidate's score, takes the highest and takes the sum off it.
// Scores are kept by key over changes of the set, and lost at restart.
import type { Balancer, Candidate, PickContext } from "../../../../src/shared/balance/balancer.ts";

export class WeightedRoundRobin implements Balancer {
  #scores = new Map<string, number>();

  *order<C extends Candidate>(candidates: readonly C[], _context: PickContext): Iterable<C> {
    const scores = new Map<string, number>();
    let total = 0;
    let first: C | undefined;
    let best = Number.NEGATIVE_INFINITY;
    for (const candidate of candidates) {
      if (candidate.weight === 0) continue;
      const score = (this.#scores.get(candidate.key) ?? 0) + candidate.weight;
      scores.set(candidate.key, score);
      total += candidate.weight;
      if (score > best) {
        best = score;
        first = candidate;
      }
    }
    // Replaced whole: whoever left is forgotten.
    this.#scores = scores;
    if (first !== undefined) {
      scores.set(first.key, best - total);
      yield first;
    }
    // A retry does not count against the one that it falls on: the failed one had its turn.
    yield* candidates
      .filter((candidate) => candidate !== first)
      .sort(
        (a, b) => (scores.get(b.key) ?? Number.NEGATIVE_INFINITY) - (scores.get(a.key) ?? Number.NEGATIVE_INFINITY),
      );
  }
}
