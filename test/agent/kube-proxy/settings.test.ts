// Command line and configuration → settings: kube-proxy's defaults, each mode's own section, and flags that win.
import { describe, expect, it } from "vitest";
import type { KubeProxyConfig } from "../../../agent/kube-proxy/config.ts";
import { proxySettings } from "../../../agent/kube-proxy/settings.ts";

const none = { clusterCIDRs: undefined, healthAddress: undefined, metricsAddress: undefined };
const kernel = (mode: "nftables" | "iptables" | "ipvs", config: Partial<KubeProxyConfig> = {}) =>
  proxySettings(mode, config, none).kernel;

describe("settings", () => {
  it("are kube-proxy's where nobody says anything", () => {
    expect(proxySettings("nftables", {}, none)).toEqual({
      kernel: {
        ...{ mode: "nftables", families: ["IPv4", "IPv6"], localDetector: { kind: "none" }, masqueradeAll: false },
        ...{ masqueradeBit: 14, nodePortAddresses: [], localhostNodePorts: true },
        ...{ syncPeriodMs: 30_000, minSyncPeriodMs: 1_000 },
        ipvs: { scheduler: "rr", excludeCIDRs: [], strictARP: false, tcpTimeout: 0, tcpFinTimeout: 0, udpTimeout: 0 },
      },
      conntrack: {
        ...{ maxPerCore: 32_768, min: 131_072, tcpEstablishedSeconds: 86_400, tcpCloseWaitSeconds: 3_600 },
        ...{ tcpBeLiberal: false, udpSeconds: 0, udpStreamSeconds: 0 },
      },
      healthAddress: { host: "0.0.0.0", port: 10256 },
      metricsAddress: { host: "127.0.0.1", port: 10249 },
    });
  });

  it("come from the mode's own section, and ipvs masquerades by that of iptables", () => {
    const config = {
      nftables: { masqueradeBit: 1, syncPeriod: 10_000, minSyncPeriod: 3_000 },
      iptables: { masqueradeBit: 2, masqueradeAll: true, syncPeriod: 20_000, localhostNodePorts: false },
      ipvs: { syncPeriod: 40_000, scheduler: "sh", tcpTimeout: 900_000 },
    };
    expect(kernel("nftables", config)).toMatchObject({
      masqueradeBit: 1,
      masqueradeAll: false,
      syncPeriodMs: 10_000,
      minSyncPeriodMs: 3_000,
    });
    expect(kernel("iptables", config)).toMatchObject({
      masqueradeBit: 2,
      syncPeriodMs: 20_000,
      minSyncPeriodMs: 1_000,
      localhostNodePorts: false,
    });
    expect(kernel("ipvs", config)).toMatchObject({
      ...{ masqueradeBit: 2, masqueradeAll: true, syncPeriodMs: 40_000, minSyncPeriodMs: 0 },
      ipvs: { scheduler: "sh", tcpTimeout: 900 },
    });
  });

  it("take 0 as not set for periods, and as the kernel's own for conntrack", () => {
    expect(kernel("nftables", { nftables: { syncPeriod: 0, minSyncPeriod: 0 } })).toMatchObject({
      syncPeriodMs: 30_000,
      minSyncPeriodMs: 1_000,
    });
    const { conntrack } = proxySettings("nftables", { conntrack: { maxPerCore: 0, tcpEstablishedTimeout: 0 } }, none);
    expect(conntrack).toMatchObject({ maxPerCore: 0, tcpEstablishedSeconds: 0, tcpCloseWaitSeconds: 3_600 });
  });

  it.each<[Partial<KubeProxyConfig>, object]>([
    [{ clusterCIDR: ["10.0.0.0/8"] }, { kind: "cluster-cidr", cidrs: ["10.0.0.0/8"] }],
    [{ clusterCIDR: ["10.0.0.0/8"], detectLocalMode: "NodeCIDR" }, { kind: "node-cidr" }],
    [
      { detectLocalMode: "BridgeInterface", detectLocal: { bridgeInterface: "cni0" } },
      { kind: "interface", name: "cni0" },
    ],
    [
      { detectLocalMode: "InterfaceNamePrefix", detectLocal: { interfaceNamePrefix: "veth" } },
      { kind: "interface-prefix", prefix: "veth" },
    ],
  ])("tell local traffic by %j", (config, detector) => {
    expect(kernel("nftables", config).localDetector).toEqual(detector);
    const flag = proxySettings("nftables", config, { ...none, clusterCIDRs: ["192.0.2.0/24"] }).kernel.localDetector;
    expect(flag).toEqual({ kind: "cluster-cidr", cidrs: ["192.0.2.0/24"] });
  });

  it("open ports where the flag says, else the configuration, else in the family of bindAddress", () => {
    const at = { host: "127.0.0.1", port: 1 };
    expect(proxySettings("nftables", { bindAddress: "::" }, none)).toMatchObject({
      healthAddress: { host: "::", port: 10256 },
      metricsAddress: { host: "::1", port: 10249 },
    });
    const config = { healthzBindAddress: at, metricsBindAddress: at };
    expect(proxySettings("nftables", config, none)).toMatchObject({ healthAddress: at, metricsAddress: at });
    const flag = { host: "127.0.0.2", port: 2 };
    expect(proxySettings("nftables", config, { ...none, healthAddress: flag })).toMatchObject({
      healthAddress: flag,
      metricsAddress: at,
    });
  });
});
