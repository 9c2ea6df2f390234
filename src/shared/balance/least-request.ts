// `least-request`: of two drawn at random the less loaded (power of two choices), which keeps loads as even as asking all of
// them, without the herd that follows one "best". Load is requests in flight for a share of weight. Keeps nothing.
import type { Balancer, Candidate, PickContext } from "./balancer.ts";

export class LeastRequest implements Balancer {
  *order<C extends Candidate>(candidates: readonly C[], { random }: PickContext): Iterable<C> {
    const count = candidates.length;
    const first = count === 0 ? undefined : candidates[draw(candidates, 0, count, random)];
    if (first === undefined) return;
    // Both that were drawn may have weight 0 while others have weight: then neither comes first.
    const firstYielded = first.weight > 0;
    if (firstYielded) yield first;
    // Only a retry gets here. `rest` has those with weight first; each draw swaps its winner to the front.
    const rest = candidates.filter((each) => each.weight > 0 && each !== first);
    const weighted = rest.length;
    for (const each of candidates) if (each.weight === 0) rest.push(each);
    for (let at = 0; at < rest.length; at++) {
      const won = draw(rest, at, at < weighted ? weighted : rest.length, random);
      const winner = rest[won] as C;
      rest[won] = rest[at] as C;
      yield winner;
    }
  }
}

/** Index of the better one of two different ones drawn from [from, to). */
function draw(candidates: readonly Candidate[], from: number, to: number, random: () => number): number {
  const count = to - from;
  const one = from + Math.floor(random() * count);
  if (count === 1) return one;
  let other = from + Math.floor(random() * (count - 1));
  if (other >= one) other++;
  return better(candidates[other] as Candidate, candidates[one] as Candidate) ? other : one;
}

/** Less in flight for its weight; without weight, worse than any with. Equal: the first drawn, so chance decides. */
function better(a: Candidate, b: Candidate): boolean {
  if (a.weight === 0 || b.weight === 0)
    return a.weight > b.weight || (a.weight === b.weight && a.inFlight < b.inFlight);
  return a.inFlight * b.weight < b.inFlight * a.weight;
}
