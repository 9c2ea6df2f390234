// What is remembered of a Service must never be told from what is made anew: each change is built twice, from the objects that
// were seen before and from copies of them.
import { expect, it } from "vitest";
import type { PlanOptions } from "../../../agent/plan/forwarding.ts";
import { Planner } from "../../../agent/plan/planner.ts";
import { buildSnapshot, type SnapshotOptions } from "../../../agent/plan/snapshot.ts";
import type { Observed } from "../../../agent/source/source.ts";
import { endpoint, node, service, slice } from "../source/objects.ts";
import { observe } from "./observe.ts";

const options: SnapshotOptions & PlanOptions = {
  defaultClass: false,
  allowExternalName: ["lan"],
  ignoreExcludeLabel: false,
  endpointAlgorithms: ["random"],
  resolved: new Map([["nas.lan", ["192.168.1.5"]]]),
  clusterDomain: "cluster.local",
  forwards: "nodePorts",
};
const external = { type: "ExternalName", externalName: "nas.lan", clusterIP: null, ports: [] };
const expose = { annotations: { "postern.dev/expose": "true" } };
const first = observe(
  node("n1", { labels: { "topology.kubernetes.io/zone": "a" } }),
  service("web", { selector: { app: "web" } }),
  slice("web", [endpoint("10.0.1.1", "n1"), endpoint("10.0.1.2", "n2")]),
  service("classless", { loadBalancerClass: null, selector: { app: "none" } }),
  service("nas", external, expose),
);

const changes: [string, Partial<Observed>, Partial<typeof options>][] = [
  ["nothing", {}, {}],
  ["a slice comes to a Service", { endpointSlices: [...first.endpointSlices, ...second("web")] }, {}],
  ["its slices go", { endpointSlices: [] }, {}],
  [
    "a pod turns unready",
    { endpointSlices: observe(slice("web", [endpoint("10.0.1.1", "n1", { ready: false })])).endpointSlices },
    {},
  ],
  ["a Service changes", { services: observe(service("web", { ports: [{ port: 81 }] })).services }, {}],
  [
    "a node changes its weight",
    { nodes: observe(node("n1", { annotations: { "postern.dev/weight": "9" } })).nodes },
    {},
  ],
  ["a node changes its zone", { nodes: observe(node("n1")).nodes }, {}],
  ["the default class is ours", {}, { defaultClass: true }],
  ["no external name is allowed", {}, { allowExternalName: [] }],
  ["a name resolves to something else", {}, { resolved: new Map() }],
  ["slices are known to follow", { endpointSlices: [] }, { slicesFollow: true }],
  ["a port is silent", {}, { silent: new Map([["default/web", [80]]]) }],
];

function second(name: string): Observed["endpointSlices"] {
  return observe(slice(name, [endpoint("10.0.1.3", "n1")], {}, `${name}-2`)).endpointSlices;
}

it.each(changes)("%s", (_what, observed, more) => {
  const planners = ["n1", "n2"].map((name) => new Planner(name));
  const build = (seen: Observed, given: typeof options) => ({
    snapshot: buildSnapshot(seen, given),
    plans: planners.map((planner) => planner.plan(seen, given)),
  });
  const before = build(first, options);
  const now = { ...first, ...observed };
  const asked = { ...options, ...more };
  expect(build(now, asked)).toEqual(build(structuredClone(now), asked));
  // And back again.
  expect(build(first, options)).toEqual(before);
});
