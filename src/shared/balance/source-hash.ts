// `source-hash`: the same client goes to the same node, and only the clients of a node that left move (rendezvous hashing);
// shares by weight. Also the order of Services with ClientIP affinity. Stateless: all shards and isolates rank a client alike.
// A client without a known address has no place of its own: it is drawn anew each time.
import type { Balancer, Candidate, PickContext } from "./balancer.ts";
import { pairScore } from "./hash.ts";

export class SourceHash implements Balancer {
  *order<C extends Candidate>(candidates: readonly C[], { client, random }: PickContext): Iterable<C> {
    const hash = client === 0 ? Math.floor(random() * 0xffff_ffff) + 1 : client;
    // Finds the best, then the best of those that rank below it, and so on. Mostly only the first is taken, so nothing is sorted.
    let last = Number.POSITIVE_INFINITY;
    let lastKey = "";
    for (let yielded = 0; yielded < candidates.length; yielded++) {
      let best: C | undefined;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (const each of candidates) {
        const score = rank(each, hash);
        if (score > last || (score === last && each.key <= lastKey)) continue;
        if (score < bestScore || (score === bestScore && best !== undefined && each.key > best.key)) continue;
        best = each;
        bestScore = score;
      }
      if (best === undefined) return;
      yield best;
      last = bestScore;
      lastKey = best.key;
    }
  }
}

/**
 * With weights: ln(u) / weight, below 0, where u in (0, 1) is the pair's hash: the highest of these is each candidate's as
 * often as its weight says, and does not depend on who else is there. Without: the hash alone, below all of those.
 */
function rank({ hash, weight }: Candidate, client: number): number {
  const u = (pairScore(client, hash) + 0.5) / 2 ** 32;
  return weight > 0 ? Math.log(u) / weight : u - BELOW_ALL;
}

/** ln of the smallest u, for weight 1, is -22.9. */
const BELOW_ALL = 100;
