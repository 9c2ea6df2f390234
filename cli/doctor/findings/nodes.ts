// Nodes: whether they may take requests, what Kubernetes says of them, their clocks, tables of connections. Pure.
import type { ProbedConnection } from "../../../src/shared/control/probe.ts";
import type { EdgeFacts, Facts } from "../facts.ts";
import { type Finding, finding, several } from "../finding.ts";
import { readyEndpoints, type Subject } from "../subject.ts";
import { excludedNodes } from "./service.ts";
import { connectedNodes } from "./tunnel.ts";

const SKEW_WARN_MS = 5_000;
const SKEW_ERROR_MS = 60_000;
const FULL_WARN = 0.8;
const FULL_ERROR = 0.95;

export const nodeFindings = (facts: Facts): Finding[] => [
  ...excluded(facts),
  ...notReady(facts),
  ...reports(facts.edge).flatMap(({ node, report, clockSkewMs, roundTripMs }) => [
    ...clock(node, clockSkewMs, roundTripMs),
    ...conntrack(node, report.conntrack),
    ...rules(node, report),
  ]),
];

type Answered = Extract<ProbedConnection["probe"], { ok: true }> & { readonly node: string };

/** One for each node: a node's connections tell the same of it. */
export function reports(edge: EdgeFacts | undefined): readonly Answered[] {
  const byNode = new Map<string, Answered>();
  for (const { node, probe } of edge?.probe?.connections ?? [])
    if (probe.ok && !byNode.has(node)) byNode.set(node, { ...probe, node });
  return [...byNode.values()];
}

function excluded(facts: Facts): Finding[] {
  const { edge, kube } = facts;
  const byEdge = edge?.probe?.excludedNodes.map(({ node, why }) => [node, why] as const);
  const known = edge?.nodes?.flatMap(({ node, excluded: why }) => (why === undefined ? [] : [[node, why] as const]));
  const all = byEdge ?? known ?? excludedNodes(facts);
  const total = edge?.probe?.cluster.snapshot?.nodes ?? kube.nodes.length;
  const isAll = all.length > 0 && all.length >= total;
  return all.map(([node, why]) =>
    finding(
      isAll ? "no-eligible-node" : "node-excluded",
      isAll ? "error" : "info",
      `Node ${node}`,
      why,
      `kubectl label node ${node} node.kubernetes.io/exclude-from-external-load-balancers-   # in a cluster of one node: the agent's --ignore-exclude-label`,
    ),
  );
}

const notReady = ({ kube }: Facts): Finding[] =>
  kube.nodeStates
    .filter(({ ready }) => ready !== true)
    .map(({ name, message }) =>
      finding(
        "node-not-ready",
        "warning",
        `Node ${name}`,
        message || "its kubelet never said that it is",
        `kubectl describe node ${name}`,
      ),
    );

function clock(node: string, skew: number, roundTrip: number): Finding[] {
  const least = Math.abs(skew) - roundTrip / 2;
  if (least < SKEW_WARN_MS) return [];
  const seen = `${(Math.abs(skew) / 1000).toFixed(1)} s ${skew > 0 ? "ahead of" : "behind"} the edge's clock`;
  return [
    finding(
      "clock-skew",
      least >= SKEW_ERROR_MS ? "error" : "warning",
      `Node ${node}`,
      seen,
      "timedatectl status   # on the node; let chrony or systemd-timesyncd run",
    ),
  ];
}

function conntrack(node: string, counts: Answered["report"]["conntrack"]): Finding[] {
  if (counts === null || counts.max === 0 || counts.count / counts.max < FULL_WARN) return [];
  const { count, max } = counts;
  const seen = `${count} of ${max} connections (${Math.floor((count / max) * 100)} %)`;
  const mend = `sysctl -w net.netfilter.nf_conntrack_max=${max * 2}   # on the node; see who holds them: conntrack -L`;
  return [finding("conntrack-full", count / max >= FULL_ERROR ? "error" : "warning", `Node ${node}`, seen, mend)];
}

function rules(node: string, { kernel, planApplied, uptimeMs }: Answered["report"]): Finding[] {
  const logs = `kubectl -n postern-system logs -l app.kubernetes.io/name=postern-agent --tail 50   # the pod of node ${node}`;
  const found = kernel.faults.map(({ service, reason, message }) =>
    finding("rules-differ", "warning", `Node ${node}`, `Service ${service}: ${reason}: ${message}`, logs),
  );
  if (kernel.state === "differs" && kernel.faults.length === 0)
    found.push(finding("rules-differ", "error", `Node ${node}`, kernel.why ?? "they differ", logs));
  if (!planApplied && uptimeMs > 30_000 && kernel.state === "off")
    found.push(finding("rules-differ", "warning", `Node ${node}`, "the agent has not applied its latest plan", logs));
  return found;
}

/** Of a Service with externalTrafficPolicy: Local. */
export function localPolicyFindings(subject: Subject, { edge }: Facts): Finding[] {
  const { service, object, stance } = subject;
  if (stance !== "ours" || service.spec.externalTrafficPolicy !== "Local" || edge === undefined) return [];
  if (edge.nodes === undefined && edge.probe === undefined) return [];
  const having = [...new Set(readyEndpoints(subject).flatMap(({ node }) => node ?? []))].sort();
  const out = new Set(edge.nodes?.filter(({ excluded: why }) => why !== undefined).map(({ node }) => node));
  const usable = [...connectedNodes(edge)].filter((node) => !out.has(node)).sort();
  if (having.length === 0 || having.some((node) => usable.includes(node))) return [];
  return [
    finding(
      "local-policy-no-pods",
      "error",
      object,
      `pods are on ${several(having)}; nodes that take requests: ${several(usable) || "none"}`,
      `kubectl patch -n ${service.metadata.namespace} service ${service.metadata.name} --type merge -p '{"spec":{"externalTrafficPolicy":"Cluster"}}'`,
    ),
  ];
}
