// Which endpoints are usable: none, only some that are ending, hints, and how many.
import type { Line } from "../row.ts";
import { elsewhereOnly, nodeItself, oneList } from "./policies.ts";
import type { Section } from "./section.ts";

const local = { external: "Local", internal: "Local" } as const;
const everyWay = "ClusterIP NodePort@a ExternalIP LoadBalancer";

/** No endpoint is usable, here or elsewhere. */
const nothing = (because?: string): Line[] => [
  ["a2 out-a", everyWay, "reject", because],
  ["a", "ClusterIP NodePort@a", "reject", because],
  [
    "a",
    "ExternalIP LoadBalancer",
    { otherwise: "reject", iptables: "reject, but kube-proxy: gateway" },
    "in iptables mode kube-proxy rejects these in INPUT and FORWARD alone, so that the node's own packets leave it",
  ],
];

export const endpoints: readonly Section[] = [
  {
    title: "no endpoint",
    service: { name: "none", endpoints: [] },
    lines: nothing(),
  },
  {
    title: "no endpoint, both policies Local",
    service: { name: "none-local", endpoints: [], ...local },
    lines: nothing("nowhere, and so not a matter of the policy"),
  },
  {
    title: "only endpoints that do not serve any more, or not yet",
    service: {
      name: "unusable",
      endpoints: [
        { pod: "a1", state: "gone" },
        { pod: "b1", state: "unready" },
      ],
    },
    lines: nothing(),
  },
  {
    title: "only ending endpoints",
    service: {
      name: "ending",
      endpoints: [
        { pod: "a1", state: "ending" },
        { pod: "b1", state: "ending" },
      ],
    },
    lines: [
      ["a2", "ClusterIP", "a1 b1", "better than nothing"],
      ["a out-a", everyWay, "a1* b1*"],
    ],
  },
  {
    title: "only ending endpoints, both policies Local",
    service: {
      name: "ending-local",
      endpoints: [
        { pod: "a1", state: "ending" },
        { pod: "b1", state: "ending" },
      ],
      ...local,
    },
    lines: [
      ["a2", "ClusterIP", "a1"],
      ["out-a", "NodePort@a ExternalIP LoadBalancer", "a1"],
      ["a2", "LoadBalancer", { otherwise: "a1 b1", ipvs: "a1" }, oneList],
      ["c2", "LoadBalancer", "a1 b1"],
      ["c2", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1 b1" }, elsewhereOnly],
      ["out-c", "NodePort@c LoadBalancer", "drop"],
    ],
  },
  {
    title: "one ending endpoint, one ready",
    service: { name: "replaced", endpoints: [{ pod: "a1", state: "ending" }, "b1"] },
    lines: [
      ["a2", "ClusterIP", "b1"],
      ["a out-a", everyWay, "b1*"],
    ],
  },
  {
    title: "ending here, ready elsewhere, both policies Local",
    service: { name: "replaced-local", endpoints: [{ pod: "a1", state: "ending" }, "b1"], ...local },
    lines: [
      ["a2", "ClusterIP", "a1", "the node's own view has only that one"],
      ["out-a", "NodePort@a ExternalIP LoadBalancer", "a1"],
      ["a2", "LoadBalancer", { otherwise: "b1", ipvs: "a1" }, `the cluster's view has a ready one; ${oneList}`],
      ["a", "LoadBalancer", { otherwise: "b1*", ipvs: "a1*, but kube-proxy: a1" }, nodeItself],
      ["out-b", "LoadBalancer", "b1"],
    ],
  },
  {
    title: "gone here, ready elsewhere, both policies Local",
    service: { name: "moved-local", endpoints: [{ pod: "a1", state: "gone" }, "b1"], ...local },
    lines: [
      ["a2", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: b1" }, elsewhereOnly],
      ["a", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: b1*" }, elsewhereOnly],
      ["out-a", "NodePort@a ExternalIP LoadBalancer", "drop"],
      ["a2", "LoadBalancer", "b1"],
      ["b2", "ClusterIP", "b1"],
    ],
  },
  {
    title: "the same endpoint in two slices, ending in one of them",
    service: { name: "twice", endpoints: [{ pod: "a1", state: "ending" }, "b1"], moreEndpoints: ["a1"] },
    lines: [["a2", "ClusterIP", "a1 b1", "what is not ending counts"]],
  },
  {
    title: "one endpoint",
    service: { name: "single", endpoints: ["b1"] },
    lines: [
      ["a2", "ClusterIP", "b1"],
      ["b1", "ClusterIP", "b1*"],
      ["out-a", everyWay, "b1*"],
    ],
  },
  {
    title: "six endpoints",
    service: { name: "many", endpoints: ["a1", "a2", "b1", "b2"], moreEndpoints: ["c1", "c2"] },
    lines: [
      ["a2", "ClusterIP", "a1 a2* b1 b2 c1 c2"],
      ["out-a", everyWay, "a1* a2* b1* b2* c1* c2*"],
    ],
  },
  {
    title: "three endpoints, the odd one out of a power of two",
    service: { name: "three", endpoints: ["a1", "b1", "c1"] },
    lines: [
      ["a2", "ClusterIP", "a1 b1 c1"],
      ["a", "NodePort@a", "a1* b1* c1*"],
    ],
  },
];

export const hints: readonly Section[] = [
  {
    title: "zone hints (nodes a and b are in z1, c is in z2)",
    service: {
      name: "zones",
      endpoints: [
        { pod: "a1", zones: ["z1"] },
        { pod: "c1", zones: ["z2"] },
      ],
    },
    lines: [
      ["a2 b2", "ClusterIP", "a1"],
      ["c2", "ClusterIP", "c1"],
      ["a out-a", "ClusterIP NodePort@a LoadBalancer", "a1*", "hints hold for every frontend of policy Cluster"],
      ["out-c", "NodePort@c ExternalIP", "c1*"],
    ],
  },
  {
    title: "a zone hint is missing",
    service: { name: "zones-missing", endpoints: [{ pod: "a1", zones: ["z1"] }, "c1"] },
    lines: [["a2 c2", "ClusterIP", "a1 c1", "one without a hint turns them off"]],
  },
  {
    title: "an ending endpoint has no hint",
    service: {
      name: "zones-ending",
      endpoints: [
        { pod: "a1", zones: ["z1"] },
        { pod: "c1", zones: ["z2"] },
        { pod: "b1", state: "ending" },
      ],
    },
    lines: [["a2", "ClusterIP", "a1", "only ready ones are asked for their hints"]],
  },
  {
    title: "no hint names this zone",
    service: {
      name: "zones-elsewhere",
      endpoints: [
        { pod: "a1", zones: ["z1"] },
        { pod: "b1", zones: ["z1"] },
      ],
    },
    lines: [["c2", "ClusterIP", "a1 b1"]],
  },
  {
    title: "zone hints under external policy Local",
    service: {
      name: "zones-local",
      external: "Local",
      endpoints: [
        { pod: "a1", zones: ["z2"] },
        { pod: "c1", zones: ["z1"] },
      ],
    },
    lines: [
      ["out-a", "NodePort@a LoadBalancer", "a1", "the node's own view knows no hints"],
      ["a2", "ClusterIP", "c1"],
      ["a2", "LoadBalancer", { otherwise: "c1", ipvs: "a1" }, oneList],
    ],
  },
  {
    title: "node hints, and zone hints behind them",
    service: {
      name: "node-hints",
      endpoints: [
        { pod: "a1", nodes: ["a"], zones: ["z1"] },
        { pod: "b1", nodes: ["b"], zones: ["z2"] },
      ],
    },
    lines: [
      ["a2", "ClusterIP", "a1"],
      ["b2", "ClusterIP", "b1", "the node goes before its zone, whose hint names a1"],
      ["c2", "ClusterIP", "b1", "no hint names node c: then the zone"],
    ],
  },
  {
    title: "a node hint is missing",
    service: {
      name: "node-hints-missing",
      endpoints: [{ pod: "a1", nodes: ["a"] }, "b1"],
    },
    lines: [["a2", "ClusterIP", "a1 b1"]],
  },
];
