// `sh`: the same client goes to the same endpoint, and only clients of an endpoint that left move (rendezvous hash).
// Stateless: every node ranks a client alike. Also the first pick of ClientIP affinity.
import type { Balancer, Candidate, PickContext } from "../../../../src/shared/balance/balancer.ts";
import { pairScore } from "../../../../src/shared/balance/hash.ts";

export class SourceHash implements Balancer {
  *order<C extends Candidate>(candidates: readonly C[], { client }: PickContext): Iterable<C> {
    let first: C | undefined;
    let best = -1;
    for (const candidate of candidates) {
      const score = rank(candidate, client);
      if (score > best || (score === best && first !== undefined && candidate.key < first.key)) {
        best = score;
        first = candidate;
      }
    }
    if (first === undefined) return;
    yield first;
    yield* candidates
      .filter((candidate) => candidate !== first)
      .sort((a, b) => rank(b, client) - rank(a, client) || (a.key < b.key ? -1 : 1));
  }
}

/** Weightless ones rank below all others, in their own order: scores are 32 bits, so 2^32 lifts the rest above them. */
function rank(candidate: Candidate, client: number): number {
  return pairScore(client, candidate.hash) + (candidate.weight > 0 ? 2 ** 32 : 0);
}
