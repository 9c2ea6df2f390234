// Observed → the ForwardingPlan of one node. Pure and sorted. All Services are in it, for kernel executors serve ClusterIPs,
// too; `exposed` marks those that the edge may open streams to.
// `external` holds one family, a pod once; `internal` both, for a ClusterIP of each.
import type { KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import { nodeSettings, serviceSettings } from "./annotations.ts";
import {
  addressGuard,
  type EligibilityOptions,
  exposedAs,
  isHeadless,
  isNameAllowed,
  matchesSuffix,
} from "./eligible.ts";
import { mergeSlices, type ServiceEndpoint, slicesByService, tunnelEndpoints, usable } from "./endpoints.ts";
import { zoneOf } from "./nodes.ts";
import type { ForwardingPlan, PlanEndpoint, PlanPort, PlanService } from "./plan.ts";
import { servicePorts, type ServicePortPlan } from "./ports.ts";
import { remembered } from "./remembered.ts";
import { affinityOf } from "./snapshot.ts";

export interface PlanOptions extends EligibilityOptions {
  /** ExternalName → the addresses it has now, as looked up on this node. */
  readonly resolved: ReadonlyMap<string, readonly string[]>;
  /** Such as cluster.local. */
  readonly clusterDomain: string;
}

interface Context {
  readonly node: { readonly name: string; readonly zone: string | undefined };
  readonly weights: ReadonlyMap<string, number>;
  readonly slices: ReturnType<typeof slicesByService>;
  /** Made where it is needed first: it looks at everything. */
  readonly guard: () => ReturnType<typeof addressGuard>;
  readonly services: ReadonlyMap<string, KubeService>;
  readonly options: PlanOptions;
}

const known = remembered<PlanService | undefined>();

export function buildPlan(observed: Observed, node: string, options: PlanOptions): ForwardingPlan {
  let guard: ReturnType<typeof addressGuard> | undefined;
  const context: Context = {
    node: { name: node, zone: zoneOf(observed.nodes.find(({ metadata }) => metadata.name === node)) },
    // A stronger node's pods get more with wrr. 0 is about the node's own door, not about its pods.
    weights: new Map(observed.nodes.map((each) => [each.metadata.name, Math.max(1, nodeSettings(each).weight ?? 1)])),
    slices: slicesByService(observed.endpointSlices),
    guard: () => (guard ??= addressGuard(observed, options.allowExternalName)),
    services: new Map(observed.services.map((service) => [keyOf(service), service])),
    options,
  };
  const rest = JSON.stringify([context.node, [...context.weights], options.defaultClass]);
  const services = observed.services.map((service) => {
    // What an ExternalName leads to depends on DNS and on other Services.
    if (service.spec.type === "ExternalName") return planService(service, context);
    return known(service, context.slices.get(keyOf(service)) ?? [], rest, () => planService(service, context));
  });
  return { node, services: services.filter((service) => service !== undefined) };
}

/** Names that must be looked up for the next plan: sorted, each once. */
export function externalNames(observed: Observed, options: Omit<PlanOptions, "resolved">): readonly string[] {
  const names = observed.services
    .filter((service) => exposedAs(service, options) === "ExternalName")
    .map(({ spec }) => spec.externalName ?? "")
    .filter((name) => isNameAllowed(name, options.allowExternalName) && insideService(name, options) === undefined);
  return [...new Set(names)].filter((name) => name !== "").sort();
}

function planService(service: KubeService, context: Context): PlanService | undefined {
  const { spec } = service;
  const exposed = exposedAs(service, context.options);
  // Nothing but DNS: no executor has anything to do.
  if (spec.type === "ExternalName" && exposed === undefined) return undefined;
  const settings = serviceSettings(service);
  const external = spec.type === "ExternalName" ? spec.externalName : undefined;
  return {
    key: keyOf(service),
    kind: isHeadless(service) ? "Headless" : spec.type,
    exposed: exposed !== undefined,
    ...(external === undefined ? {} : { externalName: external }),
    clusterIPs: (spec.clusterIPs.length > 0 ? spec.clusterIPs : [spec.clusterIP ?? ""]).filter(
      (ip) => ip !== "" && ip !== "None",
    ),
    algorithm: settings.endpointAlgorithm,
    ...affinityOf(service),
    sourceRanges: settings.sourceRanges,
    ...(spec.healthCheckNodePort === undefined || spec.healthCheckNodePort === 0
      ? {}
      : { healthCheckNodePort: spec.healthCheckNodePort }),
    ports:
      spec.type === "ExternalName"
        ? servicePorts(service, settings.offeredPorts).map((port) => externalNamePort(port, external ?? "", context))
        : podPorts(service, settings.offeredPorts, context),
  };
}

function podPorts(
  service: KubeService,
  offered: Parameters<typeof servicePorts>[1],
  context: Context,
): readonly PlanPort[] {
  const { spec } = service;
  const slices = context.slices.get(keyOf(service)) ?? [];
  const tunnel = tunnelEndpoints(service, slices, offered);
  const all = mergeSlices(service, slices, offered);
  const policy = spec.type === "ClusterIP" ? "Cluster" : spec.externalTrafficPolicy;
  return servicePorts(service, offered).map((port) => {
    const external = usable(tunnel, port.key, policy, context.node).map((each) =>
      planEndpoint(each, port.key, context),
    );
    return {
      ...portFacts(port),
      external,
      internal: usable(all, port.key, spec.internalTrafficPolicy, context.node).map((each) =>
        planEndpoint(each, port.key, context),
      ),
      ...(external.length > 0 ? {} : { refusal: refusal(tunnel, port, policy) }),
    };
  });
}

/** Said to strangers, so without names and addresses of the inside. */
function refusal(endpoints: readonly ServiceEndpoint[], port: ServicePortPlan, policy: "Cluster" | "Local"): string {
  if (endpoints.length === 0) return "the service has no pods";
  if (!endpoints.some(({ ports }) => ports.has(port.key))) return `no pod of the service has port ${port.port}`;
  const usableElsewhere = endpoints.some(({ ready, serving, terminating }) => ready || (serving && terminating));
  if (policy === "Local" && usableElsewhere)
    return "no pod of the service on this node is ready, and its traffic policy is Local";
  return "no pod of the service is ready";
}

function externalNamePort(port: ServicePortPlan, name: string, context: Context): PlanPort {
  const inside = insideService(name, context.options);
  const target = typeof port.targetPort === "number" ? port.targetPort : port.port;
  const external =
    inside === undefined
      ? (context.options.resolved.get(name) ?? [])
          .filter((address) => context.guard()(name, address))
          .map((address) => ({ key: address, address, port: target, local: false, weight: 1, terminating: false }))
      : insideEndpoints(inside, name, target, context);
  return {
    ...portFacts(port),
    external,
    internal: [],
    ...(external.length > 0 ? {} : { refusal: "the name behind the service has no address that may be used" }),
  };
}

/** A name inside the cluster is taken from what we observe, never from DNS; its pods instead of its ClusterIP. */
function insideEndpoints(key: string, name: string, port: number, context: Context): readonly PlanEndpoint[] {
  const service = context.services.get(key);
  if (service === undefined || service.spec.type === "ExternalName") return [];
  if (!matchesSuffix(name, context.options.allowExternalName)) return [];
  const [found] = podPorts(service, [{ port, target: port }], context).filter(
    (each) => each.port === port && each.protocol === "TCP",
  );
  return found?.internal ?? [];
}

/** "web.shop.svc", "web.shop.svc.cluster.local" → "shop/web" */
function insideService(name: string, { clusterDomain }: { readonly clusterDomain: string }): string | undefined {
  const host = name.toLowerCase().replace(/\.$/, "");
  const short = host.endsWith(`.svc.${clusterDomain}`) ? host.slice(0, -clusterDomain.length - 1) : host;
  const [service, namespace, svc, more] = short.split(".");
  return svc === "svc" && more === undefined ? `${namespace}/${service}` : undefined;
}

function portFacts({ name, protocol, port, nodePort }: ServicePortPlan) {
  return { name, protocol, port, ...(nodePort === undefined ? {} : { nodePort }) };
}

function planEndpoint(endpoint: ServiceEndpoint, port: string, context: Context): PlanEndpoint {
  const { key, address, node, ready } = endpoint;
  return {
    key,
    address,
    port: endpoint.ports.get(port) ?? 0,
    ...(node === undefined ? {} : { node }),
    local: node === context.node.name,
    weight: (node === undefined ? undefined : context.weights.get(node)) ?? 1,
    terminating: !ready,
  };
}

const keyOf = ({ metadata }: KubeService): string => `${metadata.namespace}/${metadata.name}`;
