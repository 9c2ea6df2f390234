// What a Service's status should say, and the smallest patch that makes it so. Pure. Everything goes through the
// `services/status` subresource: hostnames, conditions and the finalizer.
// Ours is what carries our condition postern.dev/Programmed. It is written together with the finalizer, so that neither is
// ever alone: what lacks it belongs to somebody else, and neither its finalizer nor its status is touched.
import { DOMAIN } from "../../src/shared/model/annotations.ts";
import {
  type Condition,
  condition,
  conditionType,
  PORTS_ERROR,
  PROGRAMMED,
} from "../../src/shared/model/conditions.ts";
import { hostnameSchema } from "../../src/shared/model/snapshot.ts";
import type { KubeService } from "../source/resources.ts";

/** The name under which our patches appear in managedFields. */
export const MANAGER = "postern";
export const FINALIZER = "service.kubernetes.io/load-balancer-cleanup";
/** Goes with our condition where it is listed, for Kubernetes' own type has no prefix that tells whose it is. */
const isOurs = (type: string): boolean => type.startsWith(DOMAIN) || type === PORTS_ERROR;

export type ExposedKind = "LoadBalancer" | "Headless" | "ExternalName";

/** What the edge answered of a Service. */
export interface EdgeAnswer {
  readonly hostnames: readonly string[];
  readonly conditions: readonly Condition[];
  /** The ports when it answered. Ports that the Service has by now are in its next answer. */
  readonly ports: readonly { readonly port: number; readonly protocol: string }[];
}

export interface Wanted {
  /** Undefined: not, or no longer, exposed. */
  readonly exposed: ExposedKind | undefined;
  /** Of exactly this Service. */
  readonly answer: EdgeAnswer | undefined;
  /** The edge has let go of it, or had its time to. */
  readonly released: boolean;
  /** The name of another controller that writes this status. */
  readonly otherWriter: string | undefined;
}

export interface StatusPatch {
  /** mark: finalizer and first condition, before anything is published. write: what the edge said. release: all of ours goes. */
  readonly purpose: "mark" | "write" | "release";
  readonly body: object;
  /** As they will be. */
  readonly conditions: readonly Condition[];
  readonly ingress: KubeService["status"]["loadBalancer"]["ingress"];
}

export const isMarked = ({ status }: KubeService): boolean => status.conditions.some(({ type }) => type === PROGRAMMED);
const isDeleted = ({ metadata }: KubeService): boolean => metadata.deletionTimestamp !== undefined;

/** Undefined: all is as it should be, or it is none of ours. `now`: RFC 3339. */
export function statusPatch(service: KubeService, wanted: Wanted, now: string): StatusPatch | undefined {
  if (wanted.exposed === undefined || isDeleted(service)) {
    return isMarked(service) && wanted.released ? releasePatch(service) : undefined;
  }
  const balancer = wanted.exposed === "LoadBalancer";
  const kept = service.metadata.finalizers.includes(FINALIZER);
  // LoadBalancer → ExternalName with postern.dev/expose: ours it stays, but not to be cleaned up.
  const finalizer = balancer ? (kept ? undefined : "add") : kept && isMarked(service) ? "remove" : undefined;
  const { answer } = wanted;
  if (answer === undefined) {
    // Headless and ExternalName have nothing to clean up: their first word is the edge's.
    if (!balancer || (isMarked(service) && finalizer === undefined)) return undefined;
    const conditions = isMarked(service) ? [] : [pending];
    return {
      purpose: "mark",
      body: patchBody(service, { finalizer, conditions: conditionPatch(service, conditions, [], now) }),
      conditions,
      ingress: service.status.loadBalancer.ingress,
    };
  }
  const conditions = [
    ...answer.conditions,
    ...(wanted.otherWriter === undefined ? [] : [otherWriterCondition(wanted.otherWriter)]),
  ];
  const gone = service.status.conditions
    .map(({ type }) => type)
    .filter((type) => isOurs(type) && !has(conditions, type));
  const changed = conditionPatch(service, conditions, gone, now);
  const ingress = balancer ? [...ingressOf(answer), ...othersIngress(service)] : [];
  const moved = balancer && JSON.stringify(ingress) !== JSON.stringify(service.status.loadBalancer.ingress);
  if (finalizer === undefined && !moved && changed.length === 0) return undefined;
  return {
    purpose: "write",
    body: patchBody(service, { finalizer, conditions: changed, ...(moved ? { ingress } : {}) }),
    conditions,
    ingress,
  };
}

/** Before the edge has answered for the first time. */
const pending = condition("Programmed", "Pending", "The edge has not taken it yet.", { status: "False" });

const otherWriterCondition = (otherWriter: string): Condition =>
  condition(
    "AnotherStatusWriter",
    "StatusOverwritten",
    `${otherWriter} overwrites the status of this Service, and Postern restores it. Let only one of them act on it: ` +
      "give the Service a loadBalancerClass, or stop the other controller.",
  );

/**
 * Only what the API server accepts as a host name: one bad name would be a 422 for the whole patch. "10.0.0.1" reads as a name,
 * but is an address; no top-level domain is a number.
 */
const isHostname = (name: string): boolean => hostnameSchema.safeParse(name).success && !/(^|\.)\d+$/.test(name);

/**
 * What stays beside ours. An IP address is never ours. On a Service of our own class nobody else has a word; one without a class
 * may be another controller's as well (--force-default-class), and nothing of that one is taken away.
 */
function othersIngress({ spec, status }: KubeService): StatusPatch["ingress"] {
  if (spec.loadBalancerClass !== undefined) return [];
  return status.loadBalancer.ingress.filter(({ ip }) => ip !== undefined);
}

function ingressOf({ hostnames, conditions, ports }: EdgeAnswer): StatusPatch["ingress"] {
  const refused = new Map<number, string>();
  for (const { type, status, ports: about = [] } of conditions) {
    if (status === "True" && type.startsWith(DOMAIN)) for (const port of about) refused.set(port, type);
  }
  const named = ports.map(({ port, protocol }) => {
    const error = protocol === "TCP" ? refused.get(port) : unsupported(protocol);
    return { port, protocol, error };
  });
  const troubled = named.some(({ error }) => error !== undefined);
  return hostnames
    .filter(isHostname)
    .map((hostname) => ({ hostname, ip: undefined, ipMode: undefined, ports: troubled ? named : [] }));
}

const unsupported = (protocol: string): string =>
  conditionType(protocol === "UDP" ? "UDPNotSupported" : "SCTPNotSupported");

/** What differs, in strategic merge's words: conditions merge by type, `$patch: delete` takes one away. */
function conditionPatch(
  service: KubeService,
  conditions: readonly Condition[],
  gone: readonly string[],
  now: string,
): object[] {
  const changed = conditions.flatMap(({ type, status, reason, message }) => {
    const before = service.status.conditions.find((condition) => condition.type === type);
    if (before?.status === status && before.reason === reason && before.message === message) return [];
    const moved = before?.status === status ? {} : { lastTransitionTime: now };
    return [{ type, status, reason, message, ...moved }];
  });
  return [...changed, ...gone.map((type) => ({ $patch: "delete", type }))];
}

/** The API server has wiped the addresses where the type changed; where the class was given up, they are still ours. */
function releasePatch(service: KubeService): StatusPatch {
  const ours = service.status.conditions.filter(({ type }) => isOurs(type));
  const { managedFields, finalizers } = service.metadata;
  // Addresses of somebody else, who has written them since, stay.
  const others = managedFields.length > 0 && !managedFields.includes(MANAGER);
  const addressed = service.spec.type === "LoadBalancer" && service.status.loadBalancer.ingress.length > 0 && !others;
  const ingress = othersIngress(service);
  return {
    purpose: "release",
    body: patchBody(service, {
      finalizer: finalizers.includes(FINALIZER) ? "remove" : undefined,
      conditions: ours.map(({ type }) => ({ $patch: "delete", type })),
      ...(addressed ? { ingress } : {}),
    }),
    conditions: [],
    ingress: addressed ? ingress : [],
  };
}

function patchBody(
  { metadata }: KubeService,
  parts: {
    readonly finalizer: "add" | "remove" | undefined;
    readonly conditions: object[];
    readonly ingress?: StatusPatch["ingress"];
  },
): object {
  const { finalizer, conditions, ingress } = parts;
  const addresses = ingress?.map(({ ports, ...whose }) => ({ ...whose, ...(ports.length === 0 ? {} : { ports }) }));
  const status = {
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(addresses === undefined ? {} : { loadBalancer: { ingress: addresses.length === 0 ? null : addresses } }),
  };
  return {
    metadata: {
      // Deleted and created anew meanwhile: a conflict, not the other Service's status.
      uid: metadata.uid,
      ...(finalizer === "add" ? { finalizers: [FINALIZER] } : {}),
      ...(finalizer === "remove" ? { "$deleteFromPrimitiveList/finalizers": [FINALIZER] } : {}),
    },
    ...(Object.keys(status).length === 0 ? {} : { status }),
  };
}

const has = (conditions: readonly Condition[], type: string): boolean =>
  conditions.some((condition) => condition.type === type);
