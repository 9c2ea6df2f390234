// `random`: every endpoint alike, as kube-proxy deals. Stateless, so it needs no warm-up and cannot fall into step.
// Does not read load or client.
import type { Balancer, Candidate, PickContext } from "../../../src/shared/balance/balancer.ts";

export class Random implements Balancer {
  *order<C extends Candidate>(candidates: readonly C[], { random }: PickContext): Iterable<C> {
    // Hot path: the first pick needs no copy. It stays uniform among those with a weight, for a draw that hits a
    // weightless one is thrown away, and the shuffle below starts afresh.
    const first = candidates[Math.floor(random() * candidates.length)];
    const taken = first !== undefined && first.weight > 0 ? first : undefined;
    if (taken !== undefined) yield taken;
    yield* shuffled(
      candidates.filter((candidate) => candidate.weight > 0 && candidate !== taken),
      random,
    );
    yield* shuffled(
      candidates.filter((candidate) => candidate.weight === 0),
      random,
    );
  }
}

/** Fisher-Yates, one step for each item taken. Owns `items`. */
function* shuffled<C>(items: C[], random: () => number): Iterable<C> {
  for (let left = items.length; left > 0; left--) {
    const index = Math.floor(random() * left);
    const item = items[index];
    const last = items[left - 1];
    if (item === undefined || last === undefined) return;
    items[index] = last;
    yield item;
  }
}
