// What agents and edge say of a Service by themselves. It is repeated under a check's id, unless the doctor has looked closer and found
// the cause. Pure.
import { conditionType, type ConditionName, isTrouble, PROGRAMMED } from "../../../src/shared/model/conditions.ts";
import type { CheckId } from "../checks.ts";
import { type Finding, finding, type Severity } from "../finding.ts";
import { named, type Subject } from "../subject.ts";

interface Known {
  readonly id: CheckId;
  readonly severity: Severity;
  /** Not repeated where one of these was found. */
  readonly unless?: readonly CheckId[];
}

const podChecks = [
  "selector-matches-nothing",
  "selector-elsewhere",
  "selector-missing",
  "scaled-to-zero",
  "pods-not-made",
  "readiness-failing",
  "crash-looping",
  "image-not-pulled",
  "container-not-started",
  "not-scheduled",
  "no-ready-pods",
  "target-port-name-missing",
] as const satisfies readonly CheckId[];

const known: Partial<Record<ConditionName, Known>> = {
  AnnotationIgnored: { id: "annotation-ignored", severity: "warning", unless: ["annotation-ignored"] },
  NoMatchingPods: { id: "selector-matches-nothing", severity: "error", unless: podChecks },
  NoReadyPods: { id: "no-ready-pods", severity: "error", unless: podChecks },
  ProtocolNotSupported: { id: "protocol-declared", severity: "warning", unless: ["protocol-declared"] },
  ExternalNameNotAllowed: { id: "external-name-refused", severity: "error" },
  HostnameConflict: { id: "hostname-conflict", severity: "error" },
  HostnameNotAllowed: { id: "hostname-not-allowed", severity: "error" },
  PortNotOffered: { id: "port-not-offered", severity: "error" },
  UDPNotSupported: { id: "protocol-not-carried", severity: "warning", unless: ["protocol-not-carried"] },
  SCTPNotSupported: { id: "protocol-not-carried", severity: "warning", unless: ["protocol-not-carried"] },
  NoEligibleNodes: { id: "no-eligible-node", severity: "error", unless: ["local-policy-no-pods", "no-eligible-node"] },
  AnotherStatusWriter: { id: "status-overwritten", severity: "warning" },
};
const targetPort: Readonly<Record<string, Known>> = {
  NoEndpointHasPort: { id: "target-port-name-missing", severity: "error", unless: ["target-port-name-missing"] },
  ConnectionRefused: { id: "target-port-refused", severity: "error", unless: ["target-port-refused"] },
};
const other: Known = { id: "condition-reported", severity: "warning" };
const ownWord: Readonly<Record<string, Known>> = Object.fromEntries(
  Object.entries(known).map(([name, of]) => [conditionType(name as ConditionName), of]),
);

/** `found`: of this Service, by closer looks. */
export function conditionFindings(subject: Subject, found: readonly Finding[]): Finding[] {
  if (subject.stance !== "ours") return [];
  return subject.conditions.filter(isTrouble).flatMap((condition) => {
    const { type, reason, message } = condition;
    // Why nothing is served is said by another condition, or by table.ts.
    if (type === PROGRAMMED) return [];
    const {
      id,
      severity,
      unless = [],
    } = type === conditionType("TargetPortNotFound") ? (targetPort[reason] ?? other) : (ownWord[type] ?? other);
    if (found.some((each) => unless.includes(each.id))) return [];
    const seen = `${type} ${reason}: ${message}`;
    return [finding(id, severity, subject.object, seen, `kubectl describe ${named(subject)}`)];
  });
}
