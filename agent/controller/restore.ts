// Whether another controller undoes what we write to a Service, and how soon to restore it. Pure.
// Two controllers that both insist would write without end. So the pause doubles with each loss, and the other one is named.
// Only what we had written can be lost: writes of the other controller while we wait count as one loss.
import { backoff } from "../../src/shared/net/backoff.ts";
import type { KubeService } from "../source/resources.ts";
import { FINALIZER, isMarked, MANAGER } from "./status.ts";

export interface Contest {
  /** What we wrote last, as JSON. Undefined after it was lost, until we have written again. */
  readonly ours: string | undefined;
  readonly losses: number;
  /** Nothing is written before this time; ms. */
  readonly notBefore: number;
  /** When it was last lost; ms. */
  readonly lostAt: number;
  readonly otherWriter: string | undefined;
}

const PAUSE = { firstMs: 1_000, maxMs: 300_000 };
/** A contest without a loss for this long is forgotten; ms. */
export const PEACE_MS = 600_000;

const stateOf = (service: KubeService): string =>
  JSON.stringify([
    service.status.loadBalancer.ingress,
    service.metadata.finalizers.includes(FINALIZER),
    isMarked(service),
  ]);

/** `service` is the Service after our patch. */
export const written = (before: Contest | undefined, service: KubeService): Contest => ({
  ...(before ?? { losses: 0, notBefore: 0, lostAt: 0, otherWriter: undefined }),
  ours: stateOf(service),
});

export function contested(contest: Contest, service: KubeService, now: number): Contest {
  const settled = contest.losses > 0 && now - contest.lostAt > PEACE_MS;
  const present: Contest = settled ? { ...contest, losses: 0, otherWriter: undefined } : contest;
  if (present.ours === undefined || present.ours === stateOf(service)) return present;
  // The first loss may be an accident, or the API server reacting to a change of type. It is restored at once.
  const pause = present.losses === 0 ? 0 : backoff(present.losses - 1, PAUSE);
  const named = service.metadata.managedFields.find((manager) => manager !== MANAGER) ?? present.otherWriter;
  return {
    ours: undefined,
    losses: present.losses + 1,
    notBefore: now + pause,
    lostAt: now,
    // A controller that removes something leaves no name in managedFields.
    otherWriter: named ?? (present.losses === 0 ? undefined : "Another controller"),
  };
}
