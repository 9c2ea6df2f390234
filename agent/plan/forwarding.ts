// Observed → the ForwardingPlan of one node. Pure and sorted. In it are the Services that the edge may open streams to
// (`exposed`), for an agent that opens NodePorts in userspace those that have one, and with --proxy all those that have a
// ClusterIP: an agent that leaves the kernel alone computes nothing of a thousand other Services.
// `external` holds one address family, and each pod once.
import type { KubeEndpointSlice, KubeNode, KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import { nodeSettings, serviceSettings } from "./annotations.ts";
import { type EligibilityOptions, exposedAs } from "./eligible.ts";
import { mergeSlices, type ServiceEndpoint, slicesByService, tunnelEndpoints, usable } from "./endpoints.ts";
import { type AddressGuard, addressGuard, insideCluster, isNameAllowed, podGuard } from "./external-name.ts";
import { kernelService } from "./kernel.ts";
import { keyOf } from "./keys.ts";
import { zoneOf } from "./nodes.ts";
import type { PlanEndpoint, PlanPort, PlanService } from "./plan.ts";
import { servicePorts, type ServicePortPlan } from "./ports.ts";
import { affinityOf } from "./snapshot.ts";

export interface PlanOptions extends EligibilityOptions {
  /** ExternalName → the addresses it has now, as looked up on this node. */
  readonly resolved: ReadonlyMap<string, readonly string[]>;
  /** This machine's own addresses; asked only where an ExternalName is exposed. */
  readonly localAddresses?: () => readonly string[];
  /**
   * What else than the tunnel's streams this agent serves, so that Services need a plan that the edge may not open streams to:
   * nothing, their NodePorts in userspace, or all that kube-proxy serves, in the kernel.
   */
  readonly forwards: "nothing" | "nodePorts" | "all";
}

export interface Context {
  readonly node: { readonly name: string; readonly zone: string | undefined };
  readonly weights: ReadonlyMap<string, number>;
  readonly slices: ReadonlyMap<string, readonly KubeEndpointSlice[]>;
  readonly guards: Guards;
  readonly serviceOf: (key: string) => KubeService | undefined;
  readonly options: PlanOptions;
}

/** For names outside of the cluster, and inside. Made where one is needed first: they look at everything. */
interface Guards {
  readonly outside: AddressGuard;
  readonly inside: AddressGuard;
}

const isNamed =
  (name: string) =>
  ({ metadata }: KubeNode): boolean =>
    metadata.name === name;

/** `slices`: those of `observed`. */
export function contextOf(
  observed: Observed,
  node: string,
  options: PlanOptions,
  slices: ReadonlyMap<string, readonly KubeEndpointSlice[]>,
): Context {
  const { allowExternalName, localAddresses = () => [] } = options;
  let [outside, inside]: (AddressGuard | undefined)[] = [];
  return {
    node: { name: node, zone: zoneOf(observed.nodes.find(isNamed(node))) },
    weights: weightsOf(observed.nodes),
    slices,
    guards: {
      outside: (name, address) =>
        (outside ??= addressGuard(observed, allowExternalName, localAddresses()))(name, address),
      inside: (name, address) => (inside ??= podGuard(observed, allowExternalName, localAddresses()))(name, address),
    },
    serviceOf: (key) => observed.services.find((service) => keyOf(service) === key),
    options,
  };
}

/** Of each list of nodes once: a cluster of a hundred thousand pods has a thousand nodes, and they seldom change. */
const weights = new WeakMap<readonly KubeNode[], ReadonlyMap<string, number>>();

/** A stronger node's pods get more with wrr. 0 is about the node's own door, not about its pods. */
function weightsOf(nodes: readonly KubeNode[]): ReadonlyMap<string, number> {
  let found = weights.get(nodes);
  if (found === undefined) {
    found = new Map(nodes.map((each) => [each.metadata.name, Math.max(1, nodeSettings(each).weight ?? 1)]));
    weights.set(nodes, found);
  }
  return found;
}

/** Names that must be looked up for the next plan: sorted, each once. */
export function externalNames(observed: Observed, options: Omit<PlanOptions, "resolved">): readonly string[] {
  const names = observed.services
    .filter((service) => isExternalName(service, options))
    .map(({ spec }) => spec.externalName ?? "")
    .filter((name) => mayServe(name, options) && insideCluster(name, options.clusterDomain) === undefined);
  return [...new Set(names)].filter((name) => name !== "").sort();
}

const isExternalName = (service: KubeService, options: EligibilityOptions): boolean =>
  service.spec.type === "ExternalName" && exposedAs(service, options) === "ExternalName";

const mayServe = (name: string, { allowExternalName, clusterDomain }: EligibilityOptions): boolean =>
  isNameAllowed(name, allowExternalName, clusterDomain);

/**
 * "namespace/name" → why this node leaves out addresses of an ExternalName whose name is allowed: for its owner, and for
 * whoever runs the agents.
 */
export function refusedAddresses(observed: Observed, node: string, options: PlanOptions): ReadonlyMap<string, string> {
  const services = observed.services.filter(
    (service) => isExternalName(service, options) && mayServe(service.spec.externalName ?? "", options),
  );
  // Mostly there is none, and a context looks at everything.
  if (services.length === 0) return new Map();
  const context = contextOf(observed, node, options, slicesByService(observed.endpointSlices));
  const refused = services.flatMap((service) => {
    const name = service.spec.externalName ?? "";
    const inside = insideCluster(name, options.clusterDomain);
    const ports = servicePorts(service, serviceSettings(service).offeredPorts);
    const addresses =
      inside === undefined
        ? (options.resolved.get(name) ?? [])
        : ports.flatMap((port) => insideEndpoints(inside, targetOf(port), context).map(({ address }) => address));
    const guard = inside === undefined ? context.guards.outside : context.guards.inside;
    const reasons = [...new Set(addresses)].flatMap((address) => {
      const why = guard(name, address);
      return why === undefined ? [] : [`${address} (${why})`];
    });
    if (reasons.length === 0) return [];
    const message = `externalName ${name} is not served at ${reasons.join(", ")}: whoever runs the agents must list that very address in --allow-external-name, as 192.0.2.1/32 or 2001:db8::1/128`;
    return [[keyOf(service), message] as const];
  });
  return new Map(refused);
}

/** Undefined where an executor has nothing to do for it. It depends on the Service, its slices and the context alone. */
export function planService(service: KubeService, context: Context): PlanService | undefined {
  const { spec } = service;
  const exposed = exposedAs(service, context.options);
  const { forwards } = context.options;
  const opened = forwards === "nodePorts" && spec.ports.some(({ nodePort = 0 }) => nodePort !== 0);
  const settings = serviceSettings(service);
  const kernel =
    forwards === "all"
      ? kernelService(service, context.slices.get(keyOf(service)) ?? [], settings.endpointAlgorithm, context)
      : undefined;
  // Nobody opens streams to it, and nobody opens a NodePort for it: an executor has nothing to do.
  if (exposed === undefined && !opened && kernel === undefined) return undefined;
  const external = spec.type === "ExternalName" ? spec.externalName : undefined;
  return {
    key: keyOf(service),
    exposed: exposed !== undefined,
    ...(external === undefined ? {} : { externalName: external }),
    algorithm: settings.endpointAlgorithm,
    ...affinityOf(service),
    sourceRanges: settings.sourceRanges,
    ...(kernel === undefined ? {} : { kernel }),
    ports:
      exposed === undefined && !opened
        ? []
        : spec.type === "ExternalName"
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
  const policy = spec.type === "ClusterIP" ? "Cluster" : spec.externalTrafficPolicy;
  return servicePorts(service, offered).map((port) => {
    const external = usable(tunnel, port.key, policy, context.node).map((each) =>
      planEndpoint(each, port.key, context),
    );
    return {
      ...portFacts(port),
      external,
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
  const inside = insideCluster(name, context.options.clusterDomain);
  const target = targetOf(port);
  const { guards, options } = context;
  const external = !mayServe(name, options)
    ? []
    : inside === undefined
      ? (options.resolved.get(name) ?? [])
          .filter((address) => guards.outside(name, address) === undefined)
          .map((address) => ({ key: address, address, port: target, weight: 1, terminating: false }))
      : insideEndpoints(inside, target, context).filter(({ address }) => guards.inside(name, address) === undefined);
  return {
    ...portFacts(port),
    external,
    ...(external.length > 0 ? {} : { refusal: "the name behind the service has no address that may be used" }),
  };
}

const targetOf = ({ port, targetPort }: ServicePortPlan): number =>
  typeof targetPort === "number" ? targetPort : port;

/** A name inside the cluster is taken from what we observe, never from DNS; its pods instead of its ClusterIP. */
function insideEndpoints(key: string, port: number, context: Context): readonly PlanEndpoint[] {
  const service = context.serviceOf(key);
  if (service === undefined || service.spec.type === "ExternalName") return [];
  const offered = [{ port, target: port }];
  const found = servicePorts(service, offered).find((each) => each.port === port && each.protocol === "TCP");
  if (found === undefined) return [];
  const endpoints = mergeSlices(service, context.slices.get(key) ?? [], offered);
  // As a client inside the cluster finds it: both address families, and the internal policy.
  return usable(endpoints, found.key, service.spec.internalTrafficPolicy, context.node).map((each) =>
    planEndpoint(each, found.key, context),
  );
}

function portFacts({ protocol, port, nodePort }: ServicePortPlan) {
  return { protocol, port, ...(nodePort === undefined ? {} : { nodePort }) };
}

function planEndpoint(endpoint: ServiceEndpoint, port: string, context: Context): PlanEndpoint {
  const { key, address, node, ready } = endpoint;
  return {
    key,
    address,
    port: endpoint.ports.get(port) ?? 0,
    weight: (node === undefined ? undefined : context.weights.get(node)) ?? 1,
    terminating: !ready,
  };
}
