// Traffic policies: who gets which endpoints, and who is masqueraded.
import type { Section } from "./section.ts";

/** Pods a1 and b1 are endpoints, a2, b2 and c2 are not; node c has no endpoint. */
const endpoints = ["a1", "b1"];

export const policies: readonly Section[] = [
  {
    title: "both policies Cluster",
    service: { name: "web", endpoints },
    lines: [
      ["a2 c2", "ClusterIP", "a1 b1"],
      ["a1", "ClusterIP", "a1* b1", "a pod that gets itself would answer itself: only that way is masqueraded"],
      ["a c", "ClusterIP", "a1* b1*", "the node is no pod"],
      ["out-a out-c", "ClusterIP", "a1* b1*", "a node serves ClusterIPs to whoever routes to it"],
      ["a2 c2 a c b", "NodePort@a", "a1* b1*"],
      ["a1", "NodePort@a", "a1* b1*"],
      ["out-a", "NodePort@a NodePort@c", "a1* b1*"],
      ["a2 a1 c2 a c out-a out-c", "ExternalIP LoadBalancer", "a1* b1*"],
    ],
  },
  {
    title: "external policy Local",
    service: { name: "external-local", endpoints, external: "Local" },
    lines: [
      ["a2 c2", "ClusterIP", "a1 b1", "the external policy does not touch it"],
      ["a1", "ClusterIP", "a1* b1"],
      ["a c out-a out-c", "ClusterIP", "a1* b1*"],
      [
        "a2",
        "NodePort@a ExternalIP LoadBalancer",
        { otherwise: "a1 b1", ipvs: "a1" },
        "the cluster's own pods get any endpoint, and are not masqueraded",
      ],
      ["a1", "ExternalIP LoadBalancer", { otherwise: "a1* b1", ipvs: "a1*" }],
      ["c2", "NodePort@c ExternalIP LoadBalancer", "a1 b1", "also where there is none"],
      ["a", "NodePort@a ExternalIP LoadBalancer", { otherwise: "a1* b1*", ipvs: "a1*" }, "so does the node itself"],
      ["c", "NodePort@c ExternalIP LoadBalancer", "a1* b1*"],
      ["out-a", "NodePort@a ExternalIP LoadBalancer", "a1"],
      ["out-b", "ExternalIP LoadBalancer", "b1"],
      ["b out-c", "NodePort@a", "a1", "another node is outside, too"],
      ["out-a b", "NodePort@c", "drop", "endpoints are elsewhere only"],
      [
        "a2",
        "NodePort@b",
        { otherwise: "b1 drop", ipvs: "b1" },
        "by its address another node's pod is taken for one of this node: a1 may be chosen, whose answer does not come back through node b",
      ],
      ["out-c", "ExternalIP LoadBalancer", "drop"],
    ],
  },
  {
    title: "internal policy Local",
    service: { name: "internal-local", endpoints, internal: "Local" },
    lines: [
      ["a2", "ClusterIP", "a1"],
      ["b2", "ClusterIP", "b1"],
      ["a1", "ClusterIP", "a1*"],
      ["a out-a", "ClusterIP", "a1*"],
      ["c2", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1 b1" }, "endpoints are elsewhere only"],
      ["c out-c", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1* b1*" }],
      ["a2 c2 a c", "ExternalIP LoadBalancer", "a1* b1*", "the internal policy does not touch them, inside neither"],
      ["out-a out-c", "ExternalIP LoadBalancer", "a1* b1*"],
      ["a2 a out-a", "NodePort@a NodePort@c", "a1* b1*"],
    ],
  },
  {
    title: "both policies Local",
    service: { name: "both-local", endpoints, external: "Local", internal: "Local" },
    lines: [
      ["a2", "ClusterIP", "a1"],
      ["a", "ClusterIP", "a1*"],
      ["c2", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1 b1" }],
      ["c", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1* b1*" }],
      ["a2", "LoadBalancer", { otherwise: "a1 b1", ipvs: "a1" }],
      ["c2", "LoadBalancer", "a1 b1"],
      ["a", "LoadBalancer", { otherwise: "a1* b1*", ipvs: "a1*" }],
      ["c", "LoadBalancer", "a1* b1*"],
      ["out-a", "LoadBalancer", "a1"],
      ["out-c", "LoadBalancer", "drop"],
    ],
  },
];
