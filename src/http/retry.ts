// Whether a request that failed on one node goes to the next. An answer, whatever its status, is never retried: it is the
// backend's. What may have been carried out is repeated only where the client itself could have repeated it.
import { isIdempotentMethod } from "../wire/repeat.ts";

/** Tries of one request, all nodes together. Enough to outlive several nodes lost at once, not to hammer a sick cluster. */
export const ATTEMPTS_MAX = 5;

export interface FailedAttempt {
  /** "never": no backend saw any of it. "maybe": one may have acted on it. */
  readonly sent: "never" | "maybe";
  readonly idempotent: boolean;
  /** The body can be sent from its beginning again; true where there is none. */
  readonly replayable: boolean;
  /** How many have been made, this one included. */
  readonly attempts: number;
  /** Takes one retry out of the budget; false: none is left. Asked only where all else allows a retry. */
  readonly budget: () => boolean;
}

export type RetryDecision =
  | { readonly retry: true }
  | { readonly retry: false; readonly why: "may-have-been-done" | "body-gone" | "too-many-attempts" | "budget" };

export function decideRetry({ sent, idempotent, replayable, attempts, budget }: FailedAttempt): RetryDecision {
  // POST whose node died after the head was sent => the client decides, not we
  if (sent === "maybe" && !idempotent) return { retry: false, why: "may-have-been-done" };
  if (!replayable) return { retry: false, why: "body-gone" };
  if (attempts >= ATTEMPTS_MAX) return { retry: false, why: "too-many-attempts" };
  return budget() ? { retry: true } : { retry: false, why: "budget" };
}

/**
 * RFC 9110's idempotent methods, and any with an Idempotency-Key: whoever sends one asks the server to recognise the
 * second copy (net/http of Go does the same).
 */
export const isIdempotent = (method: string, headers?: Headers): boolean =>
  isIdempotentMethod(method) || (headers?.has("idempotency-key") ?? false);
