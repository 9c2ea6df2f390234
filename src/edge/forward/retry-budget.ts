// How many retries are allowed: a share of the requests of the last ten seconds, so that a sick cluster is not buried under
// repeated requests; and always so many that the loss of one busy node can be made good. Memory of one owner (a TunnelObject,
// an isolate), lost with it. A request costs an addition.
import type { Retries } from "./transport.ts";

const SHARE = 0.2;
/** Requests in flight on one node that may all be retried when it is lost, however quiet it was before. */
const FLOOR = 1_000;
/** The window moves in slots of one second. */
const SLOTS = 10;
const SLOT_MS = 1_000;

export class RetryBudget implements Retries {
  readonly #requests = new Float64Array(SLOTS);
  readonly #retries = new Float64Array(SLOTS);
  #requestsSum = 0;
  #retriesSum = 0;
  /** Number of the newest slot since the epoch of `now`. */
  #slot = 0;

  /** A request came in. `now`: ms; a clock that goes back counts as standing still. */
  request(now: number): void {
    const at = this.#advance(now);
    this.#requests[at] = (this.#requests[at] as number) + 1;
    this.#requestsSum++;
  }

  /** Takes one retry; false: none is left now. */
  retry(now: number): boolean {
    const at = this.#advance(now);
    if (this.#retriesSum >= Math.max(FLOOR, this.#requestsSum * SHARE)) return false;
    this.#retries[at] = (this.#retries[at] as number) + 1;
    this.#retriesSum++;
    return true;
  }

  /** Empties the slots that time has passed over; returns the newest one's place. */
  #advance(now: number): number {
    const slot = Math.floor(now / SLOT_MS);
    for (let left = Math.min(slot - this.#slot, SLOTS); left > 0; left--) {
      const old = (slot - left + 1) % SLOTS;
      this.#requestsSum -= this.#requests[old] as number;
      this.#retriesSum -= this.#retries[old] as number;
      this.#requests[old] = 0;
      this.#retries[old] = 0;
    }
    if (slot > this.#slot) this.#slot = slot;
    return this.#slot % SLOTS;
  }
}
