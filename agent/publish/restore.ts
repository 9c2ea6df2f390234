// Whether somebody else writes the status that we write, and how soon to restore it. Pure.
// Two controllers that both insist would write without end: each time the pause doubles, and the other one is named.
import type { KubeService } from "../source/resources.ts";

/** The name under which our patches appear in managedFields. */
export const MANAGER = "postern";

export interface Contest {
  /** What we wrote last, as JSON. */
  readonly ingress: string;
  readonly losses: number;
  /** Nothing is written before; ms. */
  readonly notBefore: number;
  readonly rival: string | undefined;
  /** When it was lost last; ms. */
  readonly lostAt: number;
}

const FIRST_MS = 1_000;
const MAX_MS = 300_000;
/** Undisputed for so long: forgotten. */
const PEACE_MS = 600_000;

export const written = (before: Contest | undefined, ingress: unknown): Contest => ({
  losses: 0,
  notBefore: 0,
  rival: undefined,
  lostAt: 0,
  ...before,
  ingress: JSON.stringify(ingress),
});

/** For a Service that was observed in a version that we did not write. */
export function contested(contest: Contest, service: KubeService, now: number): Contest {
  const settled = contest.losses > 0 && now - contest.lostAt > PEACE_MS;
  const present: Contest = settled ? { ...contest, losses: 0, rival: undefined } : contest;
  const found = JSON.stringify(service.status.loadBalancer.ingress);
  if (found === present.ingress) return present;
  // The first time it may be an accident: restored at once.
  const pause = present.losses === 0 ? 0 : Math.min(FIRST_MS * 2 ** (present.losses - 1), MAX_MS);
  return {
    // Lost once; what is there now is what we know of.
    ingress: found,
    losses: present.losses + 1,
    notBefore: now + pause,
    lostAt: now,
    rival: service.metadata.managedFields.find((manager) => manager !== MANAGER) ?? present.rival,
  };
}
