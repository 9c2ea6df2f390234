// Which NetworkPolicies keep the nodes from a pod's port, by Kubernetes' own rules: policies add up, a pod that none selects is open, and
// a node is admitted by an address range alone. Whether anything enforces them is for the dials to say. Pure.
import { within } from "../../../src/shared/net/ranges.ts";
import type { Pod, Policy, Selector } from "../facts.ts";

/** Those that select the pod, where all of them together admit none of `addresses` at the port. Empty: somebody is admitted. */
export function policiesAgainst(
  pod: Pod,
  port: number,
  addresses: readonly string[],
  policies: readonly Policy[],
): readonly Policy[] {
  // Pods of the node's own network are not policies' matter.
  if (pod.hostNetwork) return [];
  const own = policies.filter((each) => each.namespace === pod.namespace && selected(each.podSelector, pod.labels));
  const isAdmitted = own.some(({ ingress }) =>
    ingress.some(({ from, ports }) => admitsFrom(from, addresses) && admitsPort(ports, port, pod)),
  );
  return isAdmitted ? [] : own;
}

type Rule = Policy["ingress"][number];

const admitsFrom = (from: Rule["from"], addresses: readonly string[]): boolean =>
  from === undefined ||
  from.some(({ cidr, except }) => {
    const inside = cidr === undefined ? [] : within([cidr], addresses);
    return inside.length > 0 && within(except, inside).length < inside.length;
  });

const admitsPort = (ports: Rule["ports"], port: number, { containers }: Pod): boolean =>
  ports === undefined ||
  ports.some(({ protocol, port: listed, endPort }) => {
    if (protocol !== "TCP") return false;
    if (listed === undefined) return true;
    if (typeof listed === "number") return port >= listed && port <= (endPort ?? listed);
    return containers.some((each) =>
      each.ports.some(({ name, containerPort }) => name === listed && containerPort === port),
    );
  });

export const selected = (
  { matchLabels, matchExpressions }: Selector,
  labels: Readonly<Record<string, string>>,
): boolean =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
  matchExpressions.every(({ key, operator, values }) => {
    const value = labels[key];
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value);
      case "NotIn":
        return value === undefined || !values.includes(value);
      case "Exists":
        return value !== undefined;
      case "DoesNotExist":
        return value === undefined;
      default:
        return false;
    }
  });
