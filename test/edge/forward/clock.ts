// A clock that the test sets, with timers: nothing here waits for real time.
export class Clock {
  time: number;
  readonly #timers = new Set<{ at: number; call: () => void }>();

  constructor(time = 1_000_000) {
    this.time = time;
  }

  readonly now = (): number => this.time;

  readonly later = (ms: number, call: () => void): (() => void) => {
    const timer = { at: this.time + ms, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  /** Timers that nobody stopped, and that have not been called. */
  get waiting(): number {
    return this.#timers.size;
  }

  /** Calls what is due in the next `ms`, in order, and lets promises settle after each. */
  async pass(ms: number): Promise<void> {
    const end = this.time + ms;
    await settled();
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.call();
      await settled();
    }
    this.time = end;
  }
}

/** All promises that can go on without a timer have. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
