// From the text that a leader published to a trusted Snapshot, or a refusal that names Service, field and remedy. Pure.
// Unknown fields are dropped, not refused: a newer agent may talk to an older edge.
import { type Snapshot, type SnapshotGeneration, snapshotSchema } from "../wire/snapshot.ts";
import type { Outcome, Refusal } from "./contract.ts";

/** Problems named in one refusal. */
const SHOWN = 5;

/** `text` is canonical: equal content gives equal text. */
export function readSnapshot(body: string): Outcome<{ snapshot: Snapshot; text: string }> {
  let raw: unknown;
  try {
    raw = JSON.parse(body);
  } catch (cause) {
    return invalid("invalid-json", `the body is not JSON: ${cause instanceof Error ? cause.message : "syntax error"}`);
  }
  const parsed = snapshotSchema.safeParse(raw);
  if (!parsed.success) {
    const { issues } = parsed.error;
    const lines = issues.slice(0, SHOWN).map((issue) => `${fieldPath(raw, issue.path)}: ${issue.message}`);
    if (issues.length > SHOWN) lines.push(`and ${issues.length - SHOWN} more`);
    return invalid("invalid-snapshot", lines.join("; "));
  }
  const snapshot = parsed.data;
  const twice =
    firstTwice(snapshot.nodes.map((node) => `node ${node.name}`)) ??
    firstTwice(snapshot.services.map((service) => `service ${service.namespace}/${service.name}`));
  if (twice !== undefined) return invalid("invalid-snapshot", `${twice} is listed twice: list each once`);
  return { ok: true, snapshot, text: JSON.stringify(snapshot) };
}

export function compareGenerations(a: SnapshotGeneration, b: SnapshotGeneration): number {
  return a.epoch - b.epoch || a.sequence - b.sequence;
}

/** ["services", 3, "ports", 0, "port"] reads services[3] (default/web).ports[0].port */
function fieldPath(raw: unknown, path: readonly PropertyKey[]): string {
  let text = "";
  let value = raw;
  for (const [depth, key] of path.entries()) {
    value = typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined;
    if (typeof key === "number") text += `[${key}]`;
    else text += `${text === "" ? "" : "."}${String(key)}`;
    if (depth === 1) text += itsName(value);
  }
  return text === "" ? "snapshot" : text;
}

/** " (default/web)" for a Service, " (node-a)" for a node, as far as they say. */
function itsName(value: unknown): string {
  if (typeof value !== "object" || value === null) return "";
  const { namespace, name } = value as Record<string, unknown>;
  const parts = [namespace, name].filter((part) => typeof part === "string" && /^[\w.-]{1,253}$/.test(part));
  return parts.length === 0 ? "" : ` (${parts.join("/")})`;
}

function firstTwice(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return names.find((name) => seen.size === seen.add(name).size);
}

function invalid(reason: string, message: string): Refusal {
  return { ok: false, status: 400, reason, message };
}
