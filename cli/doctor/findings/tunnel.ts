// Agents and their tunnels: installed, running on every node, connected, and answering through each connection. Pure.
import type { EdgeFacts, Facts } from "../facts.ts";
import { type Finding, finding, several, softened } from "../finding.ts";
import { GRACE_MS } from "../subject.ts";

export function tunnelFindings(facts: Facts): Finding[] {
  const missing = notInstalled(facts);
  if (missing.length > 0) return missing;
  const down = agentsDown(facts);
  const named = new Set(down.map(({ object }) => object));
  const apart = unconnected(facts).filter(({ object }) => !named.has(object));
  return [...down, ...apart, ...silent(facts.edge)];
}

const AGENTS = "kubectl -n postern-system get pods -o wide";

function notInstalled({ kube, edge }: Facts): Finding[] {
  if (kube.agent.installed || kube.agent.pods.length > 0) return [];
  // Agents may run elsewhere, or under another name: what is connected is there.
  if ((edge?.nodes ?? []).some(({ tunnel }) => tunnel.length > 0)) return [];
  const seen = "no DaemonSet postern-agent in namespace postern-system";
  return [
    finding(
      "agent-missing",
      "error",
      "DaemonSet postern-system/postern-agent",
      seen,
      `postern join ${edge?.cluster ?? "NAME"} --apply`,
    ),
  ];
}

function agentsDown({ kube, now }: Facts): Finding[] {
  const { pods } = kube.agent;
  if (pods.length === 0) return [];
  const running = new Set(pods.filter(({ ready }) => ready).map(({ node }) => node));
  const nodes = kube.nodes
    .map(({ metadata }) => metadata)
    .filter(({ labels }) => (labels["kubernetes.io/os"] ?? "linux") === "linux");
  const severity = running.size === 0 ? "error" : "warning";
  return nodes.flatMap(({ name, creationTimestamp }) => {
    if (running.has(name)) return [];
    const own = pods.filter(({ node }) => node === name);
    const [pod] = own;
    const held = pod?.containers.find(({ ready }) => !ready);
    const why =
      pod === undefined
        ? "there is no pod of the agent on it"
        : `${pod.name} is ${pod.phase} and not Ready${held?.waiting === undefined ? "" : `: ${held.waiting.reason} ${held.waiting.message}`}`;
    const mend =
      pod === undefined
        ? AGENTS
        : `kubectl -n postern-system describe pod ${pod.name}; kubectl -n postern-system logs ${pod.name}`;
    const found = finding("agent-down", severity, `Node ${name}`, why.trimEnd(), mend);
    const isNew = now - (pod?.createdAt ?? Date.parse(creationTimestamp)) < GRACE_MS;
    return [isNew ? softened(found) : found];
  });
}

/** Names of nodes that have a connection by which new streams may go. */
export function connectedNodes({ nodes, probe }: EdgeFacts): ReadonlySet<string> {
  const seen = probe?.connections.filter(({ draining }) => !draining).map(({ node }) => node);
  return new Set(
    seen ??
      nodes?.filter(({ tunnel }) => tunnel.some(({ connections }) => connections.length > 0)).map(({ node }) => node),
  );
}

function unconnected({ edge, kube }: Facts): Finding[] {
  if (edge === undefined || (edge.nodes === undefined && edge.probe === undefined)) return [];
  const connected = connectedNodes(edge);
  const known = new Set([
    ...(edge.nodes ?? []).filter((node) => node.known).map(({ node }) => node),
    ...(edge.probe?.unconnectedNodes ?? []),
    ...kube.nodes.map(({ metadata }) => metadata.name),
  ]);
  const lost = [...known].filter((name) => !connected.has(name)).sort();
  if (known.size === 0)
    return [finding("node-not-connected", "error", `Cluster ${edge.cluster}`, "no node is connected", AGENTS)];
  const severity = connected.size === 0 ? "error" : "warning";
  const rest = connected.size === 0 ? "no other is either" : `connected are ${several([...connected].sort())}`;
  return lost.map((name) =>
    finding(
      "node-not-connected",
      severity,
      `Node ${name}`,
      `no tunnel; ${rest}`,
      `${AGENTS}; kubectl -n postern-system logs -l app.kubernetes.io/name=postern-agent --tail 50   # the pod of node ${name}`,
    ),
  );
}

function silent(edge: EdgeFacts | undefined): Finding[] {
  const probe = edge?.probe;
  if (edge === undefined || probe === undefined) return [];
  const found = probe.connections.flatMap(({ node, shard, instance, probe: outcome }) => {
    if (outcome.ok || outcome.stage === "busy" || outcome.stage === "draining" || outcome.stage === "unsupported")
      return [];
    const heard = outcome.heard ? "other frames came" : "nothing else came either";
    const seen = `connection of ${instance} to shard ${shard}: ${outcome.why}; ${heard}`;
    return [
      finding(
        "tunnel-silent",
        "error",
        `Node ${node}`,
        seen,
        `kubectl -n postern-system delete pod --field-selector spec.nodeName=${node}`,
      ),
    ];
  });
  if (probe.silentShards.length > 0)
    found.push(
      finding(
        "tunnel-silent",
        "error",
        `Edge ${edge.url}`,
        `shards ${probe.silentShards.join(", ")} did not answer in time`,
        "postern status",
      ),
    );
  return found;
}
