// `round-robin`: each in turn, whatever its weight; those of weight 0 after all others. The turn is a place in the list, so a
// candidate that comes or goes moves it by one place, and never starts the round anew. Lost at a restart.
import type { Balancer, Candidate, PickContext } from "./balancer.ts";

const PASSES = [false, true] as const;

export class RoundRobin implements Balancer {
  /** Where the next order starts looking. */
  #turn = 0;

  *order<C extends Candidate>(candidates: readonly C[], _context: PickContext): Iterable<C> {
    const count = candidates.length;
    const start = this.#turn % count;
    let first = true;
    for (const weightless of PASSES) {
      for (let i = 0; i < count; i++) {
        const at = (start + i) % count;
        const each = candidates[at] as C;
        if ((each.weight === 0) !== weightless) continue;
        // Candidates of weight 0 that were skipped have had their turn, so that the next one does not get two.
        if (first) this.#turn = at + 1;
        first = false;
        yield each;
      }
    }
  }
}
