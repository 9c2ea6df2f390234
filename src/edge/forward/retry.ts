// Whether a request that failed on one node goes to the next: the edge's part of src/shared/http/repeat.ts. An answer, whatever its
// status, is never repeated: it is the backend's.
import { EDGE_SIGHTINGS, isIdempotentMethod, UNSENT_MAX } from "../../shared/http/repeat.ts";

export interface FailedAttempt {
  /** "never": no backend saw any of it. "maybe": one may have acted on it. */
  readonly sent: "never" | "maybe";
  /** The node lives and says what became of it. Absent: the node was lost. */
  readonly final?: boolean | undefined;
  /** It is a repeat already, of the listener proxy. */
  readonly again?: boolean;
  readonly idempotent: boolean;
  /** The body can be sent from its beginning again; true where there is none. */
  readonly replayable: boolean;
  /** How many have been made, this one included. */
  readonly attempts: number;
  /** How many of them may have been seen; absent: all. */
  readonly sightings?: number;
  /** Takes one retry out of the budget; false: none is left. Asked only where all else allows a retry. */
  readonly budget: () => boolean;
}

export type RetryDecision = { readonly retry: true } | { readonly retry: false; readonly why: WhyNot };

export type WhyNot = "final" | "a-repeat" | "may-have-been-done" | "body-gone" | "too-many-attempts" | "budget";

export function decideRetry(failed: FailedAttempt): RetryDecision {
  const why = whyNot(failed);
  return why === undefined ? { retry: true } : { retry: false, why };
}

function whyNot(failed: FailedAttempt): WhyNot | undefined {
  const { sent, final = false, again = false, idempotent, replayable, attempts, sightings = attempts } = failed;
  // 504 of a node that is well => the next node would only do the work once more
  if (final) return "final";
  if (sent === "maybe") {
    if (again) return "a-repeat";
    // POST whose node died after the head was sent => the client decides, not we
    if (!idempotent) return "may-have-been-done";
    if (sightings >= EDGE_SIGHTINGS) return "too-many-attempts";
  }
  if (!replayable) return "body-gone";
  if (attempts >= UNSENT_MAX) return "too-many-attempts";
  return failed.budget() ? undefined : "budget";
}

/**
 * RFC 9110's idempotent methods, and any with an Idempotency-Key: whoever sends one asks the server to recognise the
 * second copy (net/http of Go does the same).
 */
export const isIdempotent = (method: string, headers?: Headers): boolean =>
  isIdempotentMethod(method) || (headers?.has("idempotency-key") ?? false);
