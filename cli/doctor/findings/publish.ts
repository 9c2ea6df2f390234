// Whether what the cluster says reaches the edge. Pure.
import type { Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";

export function publishFindings({ edge, only }: Facts): Finding[] {
  const probe = edge?.probe;
  if (edge === undefined || probe === undefined) return [];
  const { lastAccepted, lastRefused, snapshot } = probe.cluster;
  const found: Finding[] = [];
  const object = `Cluster ${edge.cluster}`;
  const logs = "kubectl -n postern-system logs daemonset/postern-agent --tail 50";
  if (snapshot === null) found.push(finding("publish-stale", "error", object, "it has never published anything", logs));
  if (lastRefused !== null && (lastAccepted === null || lastRefused.at > lastAccepted.at)) {
    const seen = `at ${new Date(lastRefused.at).toISOString()}: ${lastRefused.reason}: ${lastRefused.message}`;
    found.push(finding("publish-refused", "error", object, seen, logs));
  }
  for (const { node, probe: outcome } of probe.connections) {
    if (!outcome.ok) continue;
    const { source, service, uptimeMs } = outcome.report;
    const pod = `kubectl -n postern-system logs -l app.kubernetes.io/name=postern-agent --tail 50   # the pod of node ${node}`;
    if (source.state !== "in-step" && uptimeMs > STALE_MS) {
      const why = source.problems[0];
      const seen = `it is ${source.state}${why === undefined ? "" : `: ${why.where}: ${why.message}`}`;
      found.push(finding("agent-cannot-read", "warning", `Node ${node}`, seen, pod));
    } else if (only !== undefined && service?.state === "unknown" && probe.services.length > 0)
      found.push(
        finding(
          "agent-cannot-read",
          "warning",
          `Node ${node}`,
          `its agent knows no Service ${only}, and the edge does`,
          pod,
        ),
      );
  }
  return found;
}

/** An agent that has just started is still reading. */
const STALE_MS = 15_000;
