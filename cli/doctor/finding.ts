// One thing that is wrong, or worth knowing, in the words of its check and of what was seen. Pure.
import { type Check, type CheckId, checks, type Hop, pageOf } from "./checks.ts";

export const severities = ["error", "warning", "info"] as const;
/** error: requests fail. warning: some may, or soon will. info: nothing is wrong, but somebody may ask. */
export type Severity = (typeof severities)[number];

export interface Finding {
  readonly id: CheckId;
  readonly severity: Severity;
  readonly hop: Hop;
  /** "Service default/web", "Node n1", "Edge https://…" */
  readonly object: string;
  readonly asked: string;
  readonly seen: string;
  readonly means: string;
  /** The command that mends it, or shows what to mend. */
  readonly mend: string;
  readonly page: string;
}

export function finding(id: CheckId, severity: Severity, object: string, seen: string, mend: string): Finding {
  const { hop, asked, means }: Check = checks[id];
  return { id, severity, hop, object, asked, seen, means, mend, page: pageOf(id) };
}

/** Of what has had no time yet to come by itself: it is mentioned, and counts for nothing. */
export function softened(found: Finding): Finding {
  const { settles }: Check = checks[found.id];
  if (settles !== true || found.severity === "info") return found;
  return { ...found, severity: "info", seen: `${found.seen} (it is new: it may come by itself)` };
}

const NAMED_MAX = 3;

/** "a, b and 4 more" */
export function several(names: readonly string[]): string {
  const more = names.length - NAMED_MAX;
  return more <= 0 ? names.join(", ") : `${names.slice(0, NAMED_MAX).join(", ")} and ${more} more`;
}
