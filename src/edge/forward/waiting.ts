// Requests that wait for a node to come: all of them look again when one may have.
import type { Effects } from "./transport.ts";

/** More would only be refused later, and hold their memory until then. */
const WAITERS_MAX = 1_000;

export class Waiting {
  readonly #effects: Effects;
  readonly #waiters = new Set<() => void>();

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  /** A node may have come. */
  wake(): void {
    for (const resume of this.#waiters) resume();
    this.#waiters.clear();
  }

  /** True once wake() is called; false where the time, or the room for waiters, is up. `deadline`: epoch ms. */
  wait(deadline: number): Promise<boolean> {
    if (this.#waiters.size >= WAITERS_MAX) return Promise.resolve(false);
    return new Promise((resolve) => {
      const resume = (): void => {
        stop();
        resolve(true);
      };
      const stop = this.#effects.later(deadline - this.#effects.now(), () => {
        this.#waiters.delete(resume);
        resolve(false);
      });
      this.#waiters.add(resume);
    });
  }
}
