// Observed → the ForwardingPlan of one node, again and again. What is given is what a new Planner would give, but where one Service
// of ten thousand has changed, one is planned. It relies on Observed being sorted, and on objects that stay the same while they do
// not change. Pure, but for the memory that it owns.
import { differences, placeIn, placesBefore } from "../../src/shared/sorted.ts";
import { byName } from "../source/order.ts";
import type { KubeEndpointSlice, KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import { contextOf, type PlanOptions, planService } from "./forwarding.ts";
import { kernelNode } from "./kernel.ts";
import { ownerOf } from "./keys.ts";
import type { ForwardingPlan, PlanService } from "./plan.ts";

export class Planner {
  readonly #node: string;
  #services: readonly KubeService[] = [];
  /** What was made of each of them. */
  #made: readonly (PlanService | undefined)[] = [];
  /** What else that depends on, as text. */
  #rest = "";
  #slices: readonly KubeEndpointSlice[] = [];
  /** "namespace/name" → its slices, by name. */
  readonly #slicesOf = new Map<string, readonly KubeEndpointSlice[]>();

  constructor(node: string) {
    this.#node = node;
  }

  plan(observed: Observed, options: PlanOptions): ForwardingPlan {
    const { services, nodes, serviceCIDRs } = observed;
    const touched = this.#takeSlices(observed.endpointSlices);
    const context = contextOf(observed, this.#node, options, this.#slicesOf);
    const rest = JSON.stringify([context.node, [...context.weights], options.defaultClass, options.forwards]);
    const known = rest === this.#rest ? placesBefore(this.#services, services, byName) : [];
    for (const key of touched) {
      const [namespace, name = ""] = key.split("/");
      known[placeIn(services, (service) => byName(service, { metadata: { name, namespace } }))] = undefined;
    }
    const made = services.map((service, at) => {
      const before = known[at];
      // What an ExternalName leads to depends on DNS and on other Services.
      const isKnown = before !== undefined && service.spec.type !== "ExternalName";
      return isKnown ? this.#made[before] : planService(service, context);
    });
    [this.#services, this.#made, this.#rest] = [services, made, rest];
    const node = nodes.find(({ metadata }) => metadata.name === this.#node);
    return {
      node: this.#node,
      services: made.filter((service) => service !== undefined),
      ...(options.forwards === "all" ? { kernel: kernelNode(node, serviceCIDRs) } : {}),
    };
  }

  /** Returns the keys of the Services whose slices are others than before. */
  #takeSlices(slices: readonly KubeEndpointSlice[]): ReadonlySet<string> {
    const touched = new Set<string>();
    for (const { before, after } of differences(this.#slices, slices, byName)) {
      if (before !== undefined) this.#setSlices(touched, before, (list) => list.filter((each) => each !== before));
      if (after !== undefined && after.metadata.deletionTimestamp === undefined)
        this.#setSlices(touched, after, (list) => [...list, after].sort(byName));
    }
    this.#slices = slices;
    return touched;
  }

  #setSlices(
    touched: Set<string>,
    of: KubeEndpointSlice,
    change: (list: readonly KubeEndpointSlice[]) => readonly KubeEndpointSlice[],
  ): void {
    const key = ownerOf(of);
    if (key === undefined) return;
    touched.add(key);
    const list = change(this.#slicesOf.get(key) ?? []);
    if (list.length > 0) this.#slicesOf.set(key, list);
    else this.#slicesOf.delete(key);
  }
}
