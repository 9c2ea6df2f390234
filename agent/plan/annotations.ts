// The annotations that Postern reads on Services and Nodes. Pure. A bad value never stops a Service: the default is used
// and a sentence says which annotation, which value and what would be allowed. Source ranges are the exception: where none
// of them can be read nobody is let in, for the opposite would open what somebody meant to close.
import { annotation } from "../../src/shared/model/annotations.ts";
import {
  type EndpointAlgorithm,
  endpointAlgorithms,
  hostnameSchema,
  type NodeAlgorithm,
  nodeAlgorithms,
  SERVICE_LISTS_MAX,
} from "../../src/shared/model/snapshot.ts";
import type { KubeNode, KubeService } from "../source/resources.ts";
import { parseAddress, parseRange } from "../../src/shared/net/ranges.ts";

/** A port offered by a Service that lists none of its own (Headless, ExternalName). */
export interface OfferedPort {
  readonly port: number;
  readonly target: number;
}

export interface ServiceSettings {
  readonly hostnames: readonly string[];
  readonly algorithm: NodeAlgorithm;
  readonly endpointAlgorithm: EndpointAlgorithm;
  readonly transport: "tunnel" | "direct";
  readonly offeredPorts: readonly OfferedPort[];
  readonly sourceRanges: readonly string[];
  /** What was wrong, one sentence each. */
  readonly badValues: readonly string[];
}

/** What may read as a list: "a, b c". */
const RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges";
/** A range that holds no client: the unspecified address. */
export const NOBODY = "::/128";
const { hostnames: HOSTNAMES_MAX, sourceRanges: RANGES_MAX, ports: PORTS_MAX } = SERVICE_LISTS_MAX;
const DEFAULT_OFFERED: readonly OfferedPort[] = [
  { port: 80, target: 80 },
  { port: 443, target: 443 },
];

/** Headless Services and ExternalNames are exposed by this alone; any other value means no. */
export const wantsExposure = (service: KubeService): boolean =>
  service.metadata.annotations[annotation.expose] === "true";

export function serviceSettings(service: KubeService): ServiceSettings {
  const { annotations } = service.metadata;
  const badValues: string[] = [];
  const bad = (where: string, value: string, allowed: string, instead: string) => {
    const what = where.startsWith("spec.") ? where : `annotation ${where}`;
    badValues.push(`${what}: ${quote(value)} is not usable: ${allowed}; ${instead}`);
  };
  const choice = <T extends string>(name: string, allowed: readonly T[], fallback: T): T => {
    const value = annotations[name];
    if (value === undefined) return fallback;
    const found = allowed.find((each) => each === value.trim());
    if (found === undefined) bad(name, value, `write one of ${allowed.join(", ")}`, `${fallback} is used`);
    return found ?? fallback;
  };
  return {
    hostnames: hostnames(annotations[annotation.hostname], bad),
    algorithm: choice(annotation.algorithm, nodeAlgorithms, "least-request"),
    endpointAlgorithm: choice(annotation.endpointAlgorithm, endpointAlgorithms, "random"),
    transport: choice(annotation.transport, ["tunnel", "direct"], "tunnel"),
    offeredPorts: offeredPorts(annotations[annotation.ports], bad),
    sourceRanges: sourceRanges(service, bad),
    badValues,
  };
}

export interface NodeSettings {
  readonly directAddress?: string;
  readonly weight?: number;
  readonly badValues: readonly string[];
}

export function nodeSettings(node: KubeNode): NodeSettings {
  const { annotations } = node.metadata;
  const badValues: string[] = [];
  const address = annotations[annotation.directAddress]?.trim();
  const goodAddress =
    address !== undefined && (parseAddress(address) !== undefined || hostnameSchema.safeParse(address).success)
      ? address
      : undefined;
  if (address !== undefined && goodAddress === undefined) {
    badValues.push(
      `annotation ${annotation.directAddress}: ${quote(address)} is not usable: write a DNS name or an IP address, without scheme and port; the node gets no direct traffic`,
    );
  }
  const weight = annotations[annotation.weight]?.trim();
  const goodWeight =
    weight !== undefined && /^\d{1,5}$/.test(weight) && Number(weight) <= 65535 ? Number(weight) : undefined;
  if (weight !== undefined && goodWeight === undefined) {
    badValues.push(
      `annotation ${annotation.weight}: ${quote(weight)} is not usable: write a whole number from 0 to 65535; the number of ready endpoints is used`,
    );
  }
  return {
    ...(goodAddress === undefined ? {} : { directAddress: goodAddress }),
    ...(goodWeight === undefined ? {} : { weight: goodWeight }),
    badValues,
  };
}

/** `where`: an annotation's name, or a field of the spec. */
type Bad = (where: string, value: string, allowed: string, instead: string) => void;

/** "shop.example.com, www.example.com" */
function hostnames(value: string | undefined, bad: Bad): string[] {
  const names = new Set<string>();
  for (const word of words(value)) {
    const name = word.toLowerCase().replace(/\.$/, "");
    if (!hostnameSchema.safeParse(name).success) {
      bad(annotation.hostname, word, "write DNS names such as shop.example.com, separated by commas", "it is left out");
    } else if (names.size >= HOSTNAMES_MAX) {
      bad(annotation.hostname, word, `at most ${HOSTNAMES_MAX} names`, "it is left out");
      break;
    } else names.add(name);
  }
  return [...names];
}

/** "80, 8080:5000": listener 80 goes to port 80, listener 8080 to port 5000 */
function offeredPorts(value: string | undefined, bad: Bad): readonly OfferedPort[] {
  if (value === undefined) return DEFAULT_OFFERED;
  const ports = new Map<number, OfferedPort>();
  for (const word of words(value)) {
    const [port = 0, target = port] = /^\d{1,5}(:\d{1,5})?$/.test(word) ? word.split(":").map(Number) : [];
    if (port < 1 || port > 65535 || target < 1 || target > 65535 || ports.has(port) || ports.size >= PORTS_MAX) {
      const allowed = `write up to ${PORTS_MAX} different ports from 1 to 65535 such as 80, 8080:5000, separated by commas`;
      bad(annotation.ports, word, allowed, "it is left out");
    } else ports.set(port, { port, target });
  }
  return ports.size === 0 ? DEFAULT_OFFERED : [...ports.values()].sort((a, b) => a.port - b.port);
}

/** The field beats the annotation, as in cloud-provider. */
function sourceRanges(service: KubeService, bad: Bad): string[] {
  const { loadBalancerSourceRanges: field } = service.spec;
  const annotated = service.metadata.annotations[RANGES_ANNOTATION];
  const given = field.length > 0 ? field : words(annotated);
  const good: string[] = [];
  const where = field.length > 0 ? "spec.loadBalancerSourceRanges" : RANGES_ANNOTATION;
  for (const text of given) {
    if (parseRange(text) === undefined) bad(where, text, "write ranges such as 203.0.113.0/24", "it lets nobody in");
    else if (good.length >= RANGES_MAX) {
      bad(where, text, `the edge takes ${RANGES_MAX} ranges at most`, "it lets nobody in, nor do those after it");
      break;
    } else good.push(text.trim());
  }
  return given.length > 0 && good.length === 0 ? [NOBODY] : good;
}

const words = (value: string | undefined): string[] => (value ?? "").split(/[\s,]+/).filter((word) => word !== "");
const quote = (value: string): string => JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
