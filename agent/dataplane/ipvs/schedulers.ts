// Which of ipvs' schedulers deals for a Service. Pure.
import type { EndpointAlgorithm } from "../../../src/shared/model/snapshot.ts";
import type { KernelSettings } from "../kernel/settings.ts";

export interface Scheduler {
  readonly name: string;
  /** As ipvsadm calls and lists them. */
  readonly flags: readonly string[];
}

/** ipvs' own names, but for these two. */
const named: Partial<Record<EndpointAlgorithm, string>> = { maglev: "mh" };
/** Every order that a Service may ask for: "random", which it has if it asks for none, is the node's own scheduler here. */
export const ipvsAlgorithms: readonly EndpointAlgorithm[] = [
  ...(["random", "rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq", "maglev"] as const),
];
/** Kernels that have ipvs have it. */
export const LAST_RESORT = "rr";
/** For Services that ask for no other. */
export const nodeScheduler = ({ ipvs }: KernelSettings): string => ipvs.scheduler || LAST_RESORT;

/**
 * An endpoint that drains has weight 0, and these two would refuse clients that fall to it. With fallback they go to the next one.
 * dh has none, so its endpoints do not drain.
 */
const fallback: Readonly<Record<string, readonly string[]>> = { sh: ["sh-fallback"], mh: ["mh-fallback"] };

export function schedulerOf(
  algorithm: EndpointAlgorithm,
  { scheduler, missing }: { readonly scheduler: string; readonly missing: readonly string[] },
): Scheduler {
  const asked = algorithm === "random" ? scheduler : (named[algorithm] ?? algorithm);
  const name = missing.includes(asked) ? LAST_RESORT : asked;
  const flags = fallback[name] ?? [];
  // As kube-proxy has it for a node's own mh: it hashes by the client's port too, so that one client is spread over all endpoints.
  return { name, flags: algorithm === "random" && name === "mh" ? [...flags, "mh-port"] : flags };
}

/** Weights are those of the endpoints' nodes, and for schedulers that are named after them. */
export const weightOf = ({ name }: Scheduler): ((weight: number) => number) =>
  ["wrr", "wlc", "sed", "nq"].includes(name) ? (weight) => weight : () => 1;

/** Endpoints with connections may stay at weight 0 until those have ended. */
export const drains = (name: string): boolean => name !== "dh";
