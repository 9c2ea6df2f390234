// The executor over an iptables in memory: which programs it runs when, what is left after any sequence of plans, and what it says
// when a node cannot. kernel.test.ts has the real one.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { iptablesExecutor } from "../../../../agent/dataplane/iptables/executor.ts";
import { portChains } from "../../../../agent/dataplane/iptables/names.ts";
import type { KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import type { KernelPort, PlanService } from "../../../../agent/plan/plan.ts";
import { within } from "../../../../src/shared/net/ranges.ts";
import { FakeIptables } from "./fake-iptables.ts";
import { expected, readBack } from "./read-back.ts";
import { anyServices, kernelPort, planOf, planService } from "../kernel-plans.ts";
import { settings } from "./settings.ts";

const pod = "10.244.1.5:8080";
const other = "10.244.2.5:8080";
const web = (endpoints: readonly string[], parts: Partial<KernelPort> = {}) =>
  planService("default/web", [kernelPort("10.96.0.10", endpoints, parts)]);
const shop = planService("default/shop", [
  kernelPort("10.96.0.10", [other], { clusterIP: "10.96.0.20", nodePort: 30080 }),
]);
const bad = (parts: Partial<PlanService> = {}) =>
  planService("default/bad", [kernelPort("10.96.0.10", ["10.244.1.9:70000"], { clusterIP: "10.96.0.66" })], {}, parts);
const chains = portChains("default/web", "tcp");

function start(given: Partial<KernelSettings> = {}, fake = new FakeIptables(), localAddresses: readonly string[] = []) {
  const executor = iptablesExecutor(settings(given), { run: fake.run, localAddresses: () => localAddresses });
  /** The programs of one step, and all that was written. */
  const step = async (...services: readonly PlanService[]) => {
    const before = fake.calls.length;
    const { problems } = await executor.apply(planOf(services));
    const calls = fake.calls.slice(before);
    return {
      problems,
      programs: calls.map(({ program }) => program),
      written: calls.map(({ input }) => input).join(""),
    };
  };
  return { fake, executor, step };
}

describe("processes", () => {
  it("starts one that writes and a few that look, and none for an unchanged plan", async () => {
    const { step } = start();
    const first = await step(web([pod]), shop);
    expect(first.problems).toEqual([]);
    expect(first.programs.filter((program) => program.endsWith("-restore"))).toHaveLength(1);
    const services = [web([pod]), shop];
    await step(...services);
    expect((await step(...services)).programs).toEqual([]);
    // Equal, though not the same object: rendered again, and found to be the same.
    expect((await step(web([pod]), shop)).programs).toEqual([]);
  });

  it("writes only the chains of an endpoint that moved", async () => {
    const { step } = start();
    await step(web([pod]), shop);
    const { written, programs } = await step(web([other]), shop);
    expect(programs).toEqual(["iptables-restore"]);
    expect(written).toBe(
      [
        ...["*nat", `:${chains.cluster} - [0:0]`, `:${chains.endpoint(other)} - [0:0]`],
        `:${chains.endpoint(pod)} - [0:0]`,
        `-A ${chains.cluster} ! -s 10.244.0.0/16 -d 10.96.0.10 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ`,
        `-A ${chains.cluster} -j ${chains.endpoint(other)}`,
        `-A ${chains.endpoint(other)} -p tcp -m tcp -j DNAT --to-destination ${other}`,
        ...[`-X ${chains.endpoint(pod)}`, "COMMIT", ""],
      ].join("\n"),
    );
  });

  it("touches neither rules nor processes on clear, and everything but others' rules on cleanup", async () => {
    const { fake, step, executor } = start();
    const untouched = fake.dump();
    await step(web([pod]));
    const held = fake.dump();
    await executor.clear();
    expect(fake.dump()).toBe(held);
    await executor.cleanup();
    expect(fake.dump().replace(/\n.*KUBE-FIREWALL.*/g, "")).toBe(untouched);
  });
});

describe("any sequence of plans", () => {
  const sockets = fc.uniqueArray(fc.constantFrom(pod, other, "10.244.1.6:8080", "10.244.2.7:9090"), { maxLength: 4 });
  const policy = fc.constantFrom("Cluster" as const, "Local" as const);
  const anyPort: fc.Arbitrary<Partial<KernelPort>> = fc.record(
    {
      port: fc.constantFrom(80, 443),
      protocol: fc.constantFrom("TCP" as const, "UDP" as const),
      nodePort: fc.constantFrom(30080, 30443),
      loadBalancerIPs: fc.constantFrom([], ["203.0.113.2"]),
      sourceRanges: fc.constant(["198.51.100.0/24"]),
      affinitySeconds: fc.constant(60),
      internalPolicy: policy,
      externalPolicy: policy,
    },
    { requiredKeys: [] },
  );
  const anyService = fc
    .tuple(fc.constantFrom("a", "b", "c"), sockets, anyPort, fc.boolean())
    .map(([name, endpoints, port, isBad]) => {
      const ports = [kernelPort("10.96.0.10", isBad ? ["10.244.1.9:70000"] : endpoints, port)];
      return planService(`default/${name}`, ports);
    });
  const anyPlan = fc
    .uniqueArray(anyService, { selector: ({ key }) => key, maxLength: 3 })
    .map((services) => services.sort((a, b) => (a.key < b.key ? -1 : 1)));

  it("leaves what the last one alone would leave", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyPlan, { minLength: 1, maxLength: 5 }), async (plans) => {
        const [all, alone] = [start(), start()];
        for (const services of plans) expect((await all.step(...services)).problems).toEqual([]);
        await alone.step(...(plans.at(-1) ?? []));
        expect(all.fake.dump()).toBe(alone.fake.dump());
      }),
      { numRuns: 200 },
    );
  });

  it("serves all but the refused ones, and leaves what a new process would, once nothing is refused", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyPlan, { minLength: 1, maxLength: 5 }), anyPlan, async (plans, last) => {
        const [all, alone] = [start(), start()];
        all.fake.refuses = /:70000$/;
        for (const services of plans) {
          const refused = services.filter(({ kernel }) => kernel?.ports[0]?.cluster[0]?.port === 70000);
          const { problems } = await all.step(...services);
          expect(problems.map(({ service }) => service)).toEqual(refused.map(({ key }) => key));
        }
        all.fake.refuses = undefined;
        await all.executor.check();
        await all.step(...last);
        await alone.step(...last);
        expect(all.fake.dump()).toBe(alone.fake.dump());
      }),
      { numRuns: 200 },
    );
  });
});

/** Each with addresses and NodePorts of its own: two Services that ask for one frontend are another matter. */
const apart = (services: readonly PlanService[], family: "IPv4" | "IPv6"): PlanService[] =>
  services.map(({ key, kernel }, at) => {
    const own = (addresses: readonly string[]) =>
      addresses.map((address) =>
        address.replace(
          /^(10\.5[01]\.)0|^(fd00:5[01]:):/,
          (_, four, six) => `${four ?? six}${at}${six === undefined ? "" : ":"}`,
        ),
      );
    const ports = (kernel?.ports ?? [])
      .filter((port) => port.family === family)
      .map((port) => ({
        ...port,
        ...{ externalIPs: own(port.externalIPs), loadBalancerIPs: own(port.loadBalancerIPs) },
        ...(port.nodePort === undefined ? {} : { nodePort: port.nodePort + 1_000 * at + port.port }),
      }));
    return planService(key, ports);
  });

describe.each(["IPv4", "IPv6"] as const)("rules of %s, read back", (family) => {
  const askers = (
    [
      ["pod", family === "IPv4" ? "10.244.9.9" : "fd00:244::99"],
      ["node", family === "IPv4" ? "192.168.9.1" : "fd00:9::1"],
      ["outside", family === "IPv4" ? "198.51.100.9" : "2001:db8::9"],
    ] as const
  ).map(([asker, source]) => ({ asker, source }));
  const node = family === "IPv4" ? "192.168.9.1" : "fd00:9::1";
  const cidrs = family === "IPv4" ? ["10.244.0.0/16"] : ["fd00:244::/32"];

  it("say what the plan says: endpoints and their shares, masquerade, affinity, refusals", async () => {
    await fc.assert(
      fc.asyncProperty(anyServices(), async (services) => {
        const fake = new FakeIptables();
        fake.installed = /^ip6?tables/;
        const { executor } = start({ families: [family], localDetector: { kind: "cluster-cidr", cidrs } }, fake);
        const planned = apart(services, family);
        await executor.apply(planOf(planned));
        const [nat, filter] = [fake.tables.get("nat") ?? new Map(), fake.tables.get("filter") ?? new Map()];
        for (const port of planned.flatMap(({ kernel }) => kernel?.ports ?? [])) {
          const fate = (source: string, isNode: boolean, destination: string, number: number) =>
            readBack(nat, filter, {
              ...{ source, fromNode: isNode, destination, toNode: destination === node },
              ...{ protocol: port.protocol.toLowerCase(), port: number },
            });
          for (const { asker, source } of askers) {
            const isNode = asker === "node";
            const allowed = port.sourceRanges === undefined || within(port.sourceRanges, [source]).length > 0;
            const of = (kind: Parameters<typeof expected>[1]) => expected(port, kind, asker, allowed);
            expect(fate(source, isNode, port.clusterIP, port.port)).toEqual(of("internal"));
            for (const ip of port.externalIPs) expect(fate(source, isNode, ip, port.port)).toEqual(of("external"));
            for (const ip of port.loadBalancerIPs) expect(fate(source, isNode, ip, port.port)).toEqual(of("balancer"));
            if (port.nodePort !== undefined) expect(fate(source, isNode, node, port.nodePort)).toEqual(of("external"));
          }
        }
      }),
      { numRuns: 100 },
    );
  }, 30_000);
});

describe("a Service that the kernel refuses", () => {
  const refusing = () => {
    const fake = new FakeIptables();
    fake.refuses = /:70000$/;
    return start({}, fake);
  };

  it("is named, keeps the rules it had, and keeps no other from being served", async () => {
    const { fake, step } = refusing();
    const good = planService("default/bad", [kernelPort("10.96.0.10", [pod], { clusterIP: "10.96.0.66" })]);
    await step(good);
    const held = fake.chain("nat", portChains("default/bad", "tcp").cluster);
    const { problems } = await step(bad(), web([pod]));
    expect(problems).toMatchObject([{ service: "default/bad", reason: "RulesRefused" }]);
    expect(problems[0]?.message).toContain("70000");
    expect(fake.chain("nat", portChains("default/bad", "tcp").cluster)).toEqual(held);
    expect(fake.chain("nat", chains.cluster)).toHaveLength(2);
  });

  it("is not tried again until it changes or check() says that it is time", async () => {
    const { fake, step, executor } = refusing();
    const services = [bad(), web([pod])];
    await step(...services);
    const again = await step(...services);
    expect(again).toMatchObject({ programs: [], problems: [{ service: "default/bad" }] });
    fake.refuses = undefined;
    expect(await executor.check()).toBe("due");
    expect((await step(...services)).problems).toEqual([]);
    expect(await executor.check()).toBe("intact");
  });

  it("loses the rules it had where those are refused as well", async () => {
    const { fake, step, executor } = refusing();
    await step(
      planService("default/bad", [kernelPort("10.96.0.10", [pod], { clusterIP: "10.96.0.66" })]),
      web([other]),
    );
    const services = [bad(), web([other])];
    await step(...services);
    fake.tables.get("nat")?.delete("KUBE-PROXY-CANARY");
    await executor.check();
    fake.refuses = new RegExp(`:70000$|${pod}$`);
    expect((await step(...services)).problems).toMatchObject([{ service: "default/bad" }]);
    expect(fake.chain("nat", portChains("default/bad", "tcp").cluster)).toBeUndefined();
    expect(fake.chain("nat", chains.cluster)).toBeDefined();
  });

  it("leaves nothing of a trial behind, though the write after it failed", async () => {
    const { fake } = refusing();
    const { run } = fake;
    let locked = false;
    const executor = iptablesExecutor(settings(), {
      localAddresses: () => [],
      run: async (program, args, input = "") => {
        if (locked) return { code: 4, stdout: "", stderr: "Another app is currently holding the xtables lock." };
        const ran = await run(program, args, input);
        // This trial was of default/web alone.
        locked = ran.code === 0 && input.includes(`:${chains.cluster} `) && input.includes("-A KUBE-PROXY-CANARY ");
        return ran;
      },
    });
    await executor.apply(planOf([]));
    await expect(executor.apply(planOf([bad(), web([pod])]))).rejects.toThrow("xtables lock");
    expect(fake.chain("nat", chains.cluster)).toBeDefined();
    locked = false;
    expect((await executor.apply(planOf([]))).problems).toEqual([]);
    expect(fake.chain("nat", chains.cluster)).toBeUndefined();
  });

  it("is found among many in few attempts", async () => {
    const { step } = refusing();
    const many = Array.from({ length: 256 }, (_, i) =>
      planService(`default/s${i}`, [kernelPort("10.96.0.10", [pod], { clusterIP: `10.96.1.${i}` })]),
    );
    const { problems, programs } = await step(...many.slice(0, 100), bad(), ...many.slice(100));
    expect(problems.map((problem) => problem.service)).toEqual(["default/bad"]);
    expect(programs.length).toBeLessThan(45);
  });

  it("names the module that ports of SCTP need, without a search", async () => {
    const { fake, step } = start();
    fake.refuses = /-m sctp/;
    const many = Array.from({ length: 300 }, (_, i) =>
      planService(`default/s${i}`, [
        kernelPort("10.96.0.10", [pod], {
          ...{ protocol: i % 25 === 0 ? "SCTP" : "TCP", clusterIP: `10.96.${1 + (i >> 8)}.${i & 255}` },
        }),
      ]),
    );
    const { problems, programs } = await step(...many);
    expect(problems).toHaveLength(12);
    for (const { message } of problems) expect(message).toContain("modprobe xt_sctp");
    expect(programs.filter((program) => program.endsWith("-restore")).length).toBeLessThan(7);
    expect(fake.chain("nat", portChains("default/s299", "tcp").cluster)).toBeDefined();
  });

  it("takes no good one that is tried down, however many were refused before it", async () => {
    const { fake, step } = refusing();
    const many = Array.from({ length: 2_000 }, (_, i) =>
      planService(`default/s${i}`, [
        kernelPort("10.96.0.10", [i < 400 && i % 2 === 0 ? "10.244.1.9:70000" : pod], {
          clusterIP: `10.96.${1 + (i >> 8)}.${i & 255}`,
        }),
      ]),
    );
    const { problems } = await step(...many);
    // The first two parts of 250 have the bad ones.
    expect(problems.filter(({ service }) => Number(service.slice("default/s".length)) >= 500)).toEqual([]);
    expect(problems.length).toBeGreaterThanOrEqual(200);
    expect(fake.chain("nat", portChains("default/s1999", "tcp").cluster)).toBeDefined();
  });
});

describe("somebody else at the rules", () => {
  it("writes everything again after our chains were flushed", async () => {
    const { fake, step, executor } = start();
    const services = [web([pod]), shop];
    await step(...services);
    const held = fake.dump();
    expect(await executor.check()).toBe("intact");
    fake.tables.get("nat")?.delete("KUBE-PROXY-CANARY");
    fake.tables.get("nat")?.set("KUBE-SERVICES", []);
    expect(await executor.check()).toBe("changed");
    await step(...services);
    expect(fake.dump()).toBe(held);
    expect(await executor.check()).toBe("intact");
  });

  it("removes what the plan lost in the meantime", async () => {
    const { fake, step, executor } = start();
    await step(web([pod]), shop);
    fake.tables.get("nat")?.delete("KUBE-PROXY-CANARY");
    expect(await executor.check()).toBe("changed");
    await step(shop);
    expect([chains.cluster, chains.endpoint(pod)].map((name) => fake.chain("nat", name))).toEqual([
      undefined,
      undefined,
    ]);
  });

  it("puts a jump back that was removed, before the rules of others", async () => {
    const { fake, step, executor } = start();
    await step(web([pod]));
    fake.tables.get("nat")?.set("OUTPUT", ["-j FOREIGN"]);
    fake.tables.get("nat")?.set("FOREIGN", []);
    expect(await executor.check()).toBe("changed");
    await step(web([pod]));
    expect(fake.chain("nat", "OUTPUT")).toEqual([
      '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      "-j FOREIGN",
    ]);
  });

  it("takes over kube-proxy's jumps and chains, and removes those of Services that are gone", async () => {
    const fake = new FakeIptables();
    const gone = ["KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SEP-AAAAAAAAAAAAAAAA"];
    const nat = fake.tables.get("nat");
    nat?.set("OUTPUT", ['-m comment --comment "kubernetes service portals" -j KUBE-SERVICES', "-j FOREIGN"]);
    nat?.set("FOREIGN", ["-j RETURN"]);
    nat?.set("KUBE-SERVICES", [`-d 10.96.9.9 -j ${gone[0]}`]);
    nat?.set(gone[0] ?? "", [`-j ${gone[1]}`]);
    nat?.set(gone[1] ?? "", []);
    const { step } = start({}, fake);
    await step(web([pod]));
    expect(fake.chain("nat", "OUTPUT")).toHaveLength(2);
    expect(fake.chain("nat", "FOREIGN")).toEqual(["-j RETURN"]);
    expect(gone.map((name) => fake.chain("nat", name))).toEqual([undefined, undefined]);
  });

  it("keeps the kubelet's rules in KUBE-FIREWALL", async () => {
    const fake = new FakeIptables();
    fake.tables.get("filter")?.set("KUBE-FIREWALL", ["-m mark --mark 0x8000/0x8000 -j DROP"]);
    await start({}, fake).step(web([pod]));
    expect(fake.chain("filter", "KUBE-FIREWALL")).toHaveLength(2);
    await start({}, fake).step(web([pod]));
    expect(fake.chain("filter", "KUBE-FIREWALL")).toHaveLength(2);
  });

  it("leaves on cleanup what somebody else's chain uses", async () => {
    const { fake, step, executor } = start();
    await step(web([pod]));
    fake.tables.get("nat")?.set("CNI-HOSTPORT-SETMARK", ["-p tcp -j KUBE-MARK-MASQ"]);
    await executor.cleanup();
    expect(fake.chain("nat", "KUBE-MARK-MASQ")).toEqual(["-j MARK --or-mark 0x4000"]);
    expect(fake.chain("nat", "KUBE-SERVICES")).toBeUndefined();
  });

  it("follows the machine's addresses where NodePorts are kept to some", async () => {
    const addresses = ["192.168.8.1"];
    const { step, executor } = start({ nodePortAddresses: ["192.168.8.0/24"] }, new FakeIptables(), addresses);
    await step(shop);
    addresses.push("192.168.8.2");
    expect(await executor.check()).toBe("due");
    expect((await step(shop)).written).toContain("-d 192.168.8.2 -j KUBE-NODEPORTS");
  });
});

describe("what was written", () => {
  it("is told by table: all rules, those of now, and nothing where nothing was", async () => {
    const { fake, executor } = start();
    const services = [web([pod, other]), shop];
    const apply = async (...of: readonly PlanService[]) => (await executor.apply(planOf(of))).written;
    /** Of our chains, without jumps and the guard in KUBE-FIREWALL, which are not counted. */
    const held = (table: string) => {
      const chains = [...(fake.tables.get(table) ?? [])].filter(([name]) => /^KUBE-(?!FIREWALL)/.test(name));
      return chains.reduce((sum, [, rules]) => sum + rules.length, 0);
    };
    const [first] = (await apply(...services)) ?? [];
    expect(first?.rules).toEqual({
      filter: { total: held("filter"), last: held("filter") },
      nat: { total: held("nat"), last: held("nat") },
    });
    const [second] = (await apply(web([pod]), shop)) ?? [];
    expect(second?.rules).toEqual({
      filter: { total: held("filter"), last: 0 },
      nat: { total: held("nat"), last: 2 },
    });
    expect(await apply(web([pod]), shop)).toEqual([]);
  });

  it("says how often it was refused", async () => {
    const { fake, step, executor } = start();
    await step(web([pod]));
    fake.refuses = /:70000$/;
    const { written } = await executor.apply(planOf([web([pod]), bad()]));
    expect(written).toMatchObject([{ family: "IPv4", refused: { changes: 1, everything: 0 } }]);
    const another = start();
    another.fake.refuses = fake.refuses;
    const applied = await another.executor.apply(planOf([web([pod]), bad()]));
    expect(applied.written).toMatchObject([{ refused: { changes: 0, everything: 1 } }]);
  });
});

describe("renewing", () => {
  it("mends single rules that check() does not see, in one process that writes, once", async () => {
    const { fake, step, executor } = start();
    const services = [web([pod, other]), shop];
    await step(...services);
    const held = fake.dump();
    fake.tables.get("nat")?.get(chains.cluster)?.pop();
    fake.tables.get("nat")?.get("KUBE-SERVICES")?.push("-j RETURN");
    expect(await executor.check()).toBe("intact");
    executor.renew();
    const { programs } = await step(...services);
    expect(fake.dump()).toBe(held);
    expect(programs.filter((program) => program.endsWith("-restore"))).toHaveLength(1);
    expect((await step(...services)).programs).toEqual([]);
  });
});

describe("a node that cannot", () => {
  it.each([
    [{ code: undefined, stderr: "iptables cannot be run: spawn iptables ENOENT" }, "apt-get install iptables"],
    [{ code: 4, stderr: "Could not fetch rule set generation id: Permission denied (you must be root)" }, "NET_ADMIN"],
    [{ code: 4, stderr: "Another app is currently holding the xtables lock." }, "fuser -v /run/xtables.lock"],
    [{ code: 3, stderr: "can't initialize iptables table `nat': Table does not exist" }, "modprobe -a iptable_nat"],
  ])("says what mends %j", async (ran, mends) => {
    const { fake, step } = start();
    fake.broken = { stdout: "", ...ran };
    const services = [web([pod])];
    await expect(step(...services)).rejects.toThrow(mends);
    await expect(step(...services)).rejects.toThrow(mends);
    fake.broken = undefined;
    expect((await step(...services)).problems).toEqual([]);
    expect(fake.chain("nat", chains.cluster)).toBeDefined();
  });

  it("does not call it done where cleanup may not look", async () => {
    const { fake, executor } = start();
    fake.broken = { code: 4, stdout: "", stderr: "Permission denied (you must be root)" };
    await expect(executor.cleanup()).rejects.toThrow("NET_ADMIN");
    fake.installed = /^$/;
    await expect(executor.cleanup()).resolves.toBe(0);
  });

  it("tries no family that it cannot do and that no Service has, before one has it or all is renewed", async () => {
    const [four, six] = [new FakeIptables(), new FakeIptables()];
    six.broken = { code: 3, stdout: "", stderr: "Table does not exist (do you need to insmod?)" };
    let tried = 0;
    const executor = iptablesExecutor(settings({ families: ["IPv4", "IPv6"] }), {
      localAddresses: () => [],
      run: (program, ...more) => {
        if (program.startsWith("ip6")) tried++;
        return (program.startsWith("ip6") ? six : four).run(program, ...more);
      },
    });
    await executor.apply(planOf([web([pod])]));
    [tried] = [0];
    expect(await executor.check()).toBe("intact");
    await executor.apply(planOf([web([pod], { algorithm: "rr" })]));
    expect(tried).toBe(0);
    executor.renew();
    await executor.apply(planOf([web([pod])]));
    expect(tried).toBeGreaterThan(0);
    const both = planService("default/six", [kernelPort("fd00::1", ["fd00:10::1"], { family: "IPv6" })]);
    await expect(executor.apply(planOf([both, web([pod])]))).rejects.toThrow("ip6tables");
  });

  it("does not call it done where a program was killed, and cleans the other family", async () => {
    const [four, six] = [new FakeIptables(), new FakeIptables()];
    six.installed = /^ip6tables/;
    const executor = iptablesExecutor(settings({ families: ["IPv4", "IPv6"] }), {
      localAddresses: () => [],
      run: (program, ...more) => (program.startsWith("ip6") ? six : four).run(program, ...more),
    });
    await executor.apply(planOf([web([pod])]));
    four.broken = { code: undefined, stdout: "", stderr: "iptables-save was ended by SIGKILL. " };
    await expect(executor.cleanup()).rejects.toThrow("was ended by SIGKILL");
    expect(six.chain("nat", "KUBE-SERVICES")).toBeUndefined();
    expect(four.chain("nat", "KUBE-SERVICES")).toBeDefined();
  });

  it("does not call it done where cleanup cannot read a table that has chains of ours, and removes those of the others", async () => {
    const { fake, step, executor } = start();
    fake.foreign.add("filter");
    await expect(executor.cleanup()).resolves.toBe(0);
    await step(web([pod]));
    await expect(executor.cleanup()).rejects.toThrow("table of another name");
    expect(fake.chain("nat", "KUBE-SERVICES")).toBeUndefined();
    fake.foreign.clear();
    await expect(executor.cleanup()).resolves.toBe(0);
    expect(fake.chain("filter", "KUBE-FORWARD")).toBeUndefined();
  });

  it.each([
    ["the table", ["filter"]],
    ["the chains that lead to ours", ["filter", "filter INPUT", "filter FORWARD"]],
  ])("puts no jump twice where %s has rules of nft's own, and notices one that is gone", async (_, foreign) => {
    const { fake, step, executor } = start();
    await step(web([pod]));
    const held = fake.dump();
    for (const each of foreign) fake.foreign.add(each);
    expect(await executor.check()).toBe("intact");
    executor.renew();
    await step(web([pod]));
    expect(fake.dump()).toBe(held);
    fake.tables.get("filter")?.set("OUTPUT", []);
    expect(await executor.check()).toBe("changed");
    await step(web([pod]));
    expect(fake.chain("filter", "OUTPUT")).not.toEqual([]);
  });

  it("says what to do where rules of nft's own stand before ours", async () => {
    const { fake, step } = start();
    fake.foreign.add("filter").add("filter INPUT");
    // With its chains there already: it could not be known whether a jump is there.
    for (const chain of ["KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"])
      fake.tables.get("filter")?.set(chain, []);
    await expect(step(web([pod]))).rejects.toThrow(/table of another name.*--proxy-mode nftables/);
    expect(fake.chain("filter", "INPUT")).toEqual([]);
  });

  it("names the modules that every Service needs", async () => {
    const { fake, step } = start();
    fake.refuses = /statistic|addrtype/;
    await expect(step(web([pod, other]))).rejects.toThrow("modprobe -a xt_addrtype xt_statistic");
  });

  it("serves without affinity where clients cannot be remembered, and says so", async () => {
    const { fake, step, executor } = start();
    fake.refuses = /-m recent/;
    const services = [web([pod, other], { affinitySeconds: 60 }), shop];
    const { problems } = await step(...services);
    expect(problems).toMatchObject([{ service: "default/web", reason: "AffinityNotSupported" }]);
    expect(problems[0]?.message).toContain("modprobe xt_recent");
    expect(fake.chain("nat", chains.cluster)).toHaveLength(3);
    fake.refuses = undefined;
    expect(await executor.check()).toBe("due");
    expect((await step(...services)).problems).toEqual([]);
    expect(fake.chain("nat", chains.cluster)).toHaveLength(5);
  });

  it("is silent about a family that it cannot serve while no Service has it, and serves the other in any case", async () => {
    const { fake, step } = start({ families: ["IPv4", "IPv6"] });
    expect((await step(web([pod]))).problems).toEqual([]);
    expect(fake.chain("nat", chains.cluster)).toBeDefined();
    const port = kernelPort("10.96.0.10", [], { family: "IPv6", clusterIP: "fd00::1" });
    await expect(step(web([other]), planService("default/six", [port]))).rejects.toThrow("ip6tables");
    expect(fake.chain("nat", chains.endpoint(other))).toBeDefined();
  });

  it("says which mode can do an algorithm that iptables cannot, and serves at random", async () => {
    const { fake, step } = start();
    const { problems } = await step(web([pod, other], { algorithm: "maglev" }));
    expect(problems).toMatchObject([{ service: "default/web", reason: "EndpointAlgorithmNotSupported" }]);
    expect(problems[0]?.message).toContain("nftables and ipvs can");
    expect(fake.chain("nat", chains.cluster)?.[1]).toContain("--mode random");
  });
});

describe("the flavour", () => {
  it.each(["nft", "legacy"])("is %s where the kubelet uses that", async (flavour) => {
    const fake = new FakeIptables();
    const { run } = fake;
    fake.tables.get("mangle")?.set("KUBE-KUBELET-CANARY", []);
    const executor = iptablesExecutor(settings(), {
      localAddresses: () => [],
      run: (program, args, input) =>
        program.includes(flavour === "nft" ? "legacy" : "nft")
          ? Promise.resolve({ code: 0, stdout: "", stderr: "" })
          : run(program, args, input),
    });
    await executor.apply(planOf([web([pod])]));
    expect(fake.calls.at(-1)?.program).toBe(`iptables-${flavour}-save`);
    expect(fake.calls.map(({ program }) => program)).toContain(`iptables-${flavour}-restore`);
  });
});

describe("thousands of chains", () => {
  const many = (count: number, host: string) =>
    Array.from({ length: count }, (_, i) =>
      planService(`default/s${i}`, [
        kernelPort("10.96.0.10", [`10.244.1.5:${1000 + i}`, `${host}:8080`], {
          ...{ clusterIP: `10.96.${i >> 8}.${i & 255}`, loadBalancerIPs: [`203.0.${i >> 8}.${i & 255}`] },
          sourceRanges: ["198.51.100.0/24"],
        }),
      ]),
    );

  it("go in parts of which each holds by itself, first and last", async () => {
    const [parts, alone] = [start(), start()];
    const first = await parts.step(...many(700, "10.244.2.5"));
    expect(first.problems).toEqual([]);
    expect(first.written.split("*nat\n").length).toBeGreaterThan(3);
    // The kernel in memory refuses a rule that leads nowhere, and a chain that is removed while a rule leads to it.
    expect((await parts.step(...many(500, "10.244.2.6"))).problems).toEqual([]);
    expect((await parts.step()).problems).toEqual([]);
    await alone.step();
    expect(parts.fake.dump()).toBe(alone.fake.dump());
    await parts.step(...many(500, "10.244.2.6"));
    await Promise.all([parts.executor.cleanup(), alone.executor.cleanup()]);
    expect(parts.fake.dump()).toBe(alone.fake.dump());
    const removal = parts.fake.calls.findLast(({ program }) => program.endsWith("-restore"));
    expect(removal?.input.split("*nat\n").length).toBeGreaterThan(3);
  });

  it("leave a refused Service the rules that it had, though a part of the change was written", async () => {
    const { fake, step } = start();
    const services = many(700, "10.244.2.5");
    await step(...services);
    const chain = portChains("default/s5", "tcp").cluster;
    const held = fake.chain("nat", chain);
    fake.refuses = / -s 999/;
    const changed = many(700, "10.244.2.6");
    // Its endpoints are in a part before the one with its source ranges.
    changed[5] = planService("default/s5", [
      kernelPort("10.96.0.10", [other], { loadBalancerIPs: ["203.0.0.5"], sourceRanges: ["999.0.0.0/8"] }),
    ]);
    const { problems } = await step(...changed);
    expect(problems.map((problem) => problem.service)).toEqual(["default/s5"]);
    expect(fake.chain("nat", chain)).toEqual(held);
  });
});
