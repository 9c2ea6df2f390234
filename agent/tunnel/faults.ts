// Faults of this program itself: a call that threw where bytes of a peer became calls. Each ends its stream, or its
// connection, and no more; here they are counted and told, at most once in TELL_MS.
import type { Logger } from "pino";

const TELL_MS = 10_000;

export class Faults {
  count = 0;
  #toldAt = Number.NEGATIVE_INFINITY;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `ended`: what it cost. */
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
