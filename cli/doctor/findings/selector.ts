// A selector that matches no pod: is that meant, is it a slip, and which labels come nearest? Pure.
import type { Facts, Pod, Workload } from "../facts.ts";
import { type Finding, finding, several } from "../finding.ts";
import { nearestLabels, type NearestLabels, selects } from "../nearest.ts";
import { patch, type Subject } from "../subject.ts";

export function selectorFindings(subject: Subject, facts: Facts): Finding[] {
  const { kube } = facts;
  const { selector, pods, workloads, object, key } = subject;
  const isUnread = kube.unread.some(({ what }) => what === "pods" || what === "everything");
  if (subject.stance !== "ours" || Object.keys(selector).length === 0 || isUnread) return [];
  const { namespace } = subject.service.metadata;
  // Also beside pods of other workloads: a part of them is missing.
  const found = workloads.flatMap((each) => unmade(subject, each, facts));
  if (pods.length > 0 || workloads.length > 0) return found;

  const wanted = `selector ${pairs(selector)}`;
  const inNamespace = <T extends { readonly namespace: string }>(all: readonly T[]) =>
    all.filter((each) => each.namespace === namespace);
  const candidates: readonly (Pod | Workload)[] = [
    ...inNamespace(kube.workloads),
    ...inNamespace(kube.pods).filter(({ deleting, phase }) => !deleting && phase !== "Succeeded"),
  ];
  // A file of Services alone says nothing of pods.
  if (kube.isPartial === true && candidates.length === 0) return [];
  const near = nearestLabels(selector, candidates);
  if (near === undefined) {
    const elsewhere = kube.elsewhere[key] ?? namespacesWith(selector, kube.pods);
    if (elsewhere.length > 0) {
      const seen = `${wanted}: no pod in namespace ${namespace}, but in ${several(elsewhere)}`;
      const mend = `kubectl get pods -A -l ${list(selector)}   # create the Service in the namespace of its pods`;
      return [finding("selector-elsewhere", "error", object, seen, mend)];
    }
    const there = candidates.length === 0 ? `namespace ${namespace} has no pods` : "no pod has any of these labels";
    return [
      finding(
        "selector-matches-nothing",
        "error",
        object,
        `${wanted}: ${there}`,
        `kubectl -n ${namespace} get pods --show-labels`,
      ),
    ];
  }
  return [
    finding("selector-matches-nothing", "error", object, `${wanted}: ${nearWords(near)}`, nearMend(subject, near)),
  ];
}

/** What the scheduler and kubelet never saw. */
function unmade(subject: Subject, { kind, name, wanted, made, namespace }: Workload, { kube }: Facts): Finding[] {
  const { object } = subject;
  const path = `${kind.toLowerCase()} ${name}`;
  if (wanted === 0 && made === 0 && kind !== "DaemonSet") {
    const seen = `${kind} ${name} has spec.replicas: 0`;
    return [finding("scaled-to-zero", "info", object, seen, `kubectl -n ${namespace} scale ${path} --replicas 1`)];
  }
  if (kind === "DaemonSet" && wanted === 0) {
    const mend = `kubectl -n ${namespace} get ${path} -o yaml   # spec.template.spec.nodeSelector, and the nodes' labels`;
    return [finding("pods-not-made", "error", object, `DaemonSet ${name} matches no node`, mend)];
  }
  if (made >= wanted) return [];
  const failed = kube.events
    .filter((event) => event.namespace === namespace && event.reason === "FailedCreate" && event.name.startsWith(name))
    .sort((a, b) => b.at - a.at)[0];
  // While it is scaled up there is a moment in which pods are missing and nothing refuses them.
  if (failed === undefined && made > 0) return [];
  const seen = `${kind} ${name} wants ${wanted} pods and has ${made}${failed === undefined ? "" : `: ${failed.message}`}`;
  return [
    finding(
      "pods-not-made",
      made === 0 ? "error" : "warning",
      object,
      seen,
      `kubectl -n ${namespace} describe ${path}`,
    ),
  ];
}

const namespacesWith = (selector: Subject["selector"], pods: readonly Pod[]): readonly string[] =>
  [...new Set(pods.filter(({ labels }) => selects(selector, labels)).map(({ namespace }) => namespace))].sort();

const list = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
const pairs = (labels: Readonly<Record<string, string>>): string => list(labels).replaceAll(",", ", ");

/** "nearest is Deployment web, which has app=web instead of app=wbe" */
export function nearWords({ candidate, instead }: NearestLabels<Pod | Workload>): string {
  const what = "kind" in candidate ? `${candidate.kind} ${candidate.name}` : `pod ${candidate.name}`;
  const words = instead.map(({ key, value, has }) =>
    has === undefined ? `lacks ${key}=${value}` : `has ${has[0]}=${has[1]} instead of ${key}=${value}`,
  );
  return `the nearest is ${what}, which ${words.join(" and ")}`;
}

function nearMend(subject: Subject, { instead }: NearestLabels<Pod | Workload>): string {
  const selector: Record<string, string | null> = {};
  for (const { key, has } of instead) {
    if (has === undefined || has[0] !== key) selector[key] = null;
    if (has !== undefined) selector[has[0]] = has[1];
  }
  return patch(subject, { spec: { selector } });
}
