// `rr`: one after the other. Each order moves the cursor by one, however much of it is used. The cursor is lost at restart.
import type { Balancer, Candidate, PickContext } from "../../../../src/shared/balance/balancer.ts";

export class RoundRobin implements Balancer {
  #next = 0;

  *order<C extends Candidate>(candidates: readonly C[], _context: PickContext): Iterable<C> {
    // Turns go to those with a weight alone, else whoever stands behind a weightless one would have two.
    const weighted = candidates.every(({ weight }) => weight > 0)
      ? candidates
      : candidates.filter(({ weight }) => weight > 0);
    const start = weighted.length === 0 ? 0 : this.#next % weighted.length;
    this.#next = start + 1;
    for (let step = 0; step < weighted.length; step++) {
      const candidate = weighted[(start + step) % weighted.length];
      if (candidate !== undefined) yield candidate;
    }
    if (weighted !== candidates) yield* candidates.filter(({ weight }) => weight === 0);
  }
}
