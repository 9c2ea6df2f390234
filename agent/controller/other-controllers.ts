// Whether another controller already serves LoadBalancer Services without a class. Pure. With --default-class both would
// write the same status without end. The agent has no right to read workloads, so it recognises such controllers by what they
// leave on Services: the label of MetalLB's webhook, and addresses that another field manager has written.
import { CLASS } from "../../src/shared/model/annotations.ts";
import type { KubeService } from "../source/resources.ts";
import { isMarked, MANAGER } from "./status.ts";

/** The names of those found, for a person to read; sorted, each once. */
export function otherControllers(services: readonly KubeService[]): readonly string[] {
  const found = services.flatMap((service) => {
    const { metadata, spec, status } = service;
    if (metadata.labels["app.kubernetes.io/name"] === "metallb" || metadata.namespace === "metallb-system") {
      return ["MetalLB"];
    }
    const classless = spec.type === "LoadBalancer" && spec.loadBalancerClass === undefined;
    if (!classless || isMarked(service) || status.loadBalancer.ingress.length === 0) return [];
    const [writer = "another controller"] = metadata.managedFields.filter((manager) => manager !== MANAGER);
    const called = writer === "k3s" ? "k3s' ServiceLB" : writer;
    return [`${called} (it gave Service ${metadata.namespace}/${metadata.name} its address)`];
  });
  return [...new Set(found)].sort();
}

/**
 * Why --default-class must not start here; undefined where it may. An agent that already holds Services goes on whatever
 * comes beside it: to stop then would take down what works, and the status says who interferes.
 */
export function refusalOfDefaultClass(services: readonly KubeService[]): string | undefined {
  const found = otherControllers(services);
  if (found.length === 0 || services.some(isMarked)) return undefined;
  const shown = found.slice(0, 5).join(", ");
  return (
    `--default-class: ${shown} already serves LoadBalancer Services without a class here. Give Postern's Services ` +
    `loadBalancerClass: ${CLASS} and leave --default-class out, or stop the other controller, ` +
    "or insist with --force-default-class"
  );
}
