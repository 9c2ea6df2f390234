// A snapshot → the RoutingTable that answers requests, and what to tell the Services' owners. Pure and deterministic: the same
// snapshot in any order gives the same table, so that an unchanged cluster never reloads one. What is wrong with a Service is a
// condition on it, never a throw, and never another Service's problem.
// This file puts together; the rules are in names.ts, ports.ts, nodes.ts and transport.ts.
import { type Condition, condition } from "../../shared/model/conditions.ts";
import type { Snapshot, SnapshotNode, SnapshotService } from "../../shared/model/snapshot.ts";
import { compareText } from "../../shared/sorted.ts";
import { Conditions } from "./conditions.ts";
import type { DialRules } from "./dial.ts";
import { defaultLabels, type NamesContext, serviceHostnames } from "./names.ts";
import { routeNodes } from "./nodes.ts";
import { ListenerPorts, type ListenerSettings, type ServicePort } from "./ports.ts";
import type { Listener, Route, RoutingTable, TableNode } from "./table.ts";
import { transportOf } from "./transport.ts";

/**
 * Raise it with each change after which the same snapshot and the same settings give another table or other conditions: then
 * an edge that is updated compiles the snapshots that it has again, and does not wait for the next one.
 */
export const COMPILE_VERSION = 1;

export interface CompileContext extends NamesContext, ListenerSettings {
  /** What transport direct may dial. */
  readonly dial: DialRules;
}

export interface Compiled {
  readonly table: Omit<RoutingTable, "generation">;
  /** "namespace/name" → all of the Service's conditions, the agent's included. */
  readonly conditions: Record<string, Condition[]>;
  /** "namespace/name" → hostnames that have a listener, the default one first. */
  readonly hostnames: Record<string, string[]>;
  /** What the cluster asks the directory for, refused names of Services' own included: they may become free. */
  readonly claims: string[];
  /** Service UID → default label, to be passed in next time. */
  readonly assigned: Record<string, string>;
}

export function compile(snapshot: Snapshot, context: CompileContext): Compiled {
  const nodes = [...snapshot.nodes].sort((a, b) => compareText(a.name, b.name));
  // Read once each: the comparisons of 10,000 Services would parse a quarter of a million dates.
  const oldestFirst = snapshot.services
    .map((service) => ({ service, createdAt: Date.parse(service.createdAt), key: keyOf(service) }))
    .sort((a, b) => a.createdAt - b.createdAt || compareText(a.key, b.key))
    .map(({ service }) => service);
  const labels = defaultLabels(oldestFirst, context);
  const owners = new Map([...labels].map(([uid, label]) => [`${label}.${context.edgeDomain}`, uid]));
  /** "hostname:port" → "namespace/name". */
  const owned = new Map<string, string>();
  const offered = new ListenerPorts(context);
  const services = oldestFirst.map((service) =>
    compileService(service, labels.get(service.uid), owners, owned, offered, nodes, context),
  );
  services.sort((a, b) => compareText(a.key, b.key));

  const routes: Route[] = [];
  const listeners: Listener[] = [];
  for (const service of services) {
    const before = routes.length;
    routes.push(...service.routes);
    for (const listener of service.listeners) listeners.push({ ...listener, route: before + listener.route });
  }
  listeners.sort((a, b) => compareText(a.hostname, b.hostname) || a.port - b.port);
  const byKey = <T>(value: (service: CompiledService) => T): Record<string, T> =>
    Object.fromEntries(services.map((service) => [service.key, value(service)]));
  return {
    table: { version: 1, cluster: context.cluster, nodes: nodes.map(tableNode), routes, listeners },
    conditions: byKey(({ conditions }) => conditions),
    hostnames: byKey(({ hostnames }) => hostnames),
    claims: [...new Set([...owners.keys(), ...oldestFirst.flatMap((service) => service.hostnames)])].sort(),
    assigned: Object.fromEntries([...labels].sort(([a], [b]) => compareText(a, b))),
  };
}

interface CompiledService {
  readonly key: string;
  readonly routes: readonly Route[];
  /** `route` counts from the Service's own first one. */
  readonly listeners: readonly Listener[];
  readonly hostnames: string[];
  readonly conditions: Condition[];
}

/** Adds the listeners that this Service gets to `owned` and `offered`. */
function compileService(
  service: SnapshotService,
  label: string | undefined,
  owners: ReadonlyMap<string, string>,
  owned: Map<string, string>,
  offered: ListenerPorts,
  nodes: readonly SnapshotNode[],
  context: CompileContext,
): CompiledService {
  const key = keyOf(service);
  const conditions = new Conditions(service.conditions);
  const names = serviceHostnames(service, label, owners, context, conditions);
  const ports = offered.of(service, conditions);
  const routes: Route[] = [];
  const routeOf = new Map<number, number>();
  const listeners: Listener[] = [];
  for (const { port, tls, to } of ports) {
    for (const hostname of names) {
      const owner = owned.get(`${hostname}:${port}`);
      if (owner !== undefined) {
        const message = `${hostname} port ${port} belongs to the older Service ${owner}: choose another name or port.`;
        conditions.add("HostnameConflict", message);
        continue;
      }
      owned.set(`${hostname}:${port}`, key);
      let route = routeOf.get(to.port);
      if (route === undefined) {
        route = routes.push(compileRoute(service, to, nodes, context.dial, conditions)) - 1;
        routeOf.set(to.port, route);
      }
      listeners.push({ hostname, port, tls, route });
    }
  }
  const served = names.filter((name) => listeners.some(({ hostname }) => hostname === name));
  conditions.set(programmed(served, ports, listeners, conditions));
  return { key, routes, listeners, hostnames: served, conditions: conditions.list() };
}

function compileRoute(
  service: SnapshotService,
  to: ServicePort,
  nodes: readonly SnapshotNode[],
  dial: DialRules,
  conditions: Conditions,
): Route {
  const found = routeNodes(service, to.port, nodes);
  if (found.unavailable?.reason === "no-eligible-nodes")
    conditions.add("NoEligibleNodes", `${found.unavailable.message} ${whyExcluded(nodes)}`);
  return {
    service: keyOf(service),
    port: to.port,
    ...transportOf(service, to, found.nodes, nodes, dial, conditions),
    algorithm: service.algorithm,
    affinity: service.affinitySeconds !== undefined,
    sourceRanges: [...service.sourceRanges],
    ...(found.unavailable === undefined ? {} : { unavailable: found.unavailable }),
  };
}

/** Nodes named in one message. */
const NAMED_MAX = 10;

function whyExcluded(nodes: readonly SnapshotNode[]): string {
  if (nodes.length === 0) return "The cluster has told of no node.";
  const excluded = nodes.filter((node) => node.excluded !== undefined);
  if (excluded.length === 0) return "No node is excluded: see where the pods run (kubectl get pods -o wide).";
  const named = excluded.slice(0, NAMED_MAX).map((node) => `node ${node.name}: ${node.excluded}`);
  const more = excluded.length > NAMED_MAX ? `; and ${excluded.length - NAMED_MAX} more` : "";
  return `Excluded: ${named.join("; ")}${more}. In a cluster of one node the agent's --ignore-exclude-label does it, too.`;
}

function programmed(
  served: readonly string[],
  ports: readonly { readonly port: number }[],
  listeners: readonly Listener[],
  conditions: Conditions,
): Condition {
  if (listeners.length > 0) {
    const open = [...new Set(listeners.map(({ port }) => port))].join(", ");
    return condition("Programmed", "Programmed", `Served at ${served.join(", ")} on ports ${open}.`);
  }
  const not = { status: "False" } as const;
  if (ports.length > 0)
    return condition("Programmed", "NoHostname", "No hostname and port is left for it: see HostnameConflict.", not);
  if (conditions.has("PortNotOffered"))
    return condition("Programmed", "PortNotOffered", "The edge opens none of its ports: see PortNotOffered.", not);
  const reason = conditions.has("UDPNotSupported") || conditions.has("SCTPNotSupported") ? "NoTCPPort" : "NoPort";
  return condition("Programmed", reason, "It has no TCP port: the edge carries HTTP over TCP only.", not);
}

const keyOf = ({ namespace, name }: SnapshotService): string => `${namespace}/${name}`;
const tableNode = ({ name, directAddress }: SnapshotNode): TableNode =>
  directAddress === undefined ? { name } : { name, address: directAddress };
