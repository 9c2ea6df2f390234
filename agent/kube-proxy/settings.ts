// What the agent does in kube-proxy's place, from the command line and a KubeProxyConfiguration; the command line wins. The
// defaults are kube-proxy's, except for the mode. Pure.
import type { ConntrackSettings } from "../dataplane/kernel/sysctls.ts";
import {
  defaultSettings,
  type KernelSettings,
  type LocalDetector,
  type ProxyMode,
} from "../dataplane/kernel/settings.ts";
import { HEALTH_PORT, type HostAndPort, type KubeProxyConfig, METRICS_PORT } from "./config.ts";

export interface ProxySettings {
  readonly kernel: KernelSettings;
  readonly conntrack: ConntrackSettings;
  /** /healthz and /livez, for load balancers and Kubernetes. */
  readonly healthAddress: HostAndPort;
  /** /metrics and /proxyMode. */
  readonly metricsAddress: HostAndPort;
}

/** What the command line says, where it says something. */
export interface ProxyFlags {
  readonly clusterCIDRs: readonly string[] | undefined;
  readonly healthAddress: HostAndPort | undefined;
  readonly metricsAddress: HostAndPort | undefined;
}

export function proxySettings(mode: ProxyMode, config: Partial<KubeProxyConfig>, flags: ProxyFlags): ProxySettings {
  const [any, loopback] = config.bindAddress?.includes(":") === true ? ["::", "::1"] : ["0.0.0.0", "127.0.0.1"];
  return {
    kernel: kernelSettings(mode, config, flags.clusterCIDRs),
    conntrack: conntrackSettings(config.conntrack),
    healthAddress: flags.healthAddress ?? config.healthzBindAddress ?? { host: any, port: HEALTH_PORT },
    metricsAddress: flags.metricsAddress ?? config.metricsBindAddress ?? { host: loopback, port: METRICS_PORT },
  };
}

function kernelSettings(
  mode: ProxyMode,
  config: Partial<KubeProxyConfig>,
  clusterCIDRs: readonly string[] | undefined,
): KernelSettings {
  const { iptables, nftables, ipvs } = config;
  // ipvs masquerades by iptables rules, and has their settings.
  const masquerade = mode === "nftables" ? nftables : iptables;
  const sync = { nftables, iptables, ipvs }[mode];
  const seconds = (ms: number | undefined) => Math.round((ms ?? 0) / 1000);
  return {
    mode,
    families: defaultSettings.families,
    localDetector: localDetector(config, clusterCIDRs),
    masqueradeAll: masquerade?.masqueradeAll ?? defaultSettings.masqueradeAll,
    masqueradeBit: masquerade?.masqueradeBit ?? defaultSettings.masqueradeBit,
    nodePortAddresses: config.nodePortAddresses ?? [],
    localhostNodePorts: iptables?.localhostNodePorts ?? defaultSettings.localhostNodePorts,
    // 0 is "not set" to kube-proxy.
    syncPeriodMs: sync?.syncPeriod || defaultSettings.syncPeriodMs,
    minSyncPeriodMs: sync?.minSyncPeriod || (mode === "ipvs" ? 0 : defaultSettings.minSyncPeriodMs),
    ipvs: {
      scheduler: ipvs?.scheduler ?? defaultSettings.ipvs.scheduler,
      excludeCIDRs: ipvs?.excludeCIDRs ?? [],
      strictARP: ipvs?.strictARP ?? false,
      tcpTimeout: seconds(ipvs?.tcpTimeout),
      tcpFinTimeout: seconds(ipvs?.tcpFinTimeout),
      udpTimeout: seconds(ipvs?.udpTimeout),
    },
  };
}

function localDetector(
  { detectLocalMode = "ClusterCIDR", detectLocal, clusterCIDR }: Partial<KubeProxyConfig>,
  flag: readonly string[] | undefined,
): LocalDetector {
  if (flag !== undefined) return { kind: "cluster-cidr", cidrs: flag };
  switch (detectLocalMode) {
    case "NodeCIDR":
      return { kind: "node-cidr" };
    case "BridgeInterface":
      return { kind: "interface", name: detectLocal?.bridgeInterface ?? "" };
    case "InterfaceNamePrefix":
      return { kind: "interface-prefix", prefix: detectLocal?.interfaceNamePrefix ?? "" };
    default:
      return clusterCIDR === undefined ? { kind: "none" } : { kind: "cluster-cidr", cidrs: clusterCIDR };
  }
}

/** Of these 0 is a value: leave it as the kernel has it. */
function conntrackSettings(config: KubeProxyConfig["conntrack"]): ConntrackSettings {
  const seconds = (ms: number) => Math.round(ms / 1000);
  return {
    maxPerCore: config?.maxPerCore ?? 32_768,
    min: config?.min ?? 131_072,
    tcpEstablishedSeconds: seconds(config?.tcpEstablishedTimeout ?? 24 * 3_600_000),
    tcpCloseWaitSeconds: seconds(config?.tcpCloseWaitTimeout ?? 3_600_000),
    tcpBeLiberal: config?.tcpBeLiberal ?? false,
    udpSeconds: seconds(config?.udpTimeout ?? 0),
    udpStreamSeconds: seconds(config?.udpStreamTimeout ?? 0),
  };
}
