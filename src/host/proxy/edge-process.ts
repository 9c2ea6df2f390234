// What the listener proxy knows of the edge's own process: whether it is down, and whether it ended since a request was sent.
// Only its owner knows that; a connection that broke says nothing of it, and comes a moment before the owner's word.
import { setTimeout as delay } from "node:timers/promises";

export class EdgeProcess {
  readonly #patienceMs: number;
  readonly #wordMs: number;
  #down: Promise<void> | undefined;
  #next = Promise.withResolvers<void>();
  /** How often it has ended. */
  ends = 0;

  constructor(patienceMs: number, wordMs: number) {
    this.#patienceMs = patienceMs;
    this.#wordMs = wordMs;
  }

  /** It ended, and serves again when `up` resolves. */
  ended(up: Promise<void>): void {
    this.ends++;
    this.#next.resolve();
    this.#next = Promise.withResolvers();
    const over = Promise.race([up, delay(this.#patienceMs, undefined, { ref: false })]).finally(() => {
      if (this.#down === over) this.#down = undefined;
    });
    this.#down = over;
  }

  /** Resolves when it serves again, or patience is over. Undefined: nothing is known against it. */
  get down(): Promise<void> | undefined {
    return this.#down;
  }

  /** Whether it has ended since it had ended `ends` times; waits a moment for its owner to say so. */
  async endedSince(ends: number): Promise<boolean> {
    if (this.ends === ends) await Promise.race([this.#next.promise, delay(this.#wordMs, undefined, { ref: false })]);
    return this.ends !== ends;
  }
}
