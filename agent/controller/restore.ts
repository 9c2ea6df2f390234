// Whether somebody else undoes what we write to a Service, and how soon to restore it. Pure.
// Two controllers that both insist would write without end: each time the pause doubles, and the other one is named. Only what
// we had written can be lost: however often the other one writes while we wait counts once.
import { backoff } from "../../src/shared/net/backoff.ts";
import type { KubeService } from "../source/resources.ts";
import { FINALIZER, isMarked, MANAGER } from "./status.ts";

export interface Contest {
  /** What we wrote last, as JSON; undefined from its loss until we have written again. */
  readonly ours: string | undefined;
  readonly losses: number;
  /** Nothing is written before; ms. */
  readonly notBefore: number;
  /** When it was lost last; ms. */
  readonly lostAt: number;
  readonly otherWriter: string | undefined;
}

const PAUSE = { firstMs: 1_000, maxMs: 300_000 };
/** Undisputed for so long: forgotten. */
export const PEACE_MS = 600_000;

const stateOf = (service: KubeService): string =>
  JSON.stringify([
    service.status.loadBalancer.ingress,
    service.metadata.finalizers.includes(FINALIZER),
    isMarked(service),
  ]);

/** `service`: as it is after our patch. */
export const written = (before: Contest | undefined, service: KubeService): Contest => ({
  ...(before ?? { losses: 0, notBefore: 0, lostAt: 0, otherWriter: undefined }),
  ours: stateOf(service),
});

export function contested(contest: Contest, service: KubeService, now: number): Contest {
  const settled = contest.losses > 0 && now - contest.lostAt > PEACE_MS;
  const present: Contest = settled ? { ...contest, losses: 0, otherWriter: undefined } : contest;
  if (present.ours === undefined || present.ours === stateOf(service)) return present;
  // The first time it may be an accident, or a change of type that the API server has answered: restored at once.
  const pause = present.losses === 0 ? 0 : backoff(present.losses - 1, PAUSE);
  const named = service.metadata.managedFields.find((manager) => manager !== MANAGER) ?? present.otherWriter;
  return {
    ours: undefined,
    losses: present.losses + 1,
    notBefore: now + pause,
    lostAt: now,
    // Who takes something away leaves no name.
    otherWriter: named ?? (present.losses === 0 ? undefined : "Another controller"),
  };
}
