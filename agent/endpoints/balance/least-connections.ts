// `lc`: the endpoint with the fewest requests in flight from this node. Ties are broken at random, else an idle
// Service would send everything to its first endpoint.
import type { Balancer, Candidate, PickContext } from "../../../src/shared/balance/balancer.ts";

export class LeastConnections implements Balancer {
  *order<C extends Candidate>(candidates: readonly C[], { random }: PickContext): Iterable<C> {
    let first: C | undefined;
    let ties = 0;
    for (const candidate of candidates) {
      const difference = first === undefined ? -1 : compare(candidate, first);
      if (difference > 0) continue;
      ties = difference === 0 ? ties + 1 : 1;
      // The n-th of equals replaces the one held with probability 1/n: each is equally likely in the end.
      if (ties === 1 || random() * ties < 1) first = candidate;
    }
    if (first === undefined) return;
    yield first;
    yield* candidates.filter((candidate) => candidate !== first).sort(compare);
  }
}

function compare(a: Candidate, b: Candidate): number {
  if ((a.weight === 0) !== (b.weight === 0)) return a.weight === 0 ? 1 : -1;
  return a.inFlight - b.inFlight;
}
