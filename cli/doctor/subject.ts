// One Service with everything that is judged together with it. Pure.
import { serviceSettings, type ServiceSettings } from "../../agent/plan/annotations.ts";
import { isHeadless } from "../../agent/plan/eligible.ts";
import { slicesByService, type ServiceEndpoint, tunnelEndpoints } from "../../agent/plan/endpoints.ts";
import { keyOf } from "../../agent/plan/keys.ts";
import { type ServicePortPlan, servicePorts } from "../../agent/plan/ports.ts";
import type { KubeEndpointSlice, KubeService } from "../../agent/source/resources.ts";
import { annotation, CLASS, DOMAIN } from "../../src/shared/model/annotations.ts";
import { type Condition, PROGRAMMED } from "../../src/shared/model/conditions.ts";
import type { Facts, Pod, Workload } from "./facts.ts";
import { distance, selects } from "./nearest.ts";

/** What is younger had no time yet to be published and served. */
export const GRACE_MS = 20_000;

/**
 * ours: Postern serves it, or should. classless: a LoadBalancer without a class that nobody has told to be ours. foreign: another
 * controller's. inside: of a type that is reached from inside the cluster alone.
 */
export type Stance = "ours" | "classless" | "foreign" | "inside";

export interface Subject {
  /** "namespace/name" */
  readonly key: string;
  /** "Service default/web" */
  readonly object: string;
  readonly service: KubeService;
  readonly stance: Stance;
  /** Its author has Postern in mind, whatever its class says. */
  readonly meantForUs: boolean;
  readonly settings: ServiceSettings;
  readonly ports: readonly ServicePortPlan[];
  readonly selector: Readonly<Record<string, string>>;
  readonly slices: readonly KubeEndpointSlice[];
  readonly endpoints: readonly ServiceEndpoint[];
  /** Its selector's, but for those that have ended or are about to. */
  readonly pods: readonly Pod[];
  /** Whose templates its selector matches. */
  readonly workloads: readonly Workload[];
  /** The edge's, else what stands in its status. */
  readonly conditions: readonly Pick<Condition, "type" | "status" | "reason" | "message">[];
  readonly isNew: boolean;
}

/** Those that are to be examined: the one that was named, else all that are ours or meant to be, and those that nobody has taken. */
export function subjectsOf(facts: Facts): readonly Subject[] {
  const slices = slicesByService(facts.kube.slices);
  const all = facts.kube.services
    .filter((service) => facts.only === undefined || keyOf(service) === facts.only)
    .map((service) => subjectOf(service, slices.get(keyOf(service)) ?? [], facts));
  return facts.only === undefined
    ? all.filter(({ stance, meantForUs }) => stance === "ours" || stance === "classless" || meantForUs)
    : all;
}

function subjectOf(service: KubeService, slices: readonly KubeEndpointSlice[], facts: Facts): Subject {
  const { kube, edge, now } = facts;
  const { metadata, spec, status } = service;
  const key = keyOf(service);
  const settings = serviceSettings(service);
  const selector = spec.selector ?? {};
  const mine = <T extends { readonly namespace: string; readonly labels: Readonly<Record<string, string>> }>(
    all: readonly T[],
  ): T[] =>
    Object.keys(selector).length === 0
      ? []
      : all.filter(({ namespace, labels }) => namespace === metadata.namespace && selects(selector, labels));
  const knownToEdge = edge?.conditions?.[key];
  return {
    key,
    object: `Service ${key}`,
    service,
    stance: stanceOf(service, knownToEdge !== undefined || kube.agent.defaultClass === true),
    meantForUs: isMeantForUs(service),
    settings,
    ports: servicePorts(service, settings.offeredPorts),
    selector,
    slices,
    endpoints: tunnelEndpoints(service, slices, settings.offeredPorts),
    pods: mine(kube.pods).filter(({ deleting, phase }) => !deleting && phase !== "Succeeded" && phase !== "Failed"),
    workloads: mine(kube.workloads),
    conditions: knownToEdge ?? status.conditions.flatMap(ours),
    isNew: now - Date.parse(metadata.creationTimestamp) < GRACE_MS,
  };
}

const ours = ({ type, status, reason, message }: KubeService["status"]["conditions"][number]) =>
  type.startsWith(DOMAIN) && (status === "True" || status === "False")
    ? [{ type, status, reason, message } as const]
    : [];

/** `isTaken`: the edge knows it, or the agents take what has no class. */
export function stanceOf(service: KubeService, isTaken: boolean): Stance {
  const { spec, status, metadata } = service;
  if (spec.type === "LoadBalancer") {
    if (spec.loadBalancerClass !== undefined) return spec.loadBalancerClass === CLASS ? "ours" : "foreign";
    const isMarked = status.conditions.some(({ type }) => type === PROGRAMMED);
    if (isTaken || isMarked) return "ours";
    return status.loadBalancer.ingress.length > 0 ? "foreign" : "classless";
  }
  const isExposed = metadata.annotations[annotation.expose] === "true";
  return isExposed && (spec.type === "ExternalName" || isHeadless(service)) ? "ours" : "inside";
}

/** It has an annotation of ours, or a class that only a slip keeps from being ours. */
function isMeantForUs({ metadata, spec }: KubeService): boolean {
  const { loadBalancerClass: given = "" } = spec;
  const isSlip = given !== "" && given !== CLASS && (given.includes("postern") || distance(given, CLASS) <= 3);
  return isSlip || Object.keys(metadata.annotations).some((name) => name.startsWith(DOMAIN));
}

/** Those that take new requests: as the plan has it. */
export const readyEndpoints = ({ endpoints }: Subject): readonly ServiceEndpoint[] =>
  endpoints.filter(({ ready, serving, terminating }) => ready || (serving && terminating));

/** "-n default service web", for kubectl. */
export const named = ({ service: { metadata } }: Subject): string =>
  `-n ${metadata.namespace} service ${metadata.name}`;

/** A command that changes a field of the Service. */
export const patch = (subject: Subject, change: object): string =>
  `kubectl patch ${named(subject)} --type merge -p '${JSON.stringify(change)}'`;
