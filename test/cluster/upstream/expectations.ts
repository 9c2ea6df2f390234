// What Kubernetes' own tests shall find, by suite: plain data. A spec that is not named here, or named here and gone from
// Kubernetes, is a difference as well (results.ts), so that a newer Kubernetes cannot add one unseen.

import type { Wishes } from "../harness/cluster.ts";
import type { Proxy } from "../harness/places.ts";
import { machineSpecs, proxySpecs } from "./proxy-specs.ts";

/** "left out": never run, since it tests what Postern does not offer. "failed": this machine cannot do it, whoever forwards. */
export type Expected = "passed" | "skipped" | "failed" | "left out";

export interface Spec {
  readonly name: string;
  readonly expected: Expected;
  /** Why it is not simply passed. */
  readonly why?: string;
}

export interface Suite {
  /** Regular expression over the names: matched by ginkgo (Go) and here, so of what both understand. */
  readonly focus: string;
  /** Regular expression of names that are no part of it; absent: none. */
  readonly skip?: string;
  /** The cluster on which it runs. */
  readonly cluster: Omit<Wishes, "proxy">;
  /** What forwards to Services while it runs: all of it is run with each of them, on a cluster of its own. Absent: kube-proxy. */
  readonly proxies?: readonly Proxy[];
  readonly specs: readonly Spec[];
}

const balancers = "[sig-network] LoadBalancers [Feature:LoadBalancer]";
const local = "[sig-network] LoadBalancers ExternalTrafficPolicy: Local [Feature:LoadBalancer] [Slow]";

const passed = (name: string): Spec => ({ name, expected: "passed" });
const udp = (name: string): Spec => ({
  name,
  expected: "left out",
  why: "UDP: Postern carries HTTP and what upgrades from it",
});
const proxied = (name: string): Spec => ({
  name,
  expected: "skipped",
  why: "skips itself where the address is a host name: it wants the packet's source, which is in Forwarded here",
});

export const suites: Readonly<Record<string, Suite>> = {
  loadbalancer: {
    focus: "\\[sig-network\\] LoadBalancers.*\\[Feature:LoadBalancer\\]",
    cluster: { refuse: "reset" },
    specs: [
      passed(`${balancers} should be able to change the type and ports of a TCP service [Slow]`),
      udp(`${balancers} should be able to change the type and ports of a UDP service [Slow]`),
      passed(`${balancers} should only allow access from service loadbalancer source ranges [Slow]`),
      passed(
        `${balancers} should have session affinity work for LoadBalancer service with Local traffic policy [Slow] [LinuxOnly]`,
      ),
      passed(
        `${balancers} should be able to switch session affinity for LoadBalancer service with Local traffic policy [Slow] [LinuxOnly]`,
      ),
      passed(
        `${balancers} should have session affinity work for LoadBalancer service with Cluster traffic policy [Slow] [LinuxOnly]`,
      ),
      passed(
        `${balancers} should be able to switch session affinity for LoadBalancer service with Cluster traffic policy [Slow] [LinuxOnly]`,
      ),
      passed(`${balancers} should handle load balancer cleanup finalizer for service [Slow]`),
      passed(`${balancers} should be able to create LoadBalancer Service without NodePort and change it [Slow]`),
      udp(
        `${balancers} should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on different nodes`,
      ),
      udp(
        `${balancers} should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on the same nodes`,
      ),
      passed(
        `${balancers} should not have connectivity disruption during rolling update with externalTrafficPolicy=Cluster [Slow]`,
      ),
      passed(
        `${balancers} should not have connectivity disruption during rolling update with externalTrafficPolicy=Local [Slow]`,
      ),
      proxied(`${local} should work for type=LoadBalancer`),
      passed(`${local} should only target nodes with endpoints`),
      passed(`${local} should target all nodes with endpoints`),
      proxied(`${local} should work from pods`),
    ],
  },
  // Of no edge, but of what forwards to Services on the nodes.
  proxy: {
    focus:
      "\\[sig-network\\] (Services|Networking Granular Checks:|Conntrack|EndpointSlice|Connectivity|Traffic Distribution|KubeProxy) ",
    skip: "\\[Disruptive\\]|\\[Feature:|SCTP",
    cluster: { bare: true },
    proxies: ["kube-proxy", "nftables", "iptables"],
    specs: proxySpecs,
  },
  // The same in mode ipvs, of which virtual machines can carry a part.
  ipvs: {
    // None of these names is how another one begins that is not here.
    focus: `(${machineSpecs.map(({ name }) => verbatim(name)).join("|")})`,
    cluster: { bare: true },
    proxies: ["ipvs"],
    specs: machineSpecs,
  },
};

/** As a regular expression, of Go's too. */
export function verbatim(name: string): string {
  return name.replace(/[^\w ]/g, "\\$&");
}
