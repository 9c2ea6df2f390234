// Faults of this program itself: exceptions in what a peer's bytes caused to be called. Each ends one stream or one connection, and
// no more. They are counted here, and logged at most once in TELL_MS.
import type { Logger } from "pino";

const TELL_MS = 10_000;

export class Faults {
  count = 0;
  #toldAt = Number.NEGATIVE_INFINITY;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `ended`: what the fault has ended. */
  tell(error: unknown, ended: "stream" | "connection"): void {
    this.count++;
    const now = Date.now();
    if (now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    this.#log.error(
      { err: error, faults: this.count },
      `a fault in the agent ended one ${ended} of the tunnel; all others go on. Please report this line`,
    );
  }
}
