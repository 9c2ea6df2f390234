// `rr`: one after the other. The cursor follows what was taken, so endpoints that the caller skipped (ejected, failed)
// do not give their whole share to the one behind them. The cursor is lost at restart.
import type { Balancer, Candidate, PickContext } from "../../../../src/wire/balancer.ts";

export class RoundRobin implements Balancer {
  #next = 0;

  *order<C extends Candidate>(candidates: readonly C[], _context: PickContext): Iterable<C> {
    const count = candidates.length;
    const start = this.#next;
    for (const weightless of [false, true]) {
      for (let step = 0; step < count; step++) {
        const index = (start + step) % count;
        const candidate = candidates[index];
        if (candidate === undefined || (candidate.weight === 0) !== weightless) continue;
        this.#next = index + 1;
        yield candidate;
      }
    }
    // All were taken, and the cursor is back where it was: the next round must start elsewhere.
    this.#next = count === 0 ? 0 : (start + 1) % count;
  }
}
