// What a cluster's snapshot and table say of its Services, for whoever looks for what is wrong with one. Pure; it judges nothing.
import type { ProbedService } from "../../shared/control/probe.ts";
import type { SnapshotEndpoint, SnapshotService } from "../../shared/model/snapshot.ts";
import { compileRanges } from "../../shared/net/ranges.ts";
import { compareText } from "../../shared/sorted.ts";
import type { Listener, Route, RoutingTable } from "../routing/table.ts";
import type { Compiled } from "./store.ts";

export interface ServicesKnown {
  readonly services: readonly SnapshotService[];
  readonly table: RoutingTable | undefined;
  readonly compiled: Compiled["services"];
}

export interface About {
  /** "namespace/name"; absent: all. */
  readonly service?: string;
  /** The asker's address; "": unknown. */
  readonly client: string;
  /** Services, and names of nodes for each port. */
  readonly most: number;
  readonly nodesMost: number;
}

/** Sorted by name. Owners and members of hostnames are left empty: those are the directory's to say. */
export function probedServices(
  { services, table, compiled }: ServicesKnown,
  { service, client, most, nodesMost }: About,
): { readonly services: ProbedService[]; readonly leftOut: number } {
  const named = services.map((each) => ({ key: `${each.namespace}/${each.name}`, each }));
  const asked = service === undefined ? named : named.filter(({ key }) => key === service);
  const told = asked.toSorted((a, b) => compareText(a.key, b.key)).slice(0, most);
  const routing = routingOf(table);
  return {
    services: told.map(({ key, each }) => probedService(key, each, routing, compiled[key], client, nodesMost)),
    leftOut: asked.length - told.length,
  };
}

interface Routing {
  readonly nodes: RoutingTable["nodes"];
  /** By "namespace/name:port". */
  readonly routes: ReadonlyMap<string, { readonly route: Route; readonly listeners: readonly Listener[] }>;
}

function routingOf(table: RoutingTable | undefined): Routing {
  const listeners = Map.groupBy(table?.listeners ?? [], ({ route }) => route);
  const routes = (table?.routes ?? []).map(
    (route, at) => [`${route.service}:${route.port}`, { route, listeners: listeners.get(at) ?? [] }] as const,
  );
  return { nodes: table?.nodes ?? [], routes: new Map(routes) };
}

function probedService(
  key: string,
  service: SnapshotService,
  { nodes, routes }: Routing,
  compiled: Compiled["services"][string] | undefined,
  client: string,
  nodesMost: number,
): ProbedService {
  const { kind, transport, externalTrafficPolicy, sourceRanges, endpoints } = service;
  const served = new Set(compiled?.hostnames ?? []);
  const hostnames = [...new Set([...served, ...service.hostnames])];
  return {
    ...{ service: key, kind, transport, externalTrafficPolicy },
    hostnames: hostnames.map((hostname) => ({ hostname, served: served.has(hostname), owner: null, members: [] })),
    ports: service.ports.map(({ port, protocol, nodePort = null }) => {
      const routed = protocol === "TCP" ? routes.get(`${key}:${port}`) : undefined;
      const eligible = routed?.route.nodes ?? [];
      const names = eligible.slice(0, nodesMost).map(({ node }) => nodes[node]?.name ?? "");
      return {
        ...{ port, protocol, nodePort },
        listeners: portsOf(routed?.listeners ?? []),
        transport: routed?.route.transport ?? null,
        unavailable: routed?.route.unavailable ?? null,
        eligible: eligible.length,
        preferred: eligible.filter(({ preferred }) => preferred).length,
        nodes: names,
      };
    }),
    sourceRanges,
    youAreAllowed: compileRanges(sourceRanges)?.include(client) ?? true,
    endpoints: countsOf(endpoints),
    conditions: [...(compiled?.conditions ?? [])],
  };
}

/** Each port once, whatever hostnames have it. */
function portsOf(listeners: readonly Listener[]): { readonly port: number; readonly tls: boolean }[] {
  const ports = new Map(listeners.map(({ port, tls }) => [port, { port, tls }]));
  return [...ports.values()].sort((a, b) => a.port - b.port);
}

function countsOf(endpoints: readonly SnapshotEndpoint[]): ProbedService["endpoints"] {
  const terminating = endpoints.filter((each) => each.terminating);
  return {
    known: endpoints.length,
    ready: endpoints.filter(({ ready }) => ready).length,
    serving: terminating.filter(({ serving }) => serving).length,
    terminating: terminating.length,
  };
}
