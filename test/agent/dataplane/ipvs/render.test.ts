// A Service → elements, servers → the lines of ipvsadm and back, and the rules that ask the sets.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ADDRESS, elementsOf, outFilter, SERVER } from "../../../../agent/dataplane/ipvs/elements.ts";
import { type Facts, factsOf } from "../../../../agent/dataplane/ipvs/facts.ts";
import { parseAddresses, parseSets, parseSizes } from "../../../../agent/dataplane/ipvs/listings.ts";
import { createLine, knownSets, setNames, setOf } from "../../../../agent/dataplane/ipvs/names.ts";
import { isOurServer } from "../../../../agent/dataplane/ipvs/ownership.ts";
import { jumps, rulesOf } from "../../../../agent/dataplane/ipvs/rules.ts";
import {
  changed,
  changeLines,
  parseListing,
  parseServer,
  partsOf,
  serverKey,
} from "../../../../agent/dataplane/ipvs/servers.ts";
import { defaultSettings, type KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import type { KernelPort, KernelService } from "../../../../agent/plan/plan.ts";
import { kernelNode, kernelPort, planService, to } from "../kernel-plans.ts";

const machine = ["192.168.9.1", "192.168.8.1", "127.0.0.1", "fd00:9::1", "fe80::1", "::1"];
const facts = (parts: Partial<KernelSettings> = {}, family: "IPv4" | "IPv6" = "IPv4", missing: string[] = []): Facts =>
  factsOf(family, { ...defaultSettings, mode: "ipvs", ...parts }, kernelNode, machine, missing);
const here = to("10.244.1.5");
const there = to("10.244.2.5", { local: false, weight: 3 });

/** "set key" of all but servers, and each server's destinations. */
function rendered(more: Partial<KernelPort>, given: Partial<KernelSettings> = {}, kernel: Partial<KernelService> = {}) {
  const port = kernelPort("10.96.0.10", [here, there], more);
  const service = planService("default/web", [port]);
  const own = facts(given, port.family);
  const elements = elementsOf({ kernel: { ...service.kernel, ports: [port], ...kernel } }, own);
  const servers = elements.flatMap(({ set, key, value = "" }) =>
    set === SERVER ? [[key, parseServer(value)] as const] : [],
  );
  return {
    entries: elements.filter(({ set }) => set !== SERVER).map(({ set, key }) => `${set} ${key}`),
    servers: Object.fromEntries(
      servers.map(([key, { options, destinations }]) => [key, [options, ...destinations.keys()].join(" ")]),
    ),
    elements,
  };
}

const both = "-s rr 10.244.1.5:8080 10.244.2.5:8080";

describe("a Service's frontends", () => {
  it("are servers with the same endpoints, addresses on the device, and entries that say what they are", () => {
    const { servers, entries } = rendered({
      ...{ externalIPs: ["192.0.2.1"], loadBalancerIPs: ["192.0.2.5"], nodePort: 30080 },
    });
    expect(servers).toEqual({
      "-t 10.96.0.10:80": both,
      "-t 192.0.2.1:80": both,
      "-t 192.0.2.5:80": both,
      "-t 192.168.9.1:30080": both,
      "-t 192.168.8.1:30080": both,
    });
    expect(entries.sort()).toEqual([
      "KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
      "KUBE-EXTERNAL-IP 192.0.2.1,tcp:80",
      ...["10.96.0.10", "192.0.2.1", "192.0.2.5"].map((address) => `KUBE-IPVS-IPS ${address}`),
      "KUBE-LOAD-BALANCER 192.0.2.5,tcp:80",
      "KUBE-LOOP-BACK 10.244.1.5,tcp:8080,10.244.1.5",
      "KUBE-NODE-PORT-TCP 30080",
      ...["10.96.0.10", "192.0.2.1", "192.0.2.5"].map((address) => `${ADDRESS} ${address}`),
    ]);
  });

  it("get endpoints of this node under Local, and all others where there are none and they come from outside", () => {
    const external = { externalPolicy: "Local", externalIPs: ["192.0.2.1"], loadBalancerIPs: ["192.0.2.5"] } as const;
    const local = rendered({ ...external, nodePort: 30080, local: [here] });
    const only = "-s rr 10.244.1.5:8080";
    expect(local.servers).toMatchObject({
      ...{ "-t 10.96.0.10:80": both, "-t 192.0.2.1:80": only, "-t 192.0.2.5:80": only, "-t 192.168.9.1:30080": only },
    });
    expect(local.entries).toEqual(
      expect.arrayContaining([
        ...["KUBE-EXTERNAL-IP-LOCAL 192.0.2.1,tcp:80", "KUBE-LOAD-BALANCER-LOCAL 192.0.2.5,tcp:80"],
        ...["KUBE-LOAD-BALANCER 192.0.2.5,tcp:80", "KUBE-NODE-PORT-LOCAL-TCP 30080", "KUBE-NODE-PORT-TCP 30080"],
      ]),
    );
    expect(rendered({ ...external, local: [] }).servers).toMatchObject({ "-t 192.0.2.1:80": both });
    const internal = { internalPolicy: "Local", nodePort: 30080, local: [] } as const;
    expect(rendered(internal).servers).toMatchObject({ "-t 10.96.0.10:80": "-s rr", "-t 192.168.9.1:30080": both });
  });

  it("have no endpoint where there is none, and so are refused by ipvs", () => {
    expect(rendered({ cluster: [], anywhere: false }).servers).toEqual({ "-t 10.96.0.10:80": "-s rr" });
  });

  it("are sockets in sets of SCTP, and NodePorts of UDP in those of UDP", () => {
    expect(rendered({ protocol: "SCTP", nodePort: 30080 }).entries).toEqual(
      expect.arrayContaining([
        "KUBE-NODE-PORT-SCTP-HASH 192.168.9.1,sctp:30080",
        "KUBE-NODE-PORT-SCTP-HASH 192.168.8.1,sctp:30080",
      ]),
    );
    const udp = rendered({ protocol: "UDP", nodePort: 30080 });
    expect(udp.entries).toContain("KUBE-NODE-PORT-UDP 30080");
    expect(Object.keys(udp.servers)).toContain("-u 192.168.9.1:30080");
  });

  it("of IPv6 are in its sets, without addresses of the link", () => {
    const { servers, entries } = rendered({
      ...{ family: "IPv6", clusterIP: "fd00:96::1", nodePort: 30080, cluster: [to("fd00:244::1")] },
    });
    expect(servers).toEqual({
      "-t [fd00:96::1]:80": "-s rr [fd00:244::1]:8080",
      "-t [fd00:9::1]:30080": "-s rr [fd00:244::1]:8080",
    });
    expect(entries).toContain("KUBE-6-CLUSTER-IP fd00:96::1,tcp:80");
  });

  it("open the health check's port", () => {
    const healthCheck = { nodePort: 32000, localEndpoints: 1 };
    expect(rendered({}, {}, { healthCheck }).entries).toContain("KUBE-HEALTH-CHECK-NODE-PORT 32000");
  });

  it("serve NodePorts at the addresses that settings name", () => {
    const { servers } = rendered({ nodePort: 30080 }, { nodePortAddresses: ["192.168.8.0/24", "localhost"] });
    expect(Object.keys(servers)).toEqual(["-t 10.96.0.10:80", "-t 192.168.8.1:30080"]);
  });
});

describe("source ranges", () => {
  const ranged = (sourceRanges: readonly string[]) =>
    rendered({
      loadBalancerIPs: ["192.0.2.5"],
      externalIPs: ["192.0.2.1"],
      nodePort: 30080,
      sourceRanges,
    }).entries.filter((entry) => /-FW|SOURCE|^rule/.test(entry));
  it("are entries for the load balancer's address alone, and a rule for the node itself", () => {
    expect(ranged(["203.0.113.0/24", "198.51.100.7/32"])).toEqual([
      "KUBE-LOAD-BALANCER-FW 192.0.2.5,tcp:80",
      "KUBE-LOAD-BALANCER-SOURCE-CIDR 192.0.2.5,tcp:80,203.0.113.0/24",
      "KUBE-LOAD-BALANCER-SOURCE-CIDR 192.0.2.5,tcp:80,198.51.100.7",
      `${outFilter({ family: "IPv4" })} -s 192.0.2.5/32 -m ipvs --vproto tcp --vaddr 192.0.2.5 --vport 80 -j DROP`,
    ]);
  });

  it("that hold the node let it in by the balancer's own address, which its packets have", () => {
    expect(ranged(["192.168.9.0/24"])).toContain("KUBE-LOAD-BALANCER-SOURCE-IP 192.0.2.5,tcp:80,192.0.2.5");
    expect(ranged(["192.168.9.0/24"]).join()).not.toContain("rule");
  });
});

describe("schedulers", () => {
  it.each<[KernelPort["algorithm"], string, string]>([
    ["random", "rr", "-s rr"],
    ["random", "lc", "-s lc"],
    ["random", "", "-s rr"],
    ["random", "mh", "-s mh -b mh-fallback,mh-port"],
    ["maglev", "rr", "-s mh -b mh-fallback"],
    ["sh", "rr", "-s sh -b sh-fallback"],
    ["dh", "rr", "-s dh"],
    ["nq", "rr", "-s nq"],
  ])("%s where the node has %j: %s", (algorithm, scheduler, options) => {
    const { servers } = rendered({ algorithm, affinitySeconds: 300 }, { ipvs: { ...defaultSettings.ipvs, scheduler } });
    expect(servers["-t 10.96.0.10:80"]).toBe(`${options} -p 300 10.244.1.5:8080 10.244.2.5:8080`);
  });

  it.each<[KernelPort["algorithm"], number]>([
    ["rr", 1],
    ["lc", 1],
    ["maglev", 1],
    ["wrr", 3],
    ["wlc", 3],
    ["sed", 3],
    ["nq", 3],
  ])("%s: an endpoint of a node of weight 3 has weight %i", (algorithm, weight) => {
    const value = rendered({ algorithm }).elements.find(({ set }) => set === SERVER)?.value ?? "";
    expect(parseServer(value).destinations.get("10.244.2.5:8080")?.weight).toBe(weight);
  });
});

describe("servers", () => {
  it("are read as ipvsadm lists them, without those that others alone make", () => {
    const servers = parseListing(listing);
    expect([...servers.keys()]).toEqual([
      "-t 10.0.0.1:80",
      "-t 10.0.0.2:80",
      "-t 10.0.0.3:80",
      "--sctp-service 10.0.0.1:90",
      "-u [fd00::1]:53",
    ]);
    expect(servers.get("-t 10.0.0.1:80")).toEqual({
      options: "-s rr -p 300",
      destinations: new Map([
        ["10.1.0.1:8080", { weight: 1, connections: 3 }],
        ["10.1.0.2:8080", { weight: 0, connections: 0 }],
      ]),
    });
    expect(servers.get("-t 10.0.0.2:80")?.options).toBe("-s mh -b mh-fallback,mh-port -p 300");
    expect([...(servers.get("-u [fd00::1]:53")?.destinations.keys() ?? [])]).toEqual(["[fd00:1111:2222:3333::1]:5353"]);
  });

  it("become others by what differs alone", () => {
    const from = parseServer("-s rr\n10.1.0.1:80 1\n10.1.0.2:80 1");
    const lines = (to: string | undefined, key = "-t 10.0.0.1:80") =>
      changeLines(key, from, to === undefined ? undefined : parseServer(to));
    expect(lines("-s rr\n10.1.0.1:80 1\n10.1.0.2:80 1")).toEqual([]);
    expect(lines("-s lc -p 60\n10.1.0.1:80 1\n10.1.0.2:80 4")).toEqual([
      "-E -t 10.0.0.1:80 -s lc -p 60",
      "-e -t 10.0.0.1:80 -r 10.1.0.2:80 -m -w 4",
    ]);
    expect(lines("-s rr\n10.1.0.1:80 1")).toEqual(["-e -t 10.0.0.1:80 -r 10.1.0.2:80 -m -w 0"]);
    expect(lines("-s rr\n10.1.0.1:80 1", "-u 10.0.0.1:80")).toEqual(["-d -u 10.0.0.1:80 -r 10.1.0.2:80"]);
    expect(lines(undefined)).toEqual(["-D -t 10.0.0.1:80"]);
  });

  it("need no more lines once the lines were done, from whatever to whatever", () => {
    const server = fc
      .record({
        options: fc.constantFrom("-s rr", "-s dh", "-s sh -b sh-fallback", "-s rr -p 60"),
        destinations: fc.dictionary(
          fc.constantFrom("10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"),
          fc.constantFrom(1, 2),
        ),
      })
      .map(({ options, destinations }) =>
        parseServer(
          [options, ...Object.entries(destinations).map(([socket, weight]) => `${socket} ${weight}`)].join("\n"),
        ),
      );
    fc.assert(
      fc.property(
        fc.constantFrom("-t 10.0.0.1:80", "-u 10.0.0.1:80"),
        fc.option(server, { nil: undefined }),
        server,
        (key, from, next) => {
          expect(changeLines(key, changed(key, from, next), next)).toEqual([]);
        },
      ),
    );
  });

  it("are ours by address, socket or NodePort", () => {
    const entries = new Set(["KUBE-NODE-PORT-TCP 30080", "KUBE-6-EXTERNAL-IP fd00::7,udp:53"]);
    const isOurs = isOurServer(new Set(["10.96.0.1", "10.97.0.1"]), entries, ["10.97.0.0/16"]);
    expect(isOurs("-t 10.97.0.1:1")).toBe(false);
    expect(["-t 10.96.0.1:1", "-t 192.168.9.1:30080", "-u [fd00::7]:53"].map(isOurs)).toEqual([true, true, true]);
    expect(["-u 192.168.9.1:30080", "-t 192.168.9.1:25", "-t [fd00::7]:53"].map(isOurs)).toEqual([false, false, false]);
    expect(partsOf(serverKey("sctp", "fd00::7", 9))).toEqual({ protocol: "sctp", address: "fd00::7", port: 9 });
  });
});

describe("sets", () => {
  it("have kube-proxy's names, which the kernel cuts at 31 characters", () => {
    expect(knownSets.size).toBe(2 * setNames.length);
    expect(setNames).toHaveLength(17);
    expect(setOf("KUBE-LOAD-BALANCER-SOURCE-CIDR", "IPv6")).toBe("KUBE-6-LOAD-BALANCER-SOURCE-CID");
    expect(setOf("KUBE-NODE-PORT-LOCAL-SCTP-HASH", "IPv6")).toBe("KUBE-6-NODE-PORT-LOCAL-SCTP-HAS");
  });

  it("have its types and sizes: it does not start over others", () => {
    // As `ipset save` printed them after kube-proxy 1.37.2 in mode ipvs had started.
    const sockets = ["CLUSTER-IP", "EXTERNAL-IP", "EXTERNAL-IP-LOCAL", "LOAD-BALANCER", "LOAD-BALANCER-FW"];
    const more = ["LOAD-BALANCER-LOCAL", "NODE-PORT-LOCAL-SCTP-HASH", "NODE-PORT-SCTP-HASH"];
    const seen = [
      ...[...sockets, ...more].map((name) => [name, "hash:ip,port"] as const),
      ...["LOOP-BACK", "LOAD-BALANCER-SOURCE-IP"].map((name) => [name, "hash:ip,port,ip"] as const),
      ["LOAD-BALANCER-SOURCE-CIDR", "hash:ip,port,net"] as const,
      ["IPVS-IPS", "hash:ip"] as const,
    ].map(([name, type]) => `create KUBE-${name} ${type} family inet hashsize 1024 maxelem 65536`);
    const ports = [
      "HEALTH-CHECK-NODE-PORT",
      "NODE-PORT-LOCAL-TCP",
      "NODE-PORT-LOCAL-UDP",
      "NODE-PORT-TCP",
      "NODE-PORT-UDP",
    ];
    expect(setNames.map((name) => createLine(name, "IPv4")).sort()).toEqual(
      [...seen, ...ports.map((name) => `create KUBE-${name} bitmap:port range 0-65535`)].sort(),
    );
  });

  it("are read as ipset prints them, with and without /etc/protocols, and without others'", () => {
    const saved = [
      "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0xa0b9d68b",
      "add KUBE-CLUSTER-IP 10.0.0.1,tcp:80",
      "add KUBE-CLUSTER-IP 10.0.0.2,17:53",
      "create other hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0xa0b9d68b",
      "add other 10.0.0.1",
    ].join("\n");
    const { existing, entries } = parseSets(saved);
    expect([...existing]).toEqual(["KUBE-CLUSTER-IP"]);
    expect([...entries.keys()]).toEqual(["KUBE-CLUSTER-IP 10.0.0.1,tcp:80", "KUBE-CLUSTER-IP 10.0.0.2,udp:53"]);
    const listed =
      "Name: KUBE-CLUSTER-IP\nType: hash:ip,port\nHeader: family inet\nNumber of entries: 2\n\nName: other\nNumber of entries: 1\n";
    expect([...parseSizes(listed)]).toEqual([["KUBE-CLUSTER-IP", 2]]);
  });

  it("and addresses as ip prints them", () => {
    const listed = [
      String.raw`2: kube-ipvs0    inet 10.0.0.1/32 scope global kube-ipvs0\       valid_lft forever preferred_lft forever`,
      String.raw`2: kube-ipvs0    inet6 fd00::1/128 scope global nodad \       valid_lft forever preferred_lft forever`,
    ].join("\n");
    expect([...parseAddresses(listed).keys()]).toEqual(["10.0.0.1", "fd00::1"]);
  });
});

describe("rules", () => {
  const services = (parts: Partial<KernelSettings>) =>
    (rulesOf(facts(parts), []).nat.get("KUBE-SERVICES") ?? []).filter((rule) => /CLUSTER-IP .*KUBE-MARK/.test(rule));
  const toClusterIP = "-m set --match-set KUBE-CLUSTER-IP dst,dst";
  it.each<[Partial<KernelSettings>, string]>([
    [{ masqueradeAll: true }, `${toClusterIP} -j KUBE-MARK-MASQ`],
    [
      { localDetector: { kind: "cluster-cidr", cidrs: ["10.244.0.0/16"] } },
      `${toClusterIP} ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ`,
    ],
    [{ localDetector: { kind: "interface-prefix", prefix: "cni" } }, `${toClusterIP} ! -i cni+ -j KUBE-MARK-MASQ`],
    [
      { localDetector: { kind: "cluster-cidr", cidrs: ["10.1.0.0/16", "10.2.0.0/16"] } },
      `${toClusterIP} -j KUBE-MARK-OUTSIDE`,
    ],
    [
      { localDetector: { kind: "cluster-cidr", cidrs: ["fd00::/64"] } },
      `${toClusterIP} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
    ],
    [{}, `${toClusterIP} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`],
  ])("masquerade to ClusterIPs with %j: %s", (parts, rule) => {
    expect(services(parts)).toEqual([rule]);
  });

  it("are the same whatever Services there are, ask sets of their own family alone, and lead to chains that are there", () => {
    const { filter, nat } = rulesOf(facts({}, "IPv6"), []);
    const lines = [...filter.values(), ...nat.values()].flat();
    expect(
      lines.flatMap((line) => /--match-set (\S+)/.exec(line)?.[1] ?? []).filter((set) => !set.startsWith("KUBE-6-")),
    ).toEqual([]);
    for (const [table, chains] of [
      ["filter", filter],
      ["nat", nat],
    ] as const) {
      const targets = [...chains.values()].flat().flatMap((line) => / -j (KUBE-\S+)/.exec(line)?.[1] ?? []);
      for (const target of [
        ...targets,
        ...jumps.filter((jump) => jump.table === table).map(({ rule }) => rule.slice(3)),
      ])
        expect([...chains.keys()]).toContain(target);
    }
  });
});

/** Of ipvsadm 1.31, on Linux 6.1. */
const listing = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 rr persistent 300
  -> 10.1.0.1:8080                Masq    1      2          1         
  -> 10.1.0.2:8080                Masq    0      0          0         
TCP  10.0.0.2:80 mh (mh-fallback,mh-port) persistent 300
TCP  10.0.0.3:80 mh (mh-fallback)
TCP  10.0.0.4:80 rr ops
TCP  10.0.0.5:80 rr
  -> 10.1.0.2:80                  Route   1      0          0         
SCTP 10.0.0.1:90 lc
UDP  [fd00::1]:53 sh (sh-fallback)
  -> [fd00:1111:2222:3333::1]:5353 Masq    1      0          0         
FWM  7 rr
  -> 10.1.0.9:80                  Masq    1      0          0         
`;
