// The one combiner: only this file says that a node is available, and always with a reason where it is not. Two inputs: what we
// measure, and what requests showed. What Kubernetes keeps out is in no table, so nobody asks about it here. Serves the tunnel
// (connections) and transport direct (probes) alike. Pure; what to do where nothing is available is the caller's.

export interface HealthInputs {
  /** Measured: the state of its tunnel, or `{ probe }`: why its last probes failed. Absent: all is well, or not measured yet. */
  readonly measured?: keyof typeof measuredReasons | { readonly probe: string } | undefined;
  /** Requests: until when it is ejected, in the same clock as `now`. */
  readonly ejectedUntil?: number | undefined;
  readonly now: number;
}

export type Verdict = { readonly available: true } | { readonly available: false; readonly reason: string };

const AVAILABLE: Verdict = { available: true };

/** What is measured comes first: its reason says more than a count of failures. */
export function combine({ measured, ejectedUntil, now }: HealthInputs): Verdict {
  if (typeof measured === "string") return unavailable(measuredReasons[measured]);
  if (measured !== undefined) return unavailable(`It does not answer probes: ${measured.probe}.`);
  if (ejectedUntil !== undefined && ejectedUntil > now) {
    const seconds = Math.ceil((ejectedUntil - now) / 1000);
    return unavailable(`Requests sent to it failed in a row; it is left out for another ${seconds} s.`);
  }
  return AVAILABLE;
}

const measuredReasons = {
  "not connected": "Its agent is not connected.",
  draining: "Its agent is shutting down and takes no new requests.",
  silent: "Its agent is connected but has been silent while a request waited for it.",
} as const;

const unavailable = (reason: string): Verdict => ({ available: false, reason });
