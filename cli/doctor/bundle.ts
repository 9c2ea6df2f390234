// Everything that was asked, as one file for whoever helps. What is in it was chosen field by field: facts are what kube-objects.ts takes
// over, and of the agents' logs those fields are kept that are listed here. Free text (messages of kubelets, servers and agents) may
// quote a secret all the same, so what looks like one is taken out of every string. Pure but for the compression.
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Facts } from "./facts.ts";
import type { Report } from "./examine.ts";
import { reportText } from "./print.ts";
import { tarOf } from "./tar.ts";

const compress = promisify(gzip);

/** `logs`: of `kubectl logs --prefix`. */
export async function bundleOf(facts: Facts, report: Report, logs: string): Promise<Uint8Array> {
  const json = (value: unknown): string => `${JSON.stringify(value, (_, field: unknown) => redactedValue(field), 2)}\n`;
  const files = {
    "report.txt": redacted(reportText(report, false)),
    "report.json": json(report),
    "facts.json": json(facts),
    "agents.jsonl": logLines(logs),
    "README.txt":
      "What `postern doctor --bundle` asked and found. facts.json: Kubernetes' objects (reduced), the edge's answers, every node's report.\n" +
      "No Secret, environment, argument or annotation of others was taken over. Look through it before you hand it on.\n",
  };
  return new Uint8Array(await compress(tarOf(files, facts.now)));
}

/** Of a log line of the agent. */
const LOGGED = ["level", "time", "msg", "node", "service", "reason", "shard", "why", "generation"] as const;

/** "[pod/postern-agent-x/agent] {json}": lines that are no JSON, as traces of a crash, lose all but the beginning of their message. */
function logLines(logs: string): string {
  return logs
    .split("\n")
    .flatMap((line) => {
      const [, prefix = "", rest = ""] = /^(\[[^\]]*\]) (.*)$/.exec(line) ?? [];
      const parsed = parsedObject(rest);
      if (parsed === undefined) return [];
      const kept = Object.fromEntries(
        LOGGED.flatMap((name) => (name in parsed ? [[name, redactedValue(parsed[name])]] : [])),
      );
      return [JSON.stringify({ pod: prefix, ...kept })];
    })
    .map((line) => `${line}\n`)
    .join("");
}

function parsedObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const redactedValue = (value: unknown): unknown => (typeof value === "string" ? redacted(value) : value);

const SECRETS: readonly RegExp[] = [
  // Postern's own tokens and codes: pst_…, psi_….
  /\bps[a-z]_[\w-]+/g,
  /\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+/g,
  /\b(?:bearer|basic)\s+[\w.~+/=-]{6,}/gi,
  /\b(?:pass(?:word|wd)?|secret|token|api[-_]?key|credential|authorization)["']?\s*[:=]\s*["']?[^\s"',;&]+/gi,
  /\/\/[^/\s:@]+:[^/\s@]+@/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
];

export const redacted = (text: string): string =>
  SECRETS.reduce((left, pattern) => left.replaceAll(pattern, "<redacted>"), text);
