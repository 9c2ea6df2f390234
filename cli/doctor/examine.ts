// Facts → all findings, and a line for every hop. Pure: the same facts give the same report.
import { type Hop, hops } from "./checks.ts";
import type { Facts } from "./facts.ts";
import { type Finding, type Severity, severities, softened } from "./finding.ts";
import { askingFindings } from "./findings/asking.ts";
import { conditionFindings } from "./findings/conditions.ts";
import { dialFindings } from "./findings/dial.ts";
import { edgeFindings } from "./findings/edge.ts";
import { familyFindings } from "./findings/family.ts";
import { nameFindings } from "./findings/names.ts";
import { kubeProxyFindings } from "./findings/kube-proxy.ts";
import { localPolicyFindings, nodeFindings } from "./findings/nodes.ts";
import { podFindings } from "./findings/pods.ts";
import { portFindings } from "./findings/ports.ts";
import { publishFindings } from "./findings/publish.ts";
import { quotaFindings } from "./findings/quota.ts";
import { selectorFindings } from "./findings/selector.ts";
import { serviceFindings } from "./findings/service.ts";
import { tableFindings } from "./findings/table.ts";
import { tunnelFindings } from "./findings/tunnel.ts";
import { traceFindings } from "./findings/trace.ts";
import { lookedAt } from "./looked.ts";
import { type Subject, subjectsOf } from "./subject.ts";
import { type TraceReport, traceReport } from "./trace.ts";

export interface HopState {
  readonly hop: Hop;
  /** wrong: an error or a warning was found there. unknown: it was not looked at. */
  readonly state: "well" | "wrong" | "unknown";
  /** What was looked at, in words, or why nothing was. */
  readonly said: string;
}

export interface Report {
  /** The Services that were examined. */
  readonly services: readonly string[];
  readonly hops: readonly HopState[];
  /** By severity, then along a request's way. */
  readonly findings: readonly Finding[];
  readonly trace?: TraceReport;
}

/** By which findings are selected. */
export interface Selection {
  readonly only: readonly string[];
  readonly skip: readonly string[];
}

type Family = (subject: Subject, facts: Facts) => Finding[];

const families: readonly Family[] = [
  nameFindings,
  serviceFindings,
  tableFindings,
  localPolicyFindings,
  dialFindings,
  selectorFindings,
  portFindings,
  podFindings,
  familyFindings,
];

export function examine(facts: Facts, { only, skip }: Selection = { only: [], skip: [] }): Report {
  const subjects = subjectsOf(facts);
  const all = [
    ...askingFindings(facts),
    ...edgeFindings(facts),
    ...quotaFindings(facts),
    ...publishFindings(facts),
    ...tunnelFindings(facts),
    ...nodeFindings(facts),
    ...traceFindings(facts),
    ...kubeProxyFindings(facts),
    ...subjects.flatMap((subject) => serviceReport(subject, facts)),
  ];
  const findings = withoutSymptoms(all).filter(
    ({ id }) => (only.length === 0 || only.includes(id)) && !skip.includes(id),
  );
  const sorted = unique(findings).sort(
    (a, b) => rank(a.severity) - rank(b.severity) || hopNames.indexOf(a.hop) - hopNames.indexOf(b.hop),
  );
  return {
    services: subjects.map(({ key }) => key),
    hops: hopNames.flatMap((hop) => hopState(hop, facts, subjects, sorted)),
    findings: sorted,
    ...(facts.trace === undefined ? {} : { trace: traceReport(facts.trace) }),
  };
}

const hopNames = Object.keys(hops) as Hop[];
const rank = (severity: Severity): number => severities.indexOf(severity);

function serviceReport(subject: Subject, facts: Facts): Finding[] {
  const close = families.flatMap((family) => family(subject, facts));
  const found = [...close, ...conditionFindings(subject, close)];
  return subject.isNew ? found.map(softened) : found;
}

/** What the edge answers in a server's place, and what is guessed from that, is only told where something else says why. */
function withoutSymptoms(findings: readonly Finding[]): Finding[] {
  const isSymptom = ({ id, severity }: Finding): boolean =>
    id === "answer-failed" || id === "request-differs" || (id === "protocol-differs" && severity === "warning");
  const causes = findings.filter((each) => each.severity === "error" && !isSymptom(each));
  return findings.map((each) => {
    const isExplained = causes.some(({ object }) => object === each.object || object.startsWith("Node "));
    return isSymptom(each) && isExplained ? { ...each, severity: "info" } : each;
  });
}

/** A node's fault may be seen from several Services. */
function unique(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((each) => [`${each.id} ${each.object} ${each.seen}`, each])).values()];
}

function hopState(hop: Hop, facts: Facts, subjects: readonly Subject[], findings: readonly Finding[]): HopState[] {
  const own = findings.filter((each) => each.hop === hop && each.severity !== "info");
  const looked = lookedAt(hop, facts, subjects);
  if (own.length > 0) return [{ hop, state: "wrong", said: own.length === 1 ? "1 finding" : `${own.length} findings` }];
  if (hop === "asking") return [];
  return [looked === undefined ? { hop, state: "unknown", said: "not looked at" } : { hop, ...looked }];
}

export const isWrong = ({ findings }: Report): boolean => findings.some(({ severity }) => severity !== "info");
