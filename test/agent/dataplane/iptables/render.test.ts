// Small cases of the rules of one Service. What packets make of them is tested in a kernel (kernel.test.ts).
import { describe, expect, it } from "vitest";
import { factsOf } from "../../../../agent/dataplane/iptables/facts.ts";
import { portChains } from "../../../../agent/dataplane/iptables/names.ts";
import { familyRules, fixedRules, serviceRules } from "../../../../agent/dataplane/iptables/render.ts";
import type { KernelPort } from "../../../../agent/plan/plan.ts";
import type { KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import { endpoint, kernelNode as node, kernelPort } from "../kernel-plans.ts";
import { facts, settings } from "./settings.ts";

const here = "10.244.1.5:8080";
const there = "10.244.2.5:8080";
const chains = portChains("default/web", "tcp");
const [sepHere, sepThere] = [chains.endpoint(here), chains.endpoint(there)];

/** Rules without comments and without what only repeats the protocol. */
const short = (rules: readonly string[] | undefined) =>
  rules?.map((rule) => rule.replace(/-m comment --comment "[^"]*" /, "").replace("-p tcp -m tcp ", ""));

function rules(endpoints: readonly string[], parts: Partial<KernelPort> = {}, given: Partial<KernelSettings> = {}) {
  const made = serviceRules("default/web", { ports: [kernelPort("10.96.0.10", endpoints, parts)] }, facts(given));
  if (made === undefined) throw new Error("no rules");
  const { shared, own } = made;
  return {
    ...{ services: short(shared.services), nodePorts: short(shared.nodePorts), firewall: short(shared.firewall) },
    ...{ refused: short(shared.refused), externalRefused: short(shared.externalRefused) },
    chains: [...own.keys()].map((name) => name.slice(0, 8)),
    of: (chain: string) => short(own.get(chain)),
  };
}

describe("names of chains", () => {
  it("are those that every cluster with kube-proxy has", () => {
    expect(portChains("default/kubernetes:https", "tcp").cluster).toBe("KUBE-SVC-NPX46M4PTMTKRN6Y");
    expect(portChains("kube-system/kube-dns:dns", "udp").cluster).toBe("KUBE-SVC-TCOU7JCQXEZGVUNU");
    expect(portChains("kube-system/kube-dns:dns-tcp", "tcp").cluster).toBe("KUBE-SVC-ERIFXISQEP7F7OF4");
  });

  it("share the hash of a port, and differ by endpoint", () => {
    expect(chains.external).toBe(chains.cluster.replace("SVC", "EXT"));
    expect(sepHere).not.toBe(sepThere);
  });
});

describe("rules of a ClusterIP", () => {
  it("deal connections to all endpoints in equal parts, marking what does not come from pods", () => {
    const web = rules([here, there, "10.244.2.6:8080"]);
    expect(web.services).toEqual([`-d 10.96.0.10 --dport 80 -j ${chains.cluster}`]);
    expect(web.of(chains.cluster)).toEqual([
      "! -s 10.244.0.0/16 -d 10.96.0.10 --dport 80 -j KUBE-MARK-MASQ",
      `-m statistic --mode random --probability 0.3333333333 -j ${sepHere}`,
      `-m statistic --mode random --probability 0.5000000000 -j ${sepThere}`,
      `-j ${chains.endpoint("10.244.2.6:8080")}`,
    ]);
    expect([web.refused, web.externalRefused]).toEqual([[], []]);
  });

  it("mark a pod that reaches itself, which only a pod of this node can", () => {
    const web = rules([here, there]);
    expect(web.of(sepHere)).toEqual(["-s 10.244.1.5 -j KUBE-MARK-MASQ", "-j DNAT --to-destination 10.244.1.5:8080"]);
    expect(web.of(sepThere)).toEqual(["-j DNAT --to-destination 10.244.2.5:8080"]);
  });

  it("keep to this node's endpoints with an internal policy of Local", () => {
    const web = rules([here, there], { internalPolicy: "Local" });
    expect(web.services).toEqual([`-d 10.96.0.10 --dport 80 -j ${chains.local}`]);
    expect(web.of(chains.local)).toEqual([
      "! -s 10.244.0.0/16 -d 10.96.0.10 --dport 80 -j KUBE-MARK-MASQ",
      `-j ${sepHere}`,
    ]);
    expect(web.of(chains.cluster)).toBeUndefined();
  });

  it("reject where there is no endpoint, and drop where there is none on this node", () => {
    expect(rules([])).toMatchObject({ services: [], refused: ["-d 10.96.0.10 --dport 80 -j REJECT"], chains: [] });
    expect(rules([there], { internalPolicy: "Local" })).toMatchObject({
      services: [],
      refused: ["-d 10.96.0.10 --dport 80 -j DROP"],
    });
  });

  it.each([
    ["nothing, where pods cannot be told", { localDetector: { kind: "none" } }, []],
    [
      "nothing, where no range of the family's pods is known",
      { localDetector: { kind: "cluster-cidr", cidrs: ["fd00::/64"] } },
      [],
    ],
    ["everything with masqueradeAll", { masqueradeAll: true }, ["-d 10.96.0.10 --dport 80 -j KUBE-MARK-MASQ"]],
    [
      "what comes by another interface",
      { localDetector: { kind: "interface-prefix", prefix: "veth" } },
      ["! -i veth+ -d 10.96.0.10 --dport 80 -j KUBE-MARK-MASQ"],
    ],
    [
      "what is outside of this node's pod CIDR",
      { localDetector: { kind: "node-cidr" } },
      ["! -s 10.244.1.0/24 -d 10.96.0.10 --dport 80 -j KUBE-MARK-MASQ"],
    ],
    [
      "what is in none of several CIDRs",
      { localDetector: { kind: "cluster-cidr", cidrs: ["10.1.0.0/16", "fd00::/64", "10.2.0.0/16"] } },
      ["-d 10.96.0.10 --dport 80 -j KUBE-MARK-OUTSIDE"],
    ],
  ] as const)("mark %s", (_, given, expected) => {
    expect(rules([there], {}, given).of(chains.cluster)).toEqual([...expected, `-j ${sepThere}`]);
  });

  it("remember clients in one list an endpoint", () => {
    const web = rules([here, there], { affinitySeconds: 60 });
    expect(web.of(chains.cluster)?.slice(1, 3)).toEqual(
      [sepHere, sepThere].map((sep) => `-m recent --name ${sep} --rcheck --seconds 60 --reap -j ${sep}`),
    );
    expect(web.of(sepThere)).toEqual([`-m recent --name ${sepThere} --set -j DNAT --to-destination 10.244.2.5:8080`]);
  });

  it("take turns with rr", () => {
    expect(rules([here, there], { algorithm: "rr" }).of(chains.cluster)?.slice(1)).toEqual([
      `-m statistic --mode nth --every 2 --packet 0 -j ${sepHere}`,
      `-j ${sepThere}`,
    ]);
  });
});

describe("rules for clients outside", () => {
  const reachable = { nodePort: 30080, externalIPs: ["203.0.113.1"], loadBalancerIPs: ["203.0.113.2"] };

  it("mark everything with a policy of Cluster", () => {
    const web = rules([here, there], reachable);
    expect(web.services?.slice(1)).toEqual([
      `-d 203.0.113.1 --dport 80 -j ${chains.external}`,
      `-d 203.0.113.2 --dport 80 -j ${chains.external}`,
    ]);
    expect(web.nodePorts).toEqual([`--dport 30080 -j ${chains.external}`]);
    expect(web.of(chains.external)).toEqual(["-j KUBE-MARK-MASQ", `-j ${chains.cluster}`]);
  });

  it("let pods and this node reach all endpoints under Local, and others those of this node, unmarked", () => {
    expect(rules([here, there], { ...reachable, externalPolicy: "Local" }).of(chains.external)).toEqual([
      `-s 10.244.0.0/16 -j ${chains.cluster}`,
      "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ",
      `-m addrtype --src-type LOCAL -j ${chains.cluster}`,
      `-j ${chains.local}`,
    ]);
  });

  it("drop under Local what no endpoint of this node can serve, but not what pods and this node send", () => {
    const web = rules([there], { ...reachable, externalPolicy: "Local" });
    expect(web.externalRefused).toEqual([
      "-d 203.0.113.1 --dport 80 -j DROP",
      "-d 203.0.113.2 --dport 80 -j DROP",
      "-m addrtype --dst-type LOCAL --dport 30080 -j DROP",
    ]);
    expect(web.nodePorts).toEqual([`--dport 30080 -j ${chains.external}`]);
    expect(web.of(chains.external)?.at(-1)).toBe(`-m addrtype --src-type LOCAL -j ${chains.cluster}`);
  });

  it("reject where there is no endpoint at all, whatever the policy", () => {
    for (const externalPolicy of ["Cluster", "Local"] as const) {
      const web = rules([], { ...reachable, externalPolicy });
      expect(web.externalRefused?.map((rule) => rule.split(" ").at(-1))).toEqual(["REJECT", "REJECT", "REJECT"]);
      // Also to the node itself, whose packets never come by the others.
      expect(web.refused).toEqual([
        "-d 10.96.0.10 --dport 80 -j REJECT",
        "-d 203.0.113.1 --dport 80 -j REJECT",
        "-d 203.0.113.2 --dport 80 -j REJECT",
      ]);
      expect([web.nodePorts, web.services, web.chains]).toEqual([[], [], []]);
    }
  });

  it("hold the balancer's IP, and nothing else, to the source ranges", () => {
    const web = rules([there], { ...reachable, sourceRanges: ["198.51.100.0/24"] });
    expect(web.services?.slice(1)).toEqual([
      `-d 203.0.113.1 --dport 80 -j ${chains.external}`,
      `-d 203.0.113.2 --dport 80 -j ${chains.firewall}`,
    ]);
    expect(web.nodePorts).toEqual([`--dport 30080 -j ${chains.external}`]);
    expect(web.of(chains.firewall)).toEqual([`-s 198.51.100.0/24 -j ${chains.external}`]);
    // Of all packets whose way leads there: those of connections through ipvs keep their destination, too.
    expect(web.firewall).toEqual(["-d 203.0.113.2 --dport 80 -m conntrack --ctstate NEW -j DROP"]);
  });

  it("let the balancer's IP be a source where the node itself is allowed", () => {
    const web = rules([there], { ...reachable, sourceRanges: ["192.168.0.0/16"] });
    expect(web.of(chains.firewall)).toEqual([
      `-s 192.168.0.0/16 -j ${chains.external}`,
      `-s 203.0.113.2 -j ${chains.external}`,
    ]);
  });
});

describe("rules of the node", () => {
  const nodePortTargets = (
    nodePortAddresses: readonly string[],
    localhostNodePorts = true,
    family: "IPv4" | "IPv6" = "IPv4",
  ) =>
    factsOf(family, settings({ nodePortAddresses, localhostNodePorts }), node, [
      ...["127.0.0.1", "192.168.9.1", "192.168.8.1", "::1", "fd00::1"],
    ]).nodePortTargets;

  it.each([
    [[], true, ["-m addrtype --dst-type LOCAL"]],
    [["all", "10.0.0.0/8"], true, ["-m addrtype --dst-type LOCAL"]],
    [["0.0.0.0/0"], false, ["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8"]],
    [["primary"], true, ["-d 192.168.9.1"]],
    [["192.168.8.0/24", "127.0.0.0/8"], true, ["-d 127.0.0.1", "-d 192.168.8.1"]],
    [["primary", "localhost"], false, ["-d 192.168.9.1"]],
    [["10.0.0.0/8"], true, []],
  ])("serve NodePorts %j (localhost: %s) at %j", (addresses, localhost, expected) => {
    expect(nodePortTargets(addresses, localhost)).toEqual(expected);
  });

  it("never serve NodePorts at ::1", () => {
    expect(nodePortTargets([], true, "IPv6")).toEqual(["-m addrtype --dst-type LOCAL ! -d ::1/128"]);
    expect(nodePortTargets(["::/128", "::1/128", "fd00::/64"], true, "IPv6")).toEqual(["-d fd00::1"]);
  });

  it("look at NodePorts after all addresses of Services", () => {
    const all = serviceRules(
      "default/web",
      { ports: [kernelPort("10.96.0.10", [here], { nodePort: 30080 })] },
      facts(),
    );
    if (all === undefined) throw new Error("no rules");
    const { nat } = familyRules(new Map([["default/web", all]]), facts());
    expect(short(nat.get("KUBE-SERVICES"))).toEqual([
      `-d 10.96.0.10 --dport 80 -j ${chains.cluster}`,
      "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    ]);
  });

  it("touch one bit of the mark", () => {
    const { nat } = fixedRules(facts({ masqueradeBit: 3 }));
    expect(nat.get("KUBE-MARK-MASQ")).toEqual(["-j MARK --or-mark 0x8"]);
    expect(short(nat.get("KUBE-POSTROUTING"))).toEqual([
      "-m mark ! --mark 0x8/0x8 -j RETURN",
      "-j MARK --xor-mark 0x8",
      "-j MASQUERADE --random-fully",
    ]);
  });

  it("open health check ports", () => {
    const kernel = { ports: [kernelPort("10.96.0.10", [here])], healthCheck: { nodePort: 32000, localEndpoints: 1 } };
    expect(short(serviceRules("default/web", kernel, facts())?.shared.healthChecks)).toEqual([
      "--dport 32000 -j ACCEPT",
    ]);
  });

  it("write IPv6 endpoints in brackets, and nothing of the other family", () => {
    const v6 = { ...facts(), family: "IPv6" as const };
    expect(serviceRules("default/web", { ports: [kernelPort("10.96.0.10", [here])] }, v6)).toBeUndefined();
    const port = kernelPort("10.96.0.10", [], { family: "IPv6", cluster: [{ ...endpoint(here), address: "fd00::5" }] });
    const own = serviceRules("default/web", { ports: [port] }, v6)?.own;
    expect(short(own?.get(chains.endpoint("[fd00::5]:8080")))).toContain("-j DNAT --to-destination [fd00::5]:8080");
  });

  it("put no name of an object into a rule but those that Kubernetes allows", () => {
    const port = kernelPort("10.96.0.10", [], { name: `x" -j ACCEPT\n-A INPUT` });
    const [refused] = serviceRules("default/web", { ports: [port] }, facts())?.shared.refused ?? [];
    expect(refused?.split('"')).toHaveLength(3);
    expect(refused).not.toContain("\n");
  });
});
