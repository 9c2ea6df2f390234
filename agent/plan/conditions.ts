// What an owner should know about an exposed Service before asking "why 503?": the usual slips between Service, slices and
// pods, each with the command to run next. Pure. No counts and no times: a condition changes when its cause does.
import { annotation } from "../../src/shared/model/annotations.ts";
import { type Condition, condition } from "../../src/shared/model/conditions.ts";
import type { EndpointAlgorithm } from "../../src/shared/model/snapshot.ts";
import type { KubeService } from "../source/resources.ts";
import type { ServiceSettings } from "./annotations.ts";
import type { ServiceEndpoint } from "./endpoints.ts";
import type { ServicePortPlan } from "./ports.ts";

export function settingsConditions(settings: ServiceSettings, supported: readonly EndpointAlgorithm[]): Condition[] {
  const conditions: Condition[] = [];
  if (settings.badValues.length > 0) {
    conditions.push(condition("AnnotationIgnored", "BadValue", settings.badValues.join(". ")));
  }
  if (!supported.includes(settings.endpointAlgorithm)) {
    const message =
      `annotation ${annotation.endpointAlgorithm}: ${settings.endpointAlgorithm} is not possible with the way these nodes forward ` +
      `(possible: ${supported.join(", ")}); endpoints are dealt at random. Agents that run with --proxy-mode nftables can do random, rr, wrr, sh and maglev`;
    conditions.push(condition("EndpointAlgorithmNotSupported", "ExecutorCannot", message));
  }
  return conditions;
}

export interface EndpointFacts {
  readonly endpoints: readonly ServiceEndpoint[];
  readonly ports: readonly ServicePortPlan[];
  /** Kubernetes has not written a slice yet, but will: nothing is known of the Service's pods. */
  readonly awaitsSlices: boolean;
  /** Ports at which ready endpoints refuse connections. */
  readonly silent: readonly number[];
  /** Its slices list names (addressType FQDN), which nobody forwards to. */
  readonly names: boolean;
}

/** For LoadBalancer and Headless. */
export function endpointConditions(
  service: KubeService,
  { endpoints, ports, awaitsSlices, silent, names }: EndpointFacts,
): Condition[] {
  const { name, namespace } = service.metadata;
  const slices = `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name}`;
  const labels = Object.entries(service.spec.selector ?? {}).map(([key, value]) => `${key}=${value}`);
  const pods = `kubectl -n ${namespace} get pods -l ${labels.sort().join(",")}`;

  if (awaitsSlices && labels.length > 0) return [];
  if (endpoints.length === 0 && names) {
    const message = `the Service's EndpointSlices list DNS names (addressType FQDN), and traffic goes to addresses only: write slices of addressType IPv4 or IPv6, or a Service of type ExternalName. Check: ${slices}`;
    return [condition("NoMatchingPods", "OnlyNames", message)];
  }
  if (endpoints.length === 0) {
    const message =
      labels.length === 0
        ? `the Service has no selector, and no EndpointSlice with the label kubernetes.io/service-name=${name} lists an address: write one (an object of kind Endpoints does not count), or give the Service a selector. Check: ${slices}`
        : `no pod matches the selector ${labels.join(",")}, or none has an address yet. Check that pods with these labels run: ${pods}; and what the Service selects: kubectl -n ${namespace} describe service ${name}`;
    return [condition("NoMatchingPods", labels.length === 0 ? "NoSelector" : "SelectorMatchesNothing", message)];
  }

  const lost = ports.filter(
    ({ key, protocol }) => protocol === "TCP" && !endpoints.some((endpoint) => endpoint.ports.has(key)),
  );
  if (lost.length > 0) {
    const check =
      labels.length === 0
        ? `Check that the slice has a port of the same name and protocol: ${slices} -o yaml`
        : `Check that the pods' containers have a port of that name: ${pods} -o jsonpath='{.items[*].spec.containers[*].ports}'`;
    return [condition("TargetPortNotFound", "NoEndpointHasPort", `no endpoint has ${named(lost)}. ${check}`)];
  }

  const refusing = ports.filter(({ port, protocol }) => protocol === "TCP" && silent.includes(port));
  if (refusing.length > 0) {
    const message =
      `ready endpoints refuse connections for ${named(refusing)}: nothing listens there. ` +
      "Compare spec.ports[].targetPort with the port that the server in the container really listens on" +
      (labels.length === 0 ? `: ${slices} -o yaml` : `: ${pods}; kubectl -n ${namespace} logs POD`);
    return [condition("TargetPortNotFound", "ConnectionRefused", message)];
  }

  if (endpoints.some(({ ready, serving, terminating }) => ready || (serving && terminating))) return [];
  const check =
    labels.length === 0
      ? slices
      : `${pods}; and why they are not ready: kubectl -n ${namespace} describe pods -l ${labels.join(",")}`;
  return [
    condition("NoReadyPods", "NoneReady", `the Service has endpoints, but none of them is ready. Check: ${check}`),
  ];
}

/** 'port 80 ("http") with targetPort 8080' */
function named(ports: readonly ServicePortPlan[]): string {
  return ports
    .map((each) => `${namedPort(each)}${each.targetPort === undefined ? "" : ` with targetPort ${each.targetPort}`}`)
    .join(", ");
}

/** 'port 80 ("http")' */
export const namedPort = ({ port, name }: ServicePortPlan): string =>
  `port ${port}${name === "" ? "" : ` ("${name}")`}`;
