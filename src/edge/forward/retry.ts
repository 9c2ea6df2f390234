// Whether a request that failed on one node may go to another: the edge's part of src/shared/http/repeat.ts. An answer, whatever
// its status, is never repeated: it is the backend's. The retry budget is the loop's to spend, once there is another node.
import { isIdempotentMethod, UNSENT_MAX } from "../../shared/http/repeat.ts";

export interface FailedAttempt {
  /** "never": no backend saw any of it. "maybe": one may have acted on it. */
  readonly sent: "never" | "maybe";
  /** The node lives and says what became of it. Absent: the node was lost. */
  readonly final?: boolean | undefined;
  /** It is a repeat already, of the listener proxy. */
  readonly again: boolean;
  readonly idempotent: boolean;
  /** The body can be sent from its beginning again; true where there is none. */
  readonly replayable: boolean;
  /** How many have been made, this one included. */
  readonly attempts: number;
  /** How many of them may have been seen, and how many may be. */
  readonly sightings: number;
  readonly sightingsMax: number;
}

export function mayRetry(failed: FailedAttempt): boolean {
  // 504 of a node that is well => the next node would only do the work once more
  if (failed.final === true) return false;
  if (!failed.replayable || failed.attempts >= UNSENT_MAX) return false;
  if (failed.sent === "never") return true;
  // POST whose node died after the head was sent => the client decides, not we
  return !failed.again && failed.idempotent && failed.sightings < failed.sightingsMax;
}

/**
 * RFC 9110's idempotent methods, and any with an Idempotency-Key: whoever sends one asks the server to recognise the
 * second copy (net/http of Go does the same).
 */
export const isIdempotent = (method: string, headers?: Headers): boolean =>
  isIdempotentMethod(method) || (headers?.has("idempotency-key") ?? false);
