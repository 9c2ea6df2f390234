// What one traced request shows: the first hop that did not hand on what it was given. Pure.
import type { Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { traceReport } from "../trace.ts";

export function traceFindings({ trace }: Facts): Finding[] {
  if (trace === undefined) return [];
  const { differs, service } = traceReport(trace);
  if (differs === undefined) return [];
  return [
    finding("request-differs", "error", `Service ${service}`, differs, `postern logs --service ${service} -o wide`),
  ];
}
