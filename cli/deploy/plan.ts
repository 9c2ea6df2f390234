// What a deployment changes: the difference between what is wanted and what was deployed from here. Pure.
import { z } from "zod";

/** What there is to tell apart: name → a short text, for people to compare. */
export type Facts = Readonly<Record<string, string>>;

/** Kept when a deployment has succeeded as a whole, and not before. */
export const deployedSchema = z.strictObject({
  facts: z.record(z.string(), z.string()),
  /** The one that Cloudflare served then. */
  version: z.string(),
});
export type Deployed = z.infer<typeof deployedSchema>;

export interface Change {
  readonly what: string;
  /** Absent: not known, or nothing. */
  readonly from?: string;
  readonly to: string;
}

export interface Plan {
  readonly action: "create" | "update" | "none";
  readonly changes: readonly Change[];
  /** Why all of it is written where nothing differs. */
  readonly why?: string;
}

/** `live`: the version that Cloudflare serves; absent: there is no such Worker. `last`: what was deployed from here, if that is known. */
export function planOf(wanted: Facts, last: Deployed | undefined, live: string | undefined): Plan {
  const all = Object.entries(wanted).map(([what, to]) => ({ what, to }));
  if (live === undefined) return { action: "create", changes: all };
  // Interrupted, or somebody else's work: what is there is not known, so all of it is written.
  if (last === undefined) return { action: "update", changes: all, why: "no finished deployment from here is known" };
  if (last.version !== live)
    return { action: "update", changes: all, why: "it was deployed by somebody else since, or a deployment broke off" };
  const changes = all.flatMap(({ what, to }) => {
    const from = last.facts[what];
    return from === to ? [] : [{ what, to, ...(from === undefined ? {} : { from }) }];
  });
  return { action: changes.length === 0 ? "none" : "update", changes };
}
