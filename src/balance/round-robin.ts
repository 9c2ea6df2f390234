// `round-robin`: each in turn, whatever its weight; those of weight 0 after all others. The turn is a place in the list, so a
// candidate that comes or goes moves it by one place, and never starts the round anew. Lost at a restart.
import type { Balancer, Candidate, PickContext } from "../wire/balancer.ts";

export class RoundRobin implements Balancer {
  /** Where the next order starts looking. */
  #turn = 0;

  *order<C extends Candidate>(candidates: readonly C[], _context: PickContext): Iterable<C> {
    const count = candidates.length;
    const start = this.#turn % count;
    let weightless = 0;
    for (let i = 0; i < count; i++) {
      const each = candidates[(start + i) % count] as C;
      if (each.weight === 0) {
        weightless++;
        continue;
      }
      // The first one used up its turn, and with it those of the weightless ones before it.
      if (i === weightless) this.#turn = ((start + i) % count) + 1;
      yield each;
    }
    for (let i = 0; weightless > 0 && i < count; i++) {
      const each = candidates[(start + i) % count] as C;
      if (each.weight > 0) continue;
      if (weightless === count && i === 0) this.#turn = start + 1;
      yield each;
    }
  }
}
