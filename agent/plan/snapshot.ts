// Observed → the snapshot that the edge gets. Pure and sorted: every agent that observes the same builds the same, whatever
// node it runs on, and the edge sees at once that nothing changed. Always within the limits of snapshotSchema, so that
// one odd Service cannot keep the whole cluster's snapshot from being accepted.
import { type Condition, condition } from "../../src/shared/model/conditions.ts";
import {
  type EndpointAlgorithm,
  LISTS_MAX,
  SERVICE_LISTS_MAX,
  type Snapshot,
  type SnapshotEndpoint,
  type SnapshotService,
} from "../../src/shared/model/snapshot.ts";
import type { KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import { serviceSettings } from "./annotations.ts";
import { endpointConditions, settingsConditions } from "./conditions.ts";
import { type EligibilityOptions, exposedAs, type ExposedKind } from "./eligible.ts";
import { type ServiceEndpoint, slicesByService, tunnelEndpoints } from "./endpoints.ts";
import { insideCluster, isNameAllowed } from "./external-name.ts";
import { keyOf } from "./keys.ts";
import { type NodeOptions, snapshotNode } from "./nodes.ts";
import { type ServicePortPlan, servicePorts } from "./ports.ts";
import { protocolConditions } from "./protocols.ts";
import { remembered } from "./remembered.ts";

export interface SnapshotOptions extends EligibilityOptions, NodeOptions {
  /** What this cluster's agents can do; anything else becomes a condition. */
  readonly endpointAlgorithms: readonly EndpointAlgorithm[];
  /** Something writes a slice for each Service with a selector, as Kubernetes does: where none is yet, one will come. */
  readonly slicesFollow?: boolean;
  /** "namespace/name" → ports at which ready endpoints refuse connections. */
  readonly silent?: ReadonlyMap<string, readonly number[]>;
  /** "namespace/name" → why addresses of its ExternalName are left out, as forwarding.ts's refusedAddresses() says it. */
  readonly refused?: ReadonlyMap<string, string>;
  /** "namespace/name" → what the kernel of this agent's node does not do of it. */
  readonly incomplete?: ReadonlyMap<string, Condition>;
}

/** What one node alone finds out. */
export type NodesOwn = "silent" | "refused" | "incomplete";

const AFFINITY_DEFAULT_SECONDS = 10_800;

const known = remembered<SnapshotService>();

export function buildSnapshot(
  observed: Observed,
  { silent, refused, incomplete, ...options }: SnapshotOptions,
): Snapshot {
  const slices = slicesByService(observed.endpointSlices);
  const rest = JSON.stringify(options);
  const services: SnapshotService[] = [];
  for (const service of observed.services) {
    const kind = exposedAs(service, options);
    if (kind === undefined || services.length >= LISTS_MAX.services) continue;
    const key = keyOf(service);
    const own = slices.get(key) ?? [];
    const quiet = silent?.get(key) ?? [];
    const left = refused?.get(key);
    const lacks = incomplete?.get(key);
    const facts = { kind, slices: own, silent: quiet, refused: left, incomplete: lacks };
    const make = () => snapshotService(service, facts, options);
    services.push(known(service, own, `${quiet.join()} ${left ?? ""} ${JSON.stringify(lacks ?? "")} ${rest}`, make));
  }
  return {
    version: 1,
    nodes: observed.nodes.slice(0, LISTS_MAX.nodes).map((node) => snapshotNode(node, options)),
    services,
  };
}

interface ServiceFacts {
  readonly kind: ExposedKind;
  readonly slices: Observed["endpointSlices"];
  /** Its ports at which ready endpoints refuse connections. */
  readonly silent: readonly number[];
  readonly refused: string | undefined;
  readonly incomplete: Condition | undefined;
}

function snapshotService(
  service: KubeService,
  { kind, slices, silent, refused, incomplete }: ServiceFacts,
  options: Omit<SnapshotOptions, NodesOwn>,
): SnapshotService {
  const { metadata, spec } = service;
  const settings = serviceSettings(service);
  const all = servicePorts(service, settings.offeredPorts);
  const ports = told(all);
  const conditions = settingsConditions(settings, options.endpointAlgorithms);
  if (ports !== all) {
    const message =
      `the Service has more than the ${SERVICE_LISTS_MAX.ports} ports that the edge takes of one: it serves those of TCP with the ` +
      "lowest numbers; inside the cluster nothing is missing. Have the others in a Service of their own";
    conditions.push(condition("PortsCut", "TooMany", message));
  }
  conditions.push(...protocolConditions(ports, slices));
  if (incomplete !== undefined) conditions.push(incomplete);
  let endpoints: readonly SnapshotEndpoint[];
  if (kind === "ExternalName") {
    const name = spec.externalName ?? "";
    const { allowExternalName, clusterDomain } = options;
    const inside = insideCluster(name, clusterDomain);
    const allowed = name !== "" && inside !== "" && isNameAllowed(name, allowExternalName, clusterDomain);
    if (!allowed) conditions.push(notAllowed(name, inside));
    else if (refused !== undefined) conditions.push(condition(NOT_ALLOWED, "AddressNotListed", refused));
    // One endpoint on no node in particular: each node resolves the name itself.
    const own = Object.fromEntries(
      ports.map(({ port, targetPort }) => [port, typeof targetPort === "number" ? targetPort : port]),
    );
    endpoints = allowed
      ? [{ key: name, address: name, ready: true, serving: true, terminating: false, ports: own }]
      : [];
  } else {
    const merged = tunnelEndpoints(service, slices, settings.offeredPorts);
    const awaitsSlices = options.slicesFollow === true && slices.length === 0;
    const names = slices.some(({ addressType }) => addressType === "FQDN");
    conditions.push(...endpointConditions(service, { endpoints: merged, ports, awaitsSlices, silent, names }));
    const max = SERVICE_LISTS_MAX.endpoints;
    if (merged.length > max) {
      const message = `the edge is told of the first ${max} endpoints only; all of them get traffic`;
      conditions.push(condition("EndpointsCut", "TooMany", message));
    }
    endpoints = merged.slice(0, max).map((endpoint) => snapshotEndpoint(endpoint, ports));
  }
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    createdAt: metadata.creationTimestamp,
    kind,
    ...(kind === "ExternalName" && spec.externalName !== undefined ? { externalName: spec.externalName } : {}),
    hostnames: [...settings.hostnames],
    transport: settings.transport,
    algorithm: settings.algorithm,
    ports: ports.map(({ name, port, protocol, nodePort }) => ({
      name,
      port,
      protocol,
      ...(nodePort === undefined ? {} : { nodePort }),
    })),
    externalTrafficPolicy: kind === "LoadBalancer" ? spec.externalTrafficPolicy : "Cluster",
    ...affinityOf(service),
    sourceRanges: [...settings.sourceRanges],
    endpoints: [...endpoints],
    conditions,
  };
}

/** sessionAffinity: ClientIP, in seconds; nothing for None. */
export function affinityOf({ spec }: KubeService): { affinitySeconds?: number } {
  if (spec.sessionAffinity === "None") return {};
  return { affinitySeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_DEFAULT_SECONDS };
}

/** As many as the edge takes; of TCP first, since it serves no other. The same list where that is all. */
function told(ports: readonly ServicePortPlan[]): readonly ServicePortPlan[] {
  const max = SERVICE_LISTS_MAX.ports;
  if (ports.length <= max) return ports;
  const isTCP = ({ protocol }: ServicePortPlan): boolean => protocol === "TCP";
  return [...ports.filter(isTCP), ...ports.filter((port) => !isTCP(port))].slice(0, max);
}

function snapshotEndpoint(endpoint: ServiceEndpoint, told: readonly ServicePortPlan[]): SnapshotEndpoint {
  const { key, address, node, zone, ready, serving, terminating, forZones, forNodes } = endpoint;
  return {
    key,
    address,
    ...(node === undefined ? {} : { node }),
    ...(zone === undefined ? {} : { zone }),
    ready,
    serving,
    terminating,
    ...(forZones.length === 0 ? {} : { forZones: [...forZones] }),
    ...(forNodes.length === 0 ? {} : { forNodes: [...forNodes] }),
    ports: Object.fromEntries(
      told.flatMap(({ key: id, port, protocol }) => {
        const own = protocol === "TCP" ? endpoint.ports.get(id) : undefined;
        return own === undefined ? [] : [[port, own]];
      }),
    ),
  };
}

const NOT_ALLOWED = "ExternalNameNotAllowed";

/** `inside`: as insideCluster() says it. */
function notAllowed(name: string, inside: string | undefined) {
  if (name === "") {
    return condition(NOT_ALLOWED, "NoName", "spec.externalName is empty: name the host that this Service stands for");
  }
  if (inside === "") {
    const message = `externalName ${name} is inside the cluster, but no Service's name: write <service>.<namespace>.svc`;
    return condition(NOT_ALLOWED, "NoService", message);
  }
  const what =
    inside === undefined
      ? "this name, a suffix of it, or a CIDR that holds its address"
      : "this name or a suffix of it (a CIDR lists no name inside the cluster)";
  const message = `externalName ${name} is not allowed: whoever runs the agents must start them with --allow-external-name and ${what}`;
  return condition(NOT_ALLOWED, "NotListed", message);
}
