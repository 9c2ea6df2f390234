// To which endpoint a request goes next, and what giving up means: src/shared/http/repeat.ts, on the node. Owns the order of
// endpoints of one request; dials nothing.
import { type RequestHead, Reset } from "../../src/shared/wire/messages.ts";
import { AGENT_SIGHTINGS, isIdempotentMethod, UNSENT_MAX } from "../../src/shared/http/repeat.ts";
import type { EndpointState } from "../endpoints/endpoints.ts";

export class Tries {
  readonly #order: Iterator<EndpointState>;
  readonly #sightingsMost: number;
  readonly #idempotent: boolean;
  /** Times that the request was given to an endpoint, or was about to be. */
  #made = 0;
  /** Those of them that an endpoint may have seen. */
  #sightings = 0;

  constructor(order: Iterable<EndpointState>, head: RequestHead) {
    this.#order = order[Symbol.iterator]();
    this.#sightingsMost = Math.min(head.sightings, AGENT_SIGHTINGS);
    this.#idempotent = isIdempotentMethod(head.method) || hasIdempotencyKey(head.headers);
  }

  /** The next endpoint of the order, or `instead` if it is given; undefined: there is none, or the rules allow no more. */
  next(instead?: EndpointState): EndpointState | undefined {
    if (this.#made >= UNSENT_MAX || (this.#sightings > 0 && !this.mayRepeat)) return undefined;
    const endpoint = instead ?? this.#following();
    if (endpoint !== undefined) this.#made++;
    return endpoint;
  }

  /** Takes the next endpoint of the order without trying it, for a later next(instead). */
  reserve(): EndpointState | undefined {
    return this.#made < UNSENT_MAX ? this.#following() : undefined;
  }

  /** From here on the endpoint may see the request. */
  seen(): void {
    this.#sightings++;
  }

  /** It turned out that the last endpoint saw nothing of it. */
  unseen(): void {
    this.#sightings--;
  }

  /** Whether a request that may have been seen may go to another endpoint, if its body is still whole. */
  get mayRepeat(): boolean {
    return this.#idempotent && this.#sightings < this.#sightingsMost;
  }

  /** What it means that nobody answered. */
  get outcome(): Reset {
    if (this.#sightings > 0) return Reset.BROKE;
    return this.#made === 0 ? Reset.NO_ENDPOINT : Reset.NOT_SENT;
  }

  #following(): EndpointState | undefined {
    const { done, value } = this.#order.next();
    return done === true ? undefined : value;
  }
}

/** Whoever sends one asks the server to recognise the second copy. */
function hasIdempotencyKey(headers: readonly string[]): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name.length === 15 && name.toLowerCase() === "idempotency-key") return true;
  }
  return false;
}
