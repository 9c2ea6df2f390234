// When an endpoint is passed over because it failed: the rule of src/shared/health/ejection.ts, and the reason, for people. Pure:
// state in, state out, `now` passed in (ms).
// A pod that refuses connections is noticed here before its readiness probe tells Kubernetes. Ejected endpoints come
// last, never "not at all": a wrong verdict costs a detour, not an outage. So any number of them may be ejected.
import { afterFailure, blameless, type EjectionRules, type Outlier } from "../../src/shared/health/ejection.ts";

/** Three failures, because one may be a hiccup, and each costs its request only a local retry. */
export const ENDPOINT_RULES: EjectionRules = { failures: 3, firstMs: 2_000, maxMs: 60_000 };

export interface Failures extends Outlier {
  /** Why the latest one failed. */
  readonly why: string;
}

export const noFailures: Failures = { ...blameless, why: "" };

/** One more failure. During an ejection only `why` changes. */
export const failed = (before: Failures, why: string, now: number): Failures => ({
  ...afterFailure(before, now, ENDPOINT_RULES),
  why,
});

export const isEjected = (failures: Failures, now: number): boolean => now < failures.until;
/** True from the first ejection until a success: what this node reports as unavailable. */
export const isBroken = (failures: Failures): boolean => failures.ejections > 0;
