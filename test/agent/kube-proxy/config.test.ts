// A KubeProxyConfiguration as users have it: kubeadm's as it writes it (kubeadm.yaml), each field that means something, and each
// mistake with the words that it is answered with.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { parseKubeProxyConfig } from "../../../agent/kube-proxy/config.ts";

const kubeadm = readFileSync(new URL("kubeadm.yaml", import.meta.url), "utf8");
const head = { apiVersion: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration" };
const parse = (fields: object) => parseKubeProxyConfig(stringify({ ...head, ...fields }));

describe("a KubeProxyConfiguration", () => {
  it("of kubeadm is taken without a warning, for it writes out every field with nothing in it", () => {
    expect(parseKubeProxyConfig(kubeadm)).toMatchObject({
      ok: true,
      warnings: [],
      config: {
        clusterCIDR: ["10.244.0.0/16"],
        clientConnection: { kubeconfig: "/var/lib/kube-proxy/kubeconfig.conf" },
      },
    });
  });

  it("of nothing says nothing", () => {
    const parsed = parse({});
    expect(parsed).toMatchObject({ ok: true, warnings: [] });
    expect(Object.values(parsed.ok ? parsed.config : { no: "config" }).filter((each) => each !== undefined)).toEqual(
      [],
    );
  });

  it.each([
    ["0.0.0.0", "127.0.0.1", { host: "0.0.0.0", port: 10256 }, { host: "127.0.0.1", port: 10249 }],
    [" :: ", "::1", { host: "::", port: 10256 }, { host: "::1", port: 10249 }],
    ["[::]:1", ":2", { host: "::", port: 1 }, { host: "::", port: 2 }],
    ["", null, undefined, undefined],
  ])(
    "completes the addresses %j and %j, as kube-proxy does",
    (healthzBindAddress, metricsBindAddress, health, metrics) => {
      expect(parse({ healthzBindAddress, metricsBindAddress })).toMatchObject({
        ok: true,
        config: { healthzBindAddress: health, metricsBindAddress: metrics },
      });
    },
  );

  it("reads the Node's name in lower case, as kube-proxy does", () => {
    expect(parse({ hostnameOverride: " Node-A " })).toMatchObject({ ok: true, config: { hostnameOverride: "node-a" } });
  });

  it("is read field by field", () => {
    expect(
      parse({
        mode: "ipvs",
        clusterCIDR: "10.244.1.5/16, fd00:10:244::/48",
        detectLocalMode: "BridgeInterface",
        detectLocal: { bridgeInterface: "cni0" },
        nodePortAddresses: ["Primary", "192.168.0.0/16"],
        healthzBindAddress: "127.0.0.1:1234",
        metricsBindAddress: "[::1]:1235",
        hostnameOverride: "node-a",
        iptables: {
          masqueradeBit: 15,
          masqueradeAll: true,
          localhostNodePorts: false,
          syncPeriod: "1m",
          minSyncPeriod: "2s",
        },
        ipvs: { scheduler: "lc", excludeCIDRs: ["10.0.0.0/8"], strictARP: true, tcpTimeout: "15m0s", udpTimeout: "5m" },
        conntrack: { maxPerCore: 0, min: 1000, tcpEstablishedTimeout: "1h", tcpBeLiberal: true, udpTimeout: "30s" },
      }),
    ).toEqual({
      ok: true,
      warnings: [],
      config: {
        mode: "ipvs",
        clusterCIDR: ["10.244.1.5/16", "fd00:10:244::/48"],
        detectLocalMode: "BridgeInterface",
        detectLocal: { bridgeInterface: "cni0" },
        nodePortAddresses: ["primary", "192.168.0.0/16"],
        healthzBindAddress: { host: "127.0.0.1", port: 1234 },
        metricsBindAddress: { host: "::1", port: 1235 },
        hostnameOverride: "node-a",
        iptables: {
          ...{
            masqueradeBit: 15,
            masqueradeAll: true,
            localhostNodePorts: false,
            syncPeriod: 60_000,
            minSyncPeriod: 2_000,
          },
        },
        ipvs: {
          scheduler: "lc",
          excludeCIDRs: ["10.0.0.0/8"],
          strictARP: true,
          tcpTimeout: 900_000,
          udpTimeout: 300_000,
        },
        conntrack: {
          maxPerCore: 0,
          min: 1000,
          tcpEstablishedTimeout: 3_600_000,
          tcpBeLiberal: true,
          udpTimeout: 30_000,
        },
      },
    });
  });

  it("is warned of, field by field, where it says what Postern does not do", () => {
    const parsed = parse({
      featureGates: { NFTablesProxyMode: true },
      clientConnection: { qps: 10, burst: 20 },
      winkernel: { networkName: "net" },
      oomScoreAdj: -998,
      configSyncPeriod: "15m",
      logging: { verbosity: 4 },
      bindAddress: "192.168.1.10",
      iptables: { newField: "" },
      surprise: null,
    });
    expect(parsed.ok && parsed.warnings.map((text) => text.slice(0, text.indexOf(" is not used: "))).sort()).toEqual([
      ...["bindAddress", "clientConnection.burst", "clientConnection.qps", "configSyncPeriod"],
      ...["featureGates.NFTablesProxyMode", "iptables.newField", "logging.verbosity", "oomScoreAdj", "surprise"],
      "winkernel.networkName",
    ]);
  });

  it.each<[string, object, string]>([
    ["another kind", { kind: "KubeletConfiguration" }, "kind must be KubeProxyConfiguration"],
    ["another version", { apiVersion: "v1" }, "apiVersion must be kubeproxy.config.k8s.io/v1alpha1"],
    ["an unknown mode", { mode: "userspace" }, "mode must be one of nftables, iptables, ipvs"],
    ["no duration", { iptables: { syncPeriod: "30" } }, "iptables.syncPeriod must be a duration such as 30s or 1h30m"],
    ["a number as one", { ipvs: { udpTimeout: 30 } }, "ipvs.udpTimeout must be a duration such as 30s"],
    ["a bit out of the mark", { nftables: { masqueradeBit: 32 } }, "nftables.masqueradeBit must be a bit from 0 to 31"],
    [
      "no CIDR",
      { clusterCIDR: "10.244.0.0" },
      "clusterCIDR must be a CIDR, or one a family: 10.244.0.0/16,fd00:10:244::/48",
    ],
    [
      "NodePorts at a name",
      { nodePortAddresses: ["eth0"] },
      "nodePortAddresses.0 must be primary, localhost, all or a CIDR",
    ],
    [
      "a bridge without a name",
      { detectLocalMode: "BridgeInterface" },
      "detectLocal.bridgeInterface is needed with detectLocalMode BridgeInterface",
    ],
    [
      "a prefix that is empty",
      { detectLocalMode: "InterfaceNamePrefix", detectLocal: { interfaceNamePrefix: " " } },
      "detectLocal.interfaceNamePrefix is needed with detectLocalMode InterfaceNamePrefix",
    ],
  ])("with %s is refused", (_what, fields, problem) => {
    expect(parse(fields)).toEqual({ ok: false, problems: [problem] });
  });

  it("that is no YAML is refused in one line", () => {
    const parsed = parseKubeProxyConfig("{ mode: [");
    expect(parsed).toEqual({ ok: false, problems: [expect.stringMatching(/^is not YAML: [^\n]+$/)] });
  });
});
