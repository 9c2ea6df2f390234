// When to redial: a pure decision. Full jitter, for ever, except after a permanent refusal; then only a changed token helps.
import { jitteredBackoff } from "../../src/shared/net/backoff.ts";
import { CLOSE_REVOKED } from "../../src/shared/wire/limits.ts";

/** How a connection, or the attempt to make one, ended. */
export interface Ended {
  /** HTTP status of a refused handshake, if it got that far. */
  readonly status?: number;
  /** Close code of the socket, if it was open. */
  readonly code?: number;
  /** The edge's GOAWAY said that redialling is pointless. */
  readonly permanent?: boolean;
  /** How long it had been connected, ms; 0 if never. */
  readonly connectedMs: number;
}

export type Redial =
  | { readonly action: "wait"; readonly ms: number; readonly failures: number }
  /** The agent dials no more until its token changes. */
  | { readonly action: "refused" };

/** A connection that lived so long counts as a success: the next failure starts from the beginning. */
const STABLE_MS = 10_000;
/**
 * A connection that lived so long was to an edge that serves, where requests may wait for this node now. The next redial comes
 * within 2 s, before they are given up after 5 s. Even if every connection breaks after a second, that is one dial in two seconds.
 */
const SERVED_MS = 1_000;
/** How many failures in a row come before the range grows: an edge that restarts is back within a second or two. */
const QUICK = 3;
const REDIAL = { firstMs: 500, maxMs: 30_000 };

/**
 * `failures`: how many came in a row before this one. The first redials come within 0 to 500 ms each (a deploy of the Worker drops
 * every socket at once), then the range doubles up to 30 s.
 */
export function redial(ended: Ended, failures: number, random: () => number): Redial {
  const unauthorised = ended.status === 401 || ended.status === 403;
  if (ended.permanent === true || ended.code === CLOSE_REVOKED || unauthorised) return { action: "refused" };
  const { connectedMs } = ended;
  const before = connectedMs >= STABLE_MS ? 0 : connectedMs >= SERVED_MS ? Math.min(failures, QUICK + 1) : failures;
  const ms = jitteredBackoff(Math.max(0, before + 1 - QUICK), REDIAL, random);
  return { action: "wait", ms, failures: before + 1 };
}
