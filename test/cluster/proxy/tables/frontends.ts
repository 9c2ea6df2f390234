// Which packets are a Service's at all: source ranges, ipMode, families, foreign Services, ports and addresses of nobody;
// and affinity.
import { placeOf } from "../places.ts";
import type { Section } from "./section.ts";

const endpoints = ["a1", "b1"];
const only = (name: string): string[] => [`${placeOf(name).addresses.IPv4}/32`, `${placeOf(name).addresses.IPv6}/128`];

export const sourceRanges: readonly Section[] = [
  {
    title: "source ranges: the client out-a and pod a2",
    service: { name: "ranges", endpoints, sourceRanges: [...only("out-a"), ...only("a2")] },
    lines: [
      ["out-a a2", "LoadBalancer", "a1* b1*"],
      ["out-b out-c", "LoadBalancer", "drop"],
      ["c2", "LoadBalancer", "drop", "pods are no exception"],
      ["a c", "LoadBalancer", "drop", "nor is the node, unless a range holds it"],
      ["out-c c2 c", "NodePort@c ExternalIP", "a1* b1*", "ranges are for the LoadBalancer's addresses alone"],
      ["c2", "ClusterIP", "a1 b1"],
      ["out-c", "ClusterIP", "a1* b1*"],
    ],
  },
  {
    title: "source ranges under external policy Local",
    service: { name: "ranges-local", endpoints, external: "Local", sourceRanges: only("out-a") },
    lines: [
      ["out-a", "LoadBalancer", "a1"],
      ["out-b a2 a", "LoadBalancer", "drop"],
      ["out-b", "ExternalIP", "b1"],
    ],
  },
  {
    title: "source ranges: node a's own address",
    service: { name: "ranges-node", endpoints, sourceRanges: only("a") },
    lines: [
      ["a", "LoadBalancer", "a1* b1*"],
      ["b a2 out-a", "LoadBalancer", "drop"],
    ],
  },
  {
    title: "source ranges: node a's own address, and the node has the LoadBalancer's address",
    service: { name: "ranges-own", endpoints, sourceRanges: only("a"), balancerOn: "a" },
    lines: [
      ["a", "LoadBalancer", "a1* b1*", "the packet's source is then that address"],
      ["a2 out-a", "LoadBalancer", "drop"],
    ],
  },
  {
    title: "source ranges without an endpoint",
    service: { name: "ranges-none", endpoints: [], sourceRanges: only("out-a") },
    lines: [
      ["out-a", "LoadBalancer", "reject"],
      [
        "out-b a2",
        "LoadBalancer",
        { otherwise: "drop", iptables: "reject" },
        "modes nftables and ipvs ask for the source first",
      ],
    ],
  },
  {
    title: "source ranges that hold everybody",
    service: { name: "ranges-all", endpoints, sourceRanges: ["0.0.0.0/0", "::/0"] },
    lines: [["out-a out-c a2 a", "LoadBalancer", "a1* b1*"]],
  },
  {
    title: "source ranges of IPv4 alone",
    service: { name: "ranges-four", endpoints, sourceRanges: [`${placeOf("out-a").addresses.IPv4}/32`] },
    lines: [
      ["out-a", "LoadBalancer", "a1* b1*"],
      ["out-c", "LoadBalancer", "drop", undefined, { families: ["IPv4"] }],
      ["out-c", "LoadBalancer", "a1* b1*", "a family without ranges has no restriction", { families: ["IPv6"] }],
    ],
  },
];

export const frontends: readonly Section[] = [
  {
    title: "the LoadBalancer's ipMode is Proxy",
    service: { name: "proxied", endpoints, ipMode: "Proxy" },
    lines: [
      ["a2 a out-a", "LoadBalancer", "gateway", "the balancer itself must see it"],
      ["a2 a out-a", "NodePort@a ExternalIP", "a1* b1*"],
    ],
  },
  {
    title: "ipMode Proxy with source ranges",
    service: { name: "proxied-ranges", endpoints, ipMode: "Proxy", sourceRanges: only("out-a") },
    lines: [["a2 a out-a out-c", "LoadBalancer", "gateway", "the balancer's matter"]],
  },
  {
    title: "ports and protocols that a Service has not",
    service: { name: "udp-only", endpoints, protocols: ["UDP"] },
    lines: [
      ["a2", "ClusterIP", "a1 b1", undefined, { protocols: ["UDP"] }],
      ["out-a", "NodePort@a", "a1* b1*", undefined, { protocols: ["UDP"] }],
      [
        "a2 a out-a",
        "ClusterIP ClusterIP:81",
        { otherwise: "reject", iptables: "gateway" },
        "iptables mode has rules for what is there alone",
        { protocols: ["TCP"] },
      ],
      [
        "a2 a out-a",
        "ClusterIP:81",
        { otherwise: "reject", iptables: "drop" },
        "reaches the gateway, too",
        { protocols: ["UDP"] },
      ],
      [
        "a2 a out-a",
        "LoadBalancer ExternalIP",
        { otherwise: "gateway", ipvs: "reject" },
        "in ipvs mode the node has these addresses itself",
        { protocols: ["TCP"] },
      ],
      ["a2 a out-a", "NodePort@a", "a", "another program's port", { protocols: ["TCP"] }],
    ],
  },
  {
    title: "an address of the Services' range that no Service has",
    service: { name: "nobody", endpoints },
    lines: [["a2 a out-a", "Unallocated", { otherwise: "gateway", nftables: "drop" }]],
  },
  {
    title: "a Service that another proxy serves",
    service: { name: "foreign", endpoints, labels: { "service.kubernetes.io/service-proxy-name": "other" } },
    lines: [
      ["a2 a", "ClusterIP", { otherwise: "gateway", nftables: "drop" }, "as an address of nobody"],
      ["a2 a out-a", "LoadBalancer ExternalIP", "gateway"],
      ["a2 a out-a", "NodePort@a", "a"],
    ],
  },
  {
    title: "a Service of IPv4 alone",
    service: { name: "four", endpoints, families: ["IPv4"] },
    lines: [
      ["a2", "ClusterIP", "a1 b1", undefined, { families: ["IPv4"] }],
      ["a2 a out-a", "NodePort@a LoadBalancer", "a1* b1*", undefined, { families: ["IPv4"] }],
      ["a2 a out-a", "NodePort@a", "a", undefined, { families: ["IPv6"] }],
      ["a2 a out-a", "LoadBalancer", "gateway", "its status names one of IPv6", { families: ["IPv6"] }],
    ],
  },
  {
    title: "a Service of IPv6 alone",
    service: { name: "six", endpoints, families: ["IPv6"] },
    lines: [
      ["a2", "ClusterIP", "a1 b1", undefined, { families: ["IPv6"] }],
      ["a2 a out-a", "NodePort@a LoadBalancer", "a1* b1*", undefined, { families: ["IPv6"] }],
      ["a2 a out-a", "NodePort@a", "a", undefined, { families: ["IPv4"] }],
      ["a2 a out-a", "LoadBalancer", "gateway", "its status names one of IPv4", { families: ["IPv4"] }],
    ],
  },
  {
    title: "the node's other addresses",
    service: { name: "addresses", endpoints },
    lines: [
      [
        "a2 a b out-a",
        "NodePort@a-secondary",
        { otherwise: "a1* b1*", nftables: "a" },
        "by default nftables mode serves the primary ones",
      ],
      [
        "a",
        "NodePort@localhost",
        { otherwise: "a", iptables: "a1* b1*" },
        "ipvs mode leaves loopback out of all addresses",
        { families: ["IPv4"] },
      ],
      ["a", "NodePort@localhost", "a", "the kernel routes no packet from ::1 away", { families: ["IPv6"] }],
    ],
  },
];

export const affinity: readonly Section[] = [
  {
    title: "affinity ClientIP",
    service: { name: "sticky", endpoints: ["a1", "b1", "c1"], affinity: "ClientIP" },
    lines: [
      ["a2 b2 c2", "ClusterIP", "one of a1 b1 c1"],
      ["a1", "ClusterIP", "one of a1* b1 c1"],
      ["a out-a out-b", "ClusterIP NodePort@a ExternalIP LoadBalancer", "one of a1* b1* c1*"],
    ],
  },
  {
    title: "affinity ClientIP, external policy Local",
    service: { name: "sticky-local", endpoints: ["a1", "a2", "b1"], affinity: "ClientIP", external: "Local" },
    lines: [
      ["out-a", "NodePort@a LoadBalancer", "one of a1 a2"],
      ["c2", "ClusterIP LoadBalancer", "one of a1 a2 b1"],
      ["out-c", "LoadBalancer", "drop"],
    ],
  },
];
