// Where everything of the test cluster is: names, addresses, folders. Plain data, no effects.
// One cluster a machine: network namespaces and the work folder have fixed names, so that `down` finds what a crashed
// `up` left. All state is under `work`, and `down` removes it; what is built is in the cache (cache.ts) and stays.
export const work = "/var/lib/postern-cluster";

/** Outside of both the pods' and the Services' range, as a home's LAN would be. */
export const control = { netns: "cp", bridge: "br0", address: "10.90.0.1", prefix: 24 } as const;
/** Its listener ports and API are open in the control plane's namespace. Names below `domain` lead there, in pods too. */
export const edge = { domain: "edge.test", port: 8787, cluster: "home", folder: `${work}/edge` } as const;
/** A server that is no part of the cluster, as a NAS would be: names below `domain` lead there, on the nodes too. */
export const outside = { domain: "outside.test", address: "10.90.0.200" } as const;
/** What does a service proxy's work on the nodes: kube-proxy, or the agent in its place by that mode. */
export const proxies = ["kube-proxy", "nftables", "iptables", "ipvs"] as const;
export type Proxy = (typeof proxies)[number];
/** Its nodes are virtual machines, for few kernels that tests run on have ip_vs. Each of them has one slow processor. */
export const needsMachines = (proxy: Proxy): boolean => proxy === "ipvs";
export const apiServer = `https://${control.address}:6443`;
export const podRange = "10.244.0.0/16";
export const serviceRange = "10.96.0.0/16";
/** The Service `kubernetes`. */
export const anyService = "10.96.0.1";

export interface NodePlace {
  readonly name: string;
  readonly netns: string;
  readonly address: string;
  readonly podRange: string;
  /** One each, as Kubernetes' tests of traffic distribution want it. */
  readonly zone: string;
  readonly folder: string;
  readonly containerd: string;
}

export const nodes: readonly NodePlace[] = [1, 2, 3].map((number) => ({
  name: `n${number}`,
  netns: `n${number}`,
  address: `10.90.0.${10 + number}`,
  podRange: `10.244.${number}.0/24`,
  zone: `z${number}`,
  folder: `${work}/n${number}`,
  containerd: `${work}/n${number}/containerd.sock`,
}));

/** What the API server answered to the agents' account: one line of JSON for each request that has ended. */
export const auditLog = `${work}/control/audit.log`;
export const kubeconfig = (user: string): string => `${work}/control/${user}.kubeconfig`;
/** Works from any namespace, unlike the program that it calls. */
export const kubectl = `${work}/kubectl`;

/** Prefix that runs a program inside a namespace. Not `ip netns exec`: that mounts /sys anew, and control groups are gone. */
export const inside = (netns: string): string[] => ["nsenter", `--net=/run/netns/${netns}`];
