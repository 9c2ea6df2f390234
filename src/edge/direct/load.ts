// How many requests wait for a node's answer by transport direct, for least-request. Where a client leaves, workerd ends the
// request's code without another word (seen: not even `finally` runs), so some places are never given back: what was taken
// more than one or two periods ago is not counted any more. Memory only.

/** How long a request that has no answer counts at least, ms; at most twice as long. */
export const PERIOD_MS = 60_000;

/** Shared by many loads, and moved on by their owner at each request. Never goes back. */
export class Period {
  number = 0;

  moveOn(now: number): void {
    const next = Math.floor(now / PERIOD_MS);
    if (next > this.number) this.number = next;
  }
}

export class Load {
  readonly #period: Period;
  /** The period in which `#newer` were taken; `#older` are of the one before. */
  #at = 0;
  #newer = 0;
  #older = 0;

  constructor(period: Period) {
    this.#period = period;
  }

  get inFlight(): number {
    const age = this.#period.number - this.#at;
    return age === 0 ? this.#newer + this.#older : age === 1 ? this.#newer : 0;
  }

  /** Returns what release() takes. */
  take(): number {
    this.#moveOn();
    this.#newer++;
    return this.#at;
  }

  release(takenIn: number): void {
    this.#moveOn();
    if (takenIn === this.#at) this.#newer--;
    else if (takenIn === this.#at - 1) this.#older--;
  }

  #moveOn(): void {
    const age = this.#period.number - this.#at;
    if (age === 0) return;
    this.#older = age === 1 ? this.#newer : 0;
    this.#newer = 0;
    this.#at = this.#period.number;
  }
}
