// How this node's kernel forwards, as the command line and a KubeProxyConfiguration say it. Parsed elsewhere (agent/options.ts);
// the three executors, and what surrounds them, read it. Defaults are kube-proxy's unless a comment says otherwise.
import type { Family } from "../../plan/endpoints.ts";

export const proxyModes = ["nftables", "iptables", "ipvs"] as const;
export type ProxyMode = (typeof proxyModes)[number];

/** How to tell traffic of this node's pods from traffic that comes from outside; "none": it cannot be told. */
export type LocalDetector =
  | { readonly kind: "none" }
  /** Sources within these CIDRs: the pods of the whole cluster. */
  | { readonly kind: "cluster-cidr"; readonly cidrs: readonly string[] }
  /** Sources within the pod CIDRs of this Node object. */
  | { readonly kind: "node-cidr" }
  /** Traffic that comes in by this interface. By name, so that one which is made later counts too. */
  | { readonly kind: "interface"; readonly name: string }
  /** Traffic that comes in by an interface whose name begins so. */
  | { readonly kind: "interface-prefix"; readonly prefix: string };

export interface KernelSettings {
  readonly mode: ProxyMode;
  readonly families: readonly Family[];
  readonly localDetector: LocalDetector;
  readonly masqueradeAll: boolean;
  /** The one bit of the packet mark that is ours: 1 << 14 = 0x4000. */
  readonly masqueradeBit: number;
  /**
   * Where NodePorts are served: "primary" (the node's own addresses in the API), "localhost", "all", or CIDRs of local addresses.
   * Empty: "primary" with nftables, "all" with iptables and ipvs.
   */
  readonly nodePortAddresses: readonly string[];
  /** iptables only: NodePorts answer at 127.0.0.1 too. */
  readonly localhostNodePorts: boolean;
  /** A failed sync is tried again, whole, after this time, ms. */
  readonly syncPeriodMs: number;
  /** At least this time, ms, from the end of a sync to the begin of the next. */
  readonly minSyncPeriodMs: number;
  readonly ipvs: {
    readonly scheduler: string;
    readonly excludeCIDRs: readonly string[];
    readonly strictARP: boolean;
    /** Seconds; 0: as the kernel has it. */
    readonly tcpTimeout: number;
    readonly tcpFinTimeout: number;
    readonly udpTimeout: number;
  };
}

export const defaultSettings: KernelSettings = {
  mode: "nftables",
  families: ["IPv4", "IPv6"],
  localDetector: { kind: "none" },
  masqueradeAll: false,
  masqueradeBit: 14,
  nodePortAddresses: [],
  localhostNodePorts: true,
  syncPeriodMs: 30_000,
  minSyncPeriodMs: 1_000,
  ipvs: { scheduler: "rr", excludeCIDRs: [], strictARP: false, tcpTimeout: 0, tcpFinTimeout: 0, udpTimeout: 0 },
};
