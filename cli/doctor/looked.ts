// What was looked at for a hop at which nothing is wrong, in a few words: "well" is claimed only of what was seen. Pure.
import type { Hop } from "./checks.ts";
import type { Facts } from "./facts.ts";
import { reports } from "./findings/nodes.ts";
import { nearestLimit } from "./findings/quota.ts";
import { connectedNodes } from "./findings/tunnel.ts";
import { readyEndpoints, type Subject } from "./subject.ts";

interface Looked {
  readonly state: "well" | "unknown";
  readonly said: string;
}

const well = (said: string): Looked => ({ state: "well", said });
const unknown = (said: string): Looked => ({ state: "unknown", said });
const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;
const NO_EDGE = unknown("no edge was asked");
const NO_PROBE = unknown("the edge made no probe");
const OUTSIDE = unknown("Kubernetes was not asked: --from outside");
const NO_SERVICE = unknown("for this, name a Service: postern doctor NAMESPACE/NAME");

/** Undefined for what has no line of its own. */
export function lookedAt(hop: Hop, facts: Facts, subjects: readonly Subject[]): Looked | undefined {
  const { edge, kube, asks, only, isOutside = false } = facts;
  const answered = reports(edge);
  const probe = edge?.probe;
  if (isOutside && (hop === "service" || hop === "node" || hop === "pod")) return OUTSIDE;
  switch (hop) {
    case "edge":
      return edge?.software === undefined
        ? NO_EDGE
        : well(
            `${edge.url} answers, ${edge.software}${edge.quota?.used === undefined ? "" : `; today ${nearestLimit(edge.quota.used)}`}`,
          );
    case "names": {
      const good = asks.filter(({ answer }) => answer !== undefined);
      const [first] = good;
      if (first === undefined) return unknown("no address was asked");
      return well(
        `${first.hostname}:${first.port} answers ${first.answer?.status} in ${Math.round(first.answer?.ms ?? 0)} ms${good.length > 1 ? `, and ${good.length - 1} more` : ""}`,
      );
    }
    case "service":
      return subjects.length === 0
        ? unknown("there is no Service of Postern's")
        : well(count(subjects.length, "Service"));
    case "table":
      return edge?.table === undefined
        ? NO_EDGE
        : well(`table ${edge.table.generation} with ${count(edge.table.listeners.length, "listener")}`);
    case "publish": {
      if (probe === undefined) return edge === undefined ? NO_EDGE : NO_PROBE;
      const { lastAccepted, snapshot } = probe.cluster;
      const from = lastAccepted?.node === null || lastAccepted === null ? "" : ` by ${lastAccepted.node}`;
      return snapshot === null
        ? NO_PROBE
        : well(
            `snapshot ${snapshot.epoch ?? "?"}.${snapshot.sequence ?? "?"}${from} with ${count(snapshot.services, "Service")}`,
          );
    }
    case "tunnel": {
      if (edge === undefined) return NO_EDGE;
      const names = [...connectedNodes(edge)];
      if (probe === undefined)
        return names.length === 0 ? NO_PROBE : unknown(`${count(names.length, "node")} connected; ${NO_PROBE.said}`);
      const good = probe.connections.filter(({ probe: { ok } }) => ok).length;
      return well(`${good} of ${count(probe.connections.length, "connection")} answered a probe`);
    }
    case "node":
      return kube.nodes.length === 0 ? unknown("no node could be read") : well(count(kube.nodes.length, "node"));
    case "nodeport": {
      if (only === undefined) return NO_SERVICE;
      const dials = answered.flatMap(({ report }) =>
        (report.service?.ports ?? []).flatMap(({ nodePorts }) => nodePorts),
      );
      return dials.length === 0
        ? unknown("no node dialled one")
        : well(`${count(dials.length, "dial")} of nodes to their own`);
    }
    case "rules": {
      if (probe === undefined) return NO_PROBE;
      const own = answered.filter(({ report }) => report.kernel.state === "in-step").length;
      if (answered.length === 0) return NO_PROBE;
      return own === 0 ? unknown("they are kube-proxy's, or another's") : well(`in step on ${count(own, "node")}`);
    }
    case "dial": {
      if (only === undefined) return NO_SERVICE;
      const dials = answered.flatMap(({ report }) =>
        (report.service?.ports ?? []).flatMap(({ endpoints }) => endpoints),
      );
      if (dials.length === 0) return unknown("no node dialled an endpoint");
      return well(
        `${dials.filter(({ dial }) => dial.result === "connected").length} of ${count(dials.length, "dial")} connected`,
      );
    }
    case "pod": {
      if (subjects.length === 0) return unknown("there is no Service whose pods to examine");
      const ready = subjects.reduce((sum, subject) => sum + readyEndpoints(subject).length, 0);
      return well(count(ready, "ready endpoint"));
    }
    default:
      return undefined;
  }
}
