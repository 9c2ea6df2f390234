// Traffic policies: who gets which endpoints, and who is masqueraded.
import type { Section } from "./section.ts";

/** Pods a1 and b1 are endpoints, a2, b2 and c2 are not; node c has no endpoint. */
const endpoints = ["a1", "b1"];

export const oneList = "ipvs has one list of endpoints for a frontend, whoever asks";
/** In mode ipvs nothing is left to be chosen, and the kernel says so itself. */
export const elsewhereOnly = "endpoints are elsewhere only; kube-proxy's ipvs mode falls back to them";
export const nodeItself =
  "so does the node itself; in ipvs mode its packets have the frontend's address as their source, and kube-proxy leaves it to them";

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
        `the cluster's own pods get any endpoint, and are not masqueraded; ${oneList}`,
      ],
      ["a1", "ExternalIP LoadBalancer", { otherwise: "a1* b1", ipvs: "a1*" }, oneList],
      ["c2", "NodePort@c ExternalIP LoadBalancer", "a1 b1", "also where there is none"],
      [
        "a",
        "NodePort@a ExternalIP LoadBalancer",
        { otherwise: "a1* b1*", ipvs: "a1*, but kube-proxy: a1" },
        nodeItself,
      ],
      ["c", "NodePort@c", { otherwise: "a1* b1*", ipvs: "a1* b1*, but kube-proxy: a1 b1" }, nodeItself],
      ["c", "ExternalIP LoadBalancer", { otherwise: "a1* b1*", ipvs: "a1* b1*, but kube-proxy: drop" }, nodeItself],
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
      ["c2", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1 b1" }, elsewhereOnly],
      ["c out-c", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1* b1*" }, elsewhereOnly],
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
      ["c2", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1 b1" }, elsewhereOnly],
      ["c", "ClusterIP", { otherwise: "drop", ipvs: "reject, but kube-proxy: a1* b1*" }, elsewhereOnly],
      ["a2", "LoadBalancer", { otherwise: "a1 b1", ipvs: "a1" }, oneList],
      ["c2", "LoadBalancer", "a1 b1"],
      ["a", "LoadBalancer", { otherwise: "a1* b1*", ipvs: "a1*, but kube-proxy: a1" }, nodeItself],
      ["c", "LoadBalancer", { otherwise: "a1* b1*", ipvs: "a1* b1*, but kube-proxy: drop" }, nodeItself],
      ["out-a", "LoadBalancer", "a1"],
      ["out-c", "LoadBalancer", "drop"],
    ],
  },
];
