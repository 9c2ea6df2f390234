// Whatever a Planner has seen before, its plan is what one that has seen nothing would make of copies of the same objects.
import fc from "fast-check";
import { expect, it } from "vitest";
import type { PlanOptions } from "../../../agent/plan/forwarding.ts";
import { Planner } from "../../../agent/plan/planner.ts";
import { byName, type Named } from "../../../agent/source/order.ts";
import type { Observed } from "../../../agent/source/source.ts";
import { hash32 } from "../../../src/shared/balance/hash.ts";
import { endpoint, node, service, slice, type Written } from "../source/objects.ts";
import { buildPlan } from "./build-plan.ts";
import { observe } from "./observe.ts";

const options: PlanOptions = {
  defaultClass: false,
  allowExternalName: ["lan", "svc"],
  resolved: new Map([["nas.lan", ["192.168.1.5"]]]),
  clusterDomain: "cluster.local",
  forwards: "all",
};
const optionsToo: readonly PlanOptions[] = [
  options,
  { ...options, defaultClass: true },
  { ...options, forwards: "nodePorts" },
  { ...options, resolved: new Map() },
];

/** The same text is the same object, as from a source. */
const pool = new Map<string, Observed>();
function seen(written: Written): Observed {
  const text = JSON.stringify(written);
  const known = pool.get(text) ?? observe(written);
  pool.set(text, known);
  return known;
}

const names = ["a", "a-b", "b"];
const each = names.flatMap((namespace) => names.map((name) => ({ namespace, name })));
const expose = { annotations: { "postern.dev/expose": "true" } };
const inside = { type: "ExternalName", externalName: "a.a.svc", clusterIP: null, ports: [{ port: 80 }] };
const specs = [{}, { ports: [{ port: 81 }] }, { type: "ClusterIP", loadBalancerClass: null }, { clusterIP: "None" }];
const metadatas = [{}, expose, { deletionTimestamp: "2026-01-01T00:00:00Z" }];
const variants = [
  { spec: inside, metadata: expose },
  ...specs.flatMap((spec) => metadatas.map((metadata) => ({ spec, metadata }))),
];
const endpoints = [
  [],
  [endpoint("10.0.1.1", "n1")],
  [endpoint("10.0.1.1", "n1"), endpoint("10.0.1.2", "n2", { ready: false })],
];

/** Each object is absent, or one of its variants. */
const world = fc
  .record({
    services: fc.array(fc.option(fc.constantFrom(...variants)), { minLength: each.length, maxLength: each.length }),
    slices: fc.array(
      fc.option(
        fc.record({
          of: fc.constantFrom(...names),
          list: fc.constantFrom(...endpoints),
          metadata: fc.constantFrom(...metadatas),
        }),
      ),
      { minLength: 2 * each.length, maxLength: 2 * each.length },
    ),
    zone: fc.constantFrom("x", "y"),
    weight: fc.constantFrom("1", "9"),
    options: fc.constantFrom(...optionsToo),
  })
  .map(({ services, slices, zone, weight, options: given }) => {
    const found = [
      ...services.flatMap((one, at) =>
        one === null ? [] : [seen(service(each[at]?.name ?? "", one.spec, { ...each[at], ...one.metadata }))],
      ),
      ...slices.flatMap((one, at) => {
        if (one === null) return [];
        const { namespace = "", name = "" } = each[at >> 1] ?? {};
        const labels = { "kubernetes.io/service-name": one.of };
        return [
          seen(slice("", one.list, { metadata: { name: `${name}-${at % 2}`, namespace, labels, ...one.metadata } })),
        ];
      }),
      seen(
        node("n1", { labels: { "topology.kubernetes.io/zone": zone }, annotations: { "postern.dev/weight": weight } }),
      ),
      seen(node("n2")),
    ];
    const observed: Observed = {
      services: found.flatMap((one) => one.services),
      endpointSlices: found.flatMap((one) => one.endpointSlices),
      nodes: found.flatMap((one) => one.nodes),
      serviceCIDRs: [],
    };
    return { observed, options: given };
  });

/** How much of each kind is as in the next world; the rest is as before. */
const share = fc.constantFrom(0, 0, 0.1, 1);
const shares = fc.record({ services: share, endpointSlices: share, nodes: fc.boolean(), options: fc.boolean() });
type Shares = { services: number; endpointSlices: number; nodes: boolean; options: boolean };

/** A world, and others that differ from the one before in a few objects or in all. */
const worlds = fc.tuple(world, fc.array(fc.tuple(world, shares), { maxLength: 8 })).map(([first, more]) => {
  const list = [first];
  for (const [other, of] of more) list.push(mixed(list.at(-1) ?? first, other, of));
  return list;
});

type World = { readonly observed: Observed; readonly options: PlanOptions };

function mixed(a: World, b: World, of: Shares): World {
  const [one, two] = [a.observed, b.observed];
  return {
    observed: {
      services: mix(one.services, two.services, of.services),
      endpointSlices: mix(one.endpointSlices, two.endpointSlices, of.endpointSlices),
      nodes: of.nodes ? two.nodes : one.nodes,
      serviceCIDRs: [],
    },
    options: of.options ? b.options : a.options,
  };
}

/** `part` of the names are as in `b`, the rest as in `a`. */
function mix<T extends Named>(a: readonly T[], b: readonly T[], part: number): T[] {
  const isOfB = ({ metadata }: T) => (hash32(`${metadata.namespace}/${metadata.name}`) % 100) / 100 < part;
  return [...a.filter((item) => !isOfB(item)), ...b.filter(isOfB)].sort(byName);
}

it("plans as if it had seen nothing before", () => {
  fc.assert(
    fc.property(worlds, (list) => {
      const planner = new Planner("n1");
      for (const { observed, options: given } of list)
        expect(planner.plan(observed, given)).toEqual(buildPlan(structuredClone(observed), "n1", given));
    }),
    { numRuns: 200 },
  );
});

it("keeps what it made of a Service that did not change, so that plans are compared quickly", () => {
  const planner = new Planner("n1");
  const objects = [service("web"), slice("web", [endpoint("10.0.1.1", "n1")]), service("other")].map(seen);
  const observed = (...more: readonly Observed[]): Observed => ({
    services: [...objects, ...more]
      .flatMap((one) => one.services)
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
    endpointSlices: [...more, ...objects].flatMap((one) => one.endpointSlices),
    nodes: [],
    serviceCIDRs: [],
  });
  const first = planner.plan(observed(), options);
  const second = planner.plan(observed(seen(slice("other", [endpoint("10.0.1.2")]))), options);
  const of = (plan: typeof first, key: string) => plan.services.find((one) => one.key === key);
  expect(of(first, "default/web")).toBe(of(second, "default/web"));
  expect(of(first, "default/other")).not.toEqual(of(second, "default/other"));
});
