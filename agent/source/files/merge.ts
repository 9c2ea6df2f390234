// All files of the folder, put together. Pure. Sorted, so that every agent that sees the same folder observes the same.
// Where two places describe the same object the first (by file name, then by line) holds, and the other is a problem.
import type { KubeEndpointSlice, KubeNode, KubeObject, KubeService, KubeServiceCIDR } from "../resources.ts";
import type { Observed, SourceProblem } from "../source.ts";
import { byName } from "../order.ts";
import type { LocatedObject } from "./parse.ts";

export function merge(files: ReadonlyMap<string, readonly LocatedObject[]>): {
  observed: Observed;
  problems: readonly SourceProblem[];
} {
  const found = new Map<string, LocatedObject>();
  const problems: SourceProblem[] = [];
  for (const name of [...files.keys()].sort()) {
    for (const located of files.get(name) ?? []) {
      const id = idOf(located.object);
      const first = found.get(id);
      if (first === undefined) found.set(id, located);
      else {
        const message = `${id} is described twice: ${first.where} is used, ${located.where} is not. Delete one of them.`;
        problems.push({ where: located.where, message });
      }
    }
  }
  const objects = [...found.values()].map(({ object }) => object).sort(byName);
  return {
    observed: {
      services: objects.filter((object): object is KubeService => object.kind === "Service"),
      endpointSlices: objects.filter((object): object is KubeEndpointSlice => object.kind === "EndpointSlice"),
      nodes: objects.filter((object): object is KubeNode => object.kind === "Node"),
      serviceCIDRs: objects.filter((object): object is KubeServiceCIDR => object.kind === "ServiceCIDR"),
    },
    problems,
  };
}

/** "Service default/web", "Node n1" */
function idOf(object: KubeObject): string {
  const { kind, metadata } = object;
  return "namespace" in metadata ? `${kind} ${metadata.namespace}/${metadata.name}` : `${kind} ${metadata.name}`;
}
