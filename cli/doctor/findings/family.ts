// Endpoints of an address family that no node has. Pure.
import { familyOf } from "../../../src/shared/net/ranges.ts";
import type { Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { named, type Subject } from "../subject.ts";

export function familyFindings(subject: Subject, { kube }: Facts): Finding[] {
  const { stance, endpoints, object } = subject;
  const own = kube.nodes.flatMap(({ status }) => status.addresses.filter(({ type }) => type === "InternalIP"));
  if (stance !== "ours" || endpoints.length === 0 || own.length === 0) return [];
  const ofNodes = new Set(own.map(({ address }) => familyOf(address)));
  const ofPods = new Set(endpoints.map(({ address }) => familyOf(address)));
  if ([...ofPods].some((family) => ofNodes.has(family))) return [];
  const seen = `endpoints are ${[...ofPods].join(", ")}, nodes are ${[...ofNodes].join(", ")}`;
  const mend = `kubectl get ${named(subject)} -o yaml   # spec.ipFamilies; give the nodes addresses of that family, or the Service the other one`;
  return [finding("family-mismatch", "error", object, seen, mend)];
}
