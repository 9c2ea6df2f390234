// All tables. Each is played with the program started anew on every node, with the table's options.
import type { Options } from "../programs.ts";
import type { ServiceSpec } from "../objects.ts";
import { nodes } from "../places.ts";
import { endpoints, hints } from "./endpoints.ts";
import { affinity, frontends, sourceRanges } from "./frontends.ts";
import { nodeItself, oneList, policies } from "./policies.ts";
import type { Section } from "./section.ts";

export interface Table {
  readonly name: string;
  readonly options: Options;
  readonly sections: readonly Section[];
}

const pods = ["a1", "b1"];
/** Why mode ipvs masquerades the node's own packets, which it knows by that. */
const ofFrontend = "in ipvs mode their source is the frontend's address";

const usual: Table = {
  name: "usual",
  options: {},
  sections: [...policies, ...endpoints, ...hints, ...sourceRanges, ...frontends, ...affinity],
};

const masqueradeAll: Table = {
  name: "masqueradeAll",
  options: { masqueradeAll: true },
  sections: [
    {
      title: "both policies Cluster",
      service: { name: "all-web", endpoints: pods },
      lines: [
        ["a2 a1 a c2 out-a", "ClusterIP", "a1* b1*"],
        ["a2 out-a", "LoadBalancer", "a1* b1*"],
      ],
    },
    {
      title: "external policy Local",
      service: { name: "all-local", endpoints: pods, external: "Local" },
      lines: [
        ["a2", "LoadBalancer", { otherwise: "a1 b1", ipvs: "a1" }, `masqueradeAll is for ClusterIPs; ${oneList}`],
        ["out-a", "LoadBalancer NodePort@a", "a1"],
      ],
    },
  ],
};

const undetected: Table = {
  name: "no detection of pods",
  options: { detectsPods: false },
  sections: [
    {
      title: "both policies Cluster",
      service: { name: "undetected-web", endpoints: pods },
      lines: [
        ["a2", "ClusterIP", "a1 b1", "nobody is known to be outside"],
        ["a", "ClusterIP", { otherwise: "a1 b1", ipvs: "a1* b1*" }, ofFrontend],
        ["a1", "ClusterIP", "a1* b1"],
        ["a2 a out-a", "NodePort@a LoadBalancer", "a1* b1*"],
      ],
    },
    {
      title: "both policies Local",
      service: { name: "undetected-local", endpoints: pods, external: "Local", internal: "Local" },
      lines: [
        ["out-a a2", "ClusterIP", "a1"],
        ["a", "ClusterIP", { otherwise: "a1", ipvs: "a1*" }, ofFrontend],
        ["a2 out-a", "LoadBalancer NodePort@a", "a1", "a pod is like anybody outside"],
        ["c2", "LoadBalancer", { otherwise: "drop", ipvs: "a1 b1" }, "ipvs mode falls back to all endpoints"],
        ["a", "LoadBalancer", { otherwise: "a1* b1*", ipvs: "a1*, but kube-proxy: a1" }, nodeItself],
        ["c", "LoadBalancer", { otherwise: "a1* b1*", ipvs: "a1* b1*, but kube-proxy: drop" }, nodeItself],
      ],
    },
  ],
};

const addresses: Table = {
  name: "nodePortAddresses",
  options: { nodePortAddresses: { nftables: ["0.0.0.0/0", "::/0"], iptables: ["primary"], ipvs: ["primary"] } },
  sections: [
    {
      title: "the node's other addresses",
      service: { name: "other-addresses", endpoints: pods },
      lines: [
        ["a2 a out-a", "NodePort@a", "a1* b1*"],
        ["a2 out-a", "NodePort@a-secondary", { otherwise: "a", nftables: "a1* b1*" }],
        [
          "a",
          "NodePort@a-secondary",
          { otherwise: "a", nftables: "a1* b1*", ipvs: "a*" },
          "ipvs mode knows a NodePort by its number, whichever of the node's addresses is asked: what the node asks itself is masqueraded",
        ],
        ["a", "NodePort@localhost", "a", undefined, { families: ["IPv4"] }],
      ],
    },
  ],
};

/** The nodes' own IPv4 addresses; nothing is said of IPv6. */
const own = nodes.map((node) => `${node.addresses.IPv4}/32`);
const addressesOfOne: Table = {
  name: "nodePortAddresses of IPv4 alone",
  options: { nodePortAddresses: { nftables: own, iptables: own, ipvs: own } },
  sections: [
    {
      title: "the node's other addresses",
      service: { name: "addresses-of-one", endpoints: pods },
      lines: [
        ["a2 a out-a", "NodePort@a", "a1* b1*"],
        ["a2 out-a", "NodePort@a-secondary", "a", undefined, { families: ["IPv4"] }],
        ["a2 out-a", "NodePort@a-secondary", "a1* b1*", "what IPv4 has does not restrict IPv6", { families: ["IPv6"] }],
      ],
    },
  ],
};

export const tables: readonly Table[] = [usual, masqueradeAll, undetected, addresses, addressesOfOne];

/** Every Service has the number of its place in here. */
export const services: readonly ServiceSpec[] = tables.flatMap(({ sections }) =>
  sections.map(({ service }) => service),
);
