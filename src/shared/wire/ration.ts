// How much work a peer may cause here: a bucket that fills with time. It reads no clock, and is lost with its owner.
import { WORK_BURST, WORK_PER_SECOND } from "./limits.ts";

export class Ration {
  readonly #shared: Ration | undefined;
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #filledAt = 0;

  /** `shared`: what several connections have together; each take is taken from there, too. */
  constructor(shared?: Ration, times = 1) {
    this.#shared = shared;
    this.#burst = WORK_BURST * times;
    this.#perSecond = WORK_PER_SECOND * times;
    this.#left = this.#burst;
  }

  /** False: there is not as much left. `now`: ms; a clock that goes back counts as standing still. */
  take(work: number, now: number): boolean {
    if (now > this.#filledAt) {
      const filled = this.#left + ((now - this.#filledAt) * this.#perSecond) / 1000;
      this.#left = Math.min(this.#burst, filled);
      this.#filledAt = now;
    }
    this.#left -= work;
    return this.#left >= 0 && (this.#shared === undefined || this.#shared.take(work, now));
  }
}
