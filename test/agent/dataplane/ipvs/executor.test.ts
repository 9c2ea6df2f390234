// The executor over a node in memory: which programs it runs when, what is left after any sequence of plans, wherever it was killed,
// and what it says when a node cannot. The packet table in a virtual machine has the real kernel (test/cluster/vm).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { iptablesExecutor } from "../../../../agent/dataplane/iptables/executor.ts";
import { ipvsExecutor } from "../../../../agent/dataplane/ipvs/executor.ts";
import { defaultSettings, type KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import type { KernelPort, PlanService } from "../../../../agent/plan/plan.ts";
import { anyServices, kernelPort, planOf, planService, to } from "../kernel-plans.ts";
import { FakeNode } from "./fake-node.ts";

const settings = (parts: Partial<KernelSettings> = {}): KernelSettings => ({
  ...defaultSettings,
  ...{ mode: "ipvs", localDetector: { kind: "cluster-cidr", cidrs: ["10.244.0.0/16", "fd00:10::/48"] } },
  ...parts,
});
const machine = ["192.168.9.1", "127.0.0.1", "fd00:9::1", "fe80::1", "::1"];
const pod = to("10.244.1.5");
const other = to("10.244.2.5", { local: false });
const web = (endpoints = [pod], more: Partial<KernelPort> = {}) =>
  planService("default/web", [kernelPort("10.96.0.10", endpoints, more)]);
const shop = planService("default/shop", [kernelPort("10.96.0.20", [other], { nodePort: 30080 })]);

function start(given: Partial<KernelSettings> = {}, node = new FakeNode()) {
  const clock = { now: 0 };
  const local = [...machine];
  const executor = ipvsExecutor(settings(given), {
    run: node.run,
    localAddresses: () => local,
    now: () => clock.now,
  });
  /** What was run in one step. */
  const step = async (...services: readonly PlanService[]) => {
    const before = node.calls.length;
    const { problems } = await executor.apply(planOf(services));
    return { problems, calls: node.calls.slice(before) };
  };
  return { node, executor, step, clock, local };
}

const destinations = (node: FakeNode, key = "-t 10.96.0.10:80") =>
  Object.fromEntries([...(node.servers.get(key)?.destinations ?? [])].map(([socket, { weight }]) => [socket, weight]));
const entries = (node: FakeNode, set: string) => [...(node.sets.get(set)?.entries ?? [])];

describe("processes", () => {
  it("run none for an unchanged plan", async () => {
    const { step } = start();
    const services = [web(), shop];
    await step(...services);
    expect((await step(...services)).calls).toEqual([]);
    // Equal, though not the same object.
    expect((await step(web(), shop)).calls).toEqual([]);
  });

  it("are one for an endpoint that came", async () => {
    const { step } = start();
    await step(web([other]), shop);
    expect((await step(web([other, to("10.244.2.6", { local: false })]), shop)).calls).toEqual([
      "ipvsadm -R < -a -t 10.96.0.10:80 -r 10.244.2.6:8080 -m -w 1",
    ]);
  });

  it("are one a kind for a Service that came and went, in the order in which packets may meet them", async () => {
    const { step } = start();
    await step(shop);
    expect((await step(web(), shop)).calls).toEqual([
      "ipset restore -exist < add KUBE-LOOP-BACK 10.244.1.5,6:8080,10.244.1.5\nadd KUBE-CLUSTER-IP 10.96.0.10,6:80\nadd KUBE-IPVS-IPS 10.96.0.10",
      "ipvsadm -R < -A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 10.244.1.5:8080 -m -w 1",
      "ip -force -batch - < addr replace 10.96.0.10/32 dev kube-ipvs0",
    ]);
    expect((await step(shop)).calls).toEqual([
      "ipvsadm -R < -D -t 10.96.0.10:80",
      "ip -force -batch - < addr del 10.96.0.10/32 dev kube-ipvs0",
      "ipset restore -exist < del KUBE-IPVS-IPS 10.96.0.10\ndel KUBE-CLUSTER-IP 10.96.0.10,6:80\ndel KUBE-LOOP-BACK 10.244.1.5,6:8080,10.244.1.5",
    ]);
  });

  it("list only, and no entries, where check() finds all as it was", async () => {
    const { step, executor, node } = start();
    await step(web(), shop);
    node.calls.length = 0;
    expect(await executor.check()).toBe("intact");
    expect(node.calls).toEqual([
      "ipvsadm -Ln",
      "ip -o addr show dev kube-ipvs0",
      "ipset list -terse",
      "iptables-save -t filter",
      "iptables-save -t nat",
    ]);
  });
});

describe("any sequence of plans", () => {
  const anyPlans = fc.array(anyServices(4), { minLength: 1, maxLength: 4 });

  it("leaves what the last one alone would leave, and nothing to mend", async () => {
    await fc.assert(
      fc.asyncProperty(anyPlans, async (plans) => {
        const [all, alone] = [start(), start()];
        for (const services of plans) await all.step(...services);
        const last = plans.at(-1) ?? [];
        await alone.step(...last);
        expect(await all.executor.check()).toBe("intact");
        expect(stateOf(all.node, last)).toBe(stateOf(alone.node, last));
      }),
      { numRuns: 100 },
    );
  });

  it("is mended by the next process, wherever the one before was killed", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyServices(3),
        anyServices(3),
        fc.integer({ min: 0, max: 20 }),
        async (before, after, lives) => {
          const killed = start();
          await killed.step(...before);
          killed.node.lives = lives;
          await killed.executor.apply(planOf(after)).catch(() => undefined);
          killed.node.lives = Number.POSITIVE_INFINITY;
          const next = start({}, killed.node);
          await next.step(...after);
          const alone = start();
          await alone.step(...after);
          expect(await next.executor.check()).toBe("intact");
          expect(stateOf(next.node, after)).toBe(stateOf(alone.node, after));
        },
      ),
      { numRuns: 150 },
    );
  });

  it("leaves nothing behind after cleanup()", async () => {
    await fc.assert(
      fc.asyncProperty(anyPlans, async (plans) => {
        const { node, executor, step } = start();
        const untouched = node.dump();
        for (const services of plans) await step(...services);
        await executor.cleanup();
        expect(node.dump()).toBe(untouched);
      }),
      { numRuns: 50 },
    );
  });

  /** A family that had Services and has none any more keeps its sets, empty, and its chains. */
  const stateOf = (node: FakeNode, services: readonly PlanService[]) => {
    const used = (["IPv4", "IPv6"] as const).filter((family) =>
      services.some(({ kernel }) => kernel?.ports.some((port) => port.family === family)),
    );
    const unused = (["IPv4", "IPv6"] as const).filter((family) => !used.includes(family));
    for (const family of unused) node.iptables[family] = new FakeNode().iptables[family];
    for (const [name, { entries: held }] of node.sets) if (held.size === 0) node.sets.delete(name);
    return node.dump();
  };
});

describe("an endpoint that is gone", () => {
  const connected = async (protocol: "TCP" | "UDP", algorithm: KernelPort["algorithm"] = "rr") => {
    const started = start();
    const key = protocol === "TCP" ? "-t 10.96.0.10:80" : "-u 10.96.0.10:80";
    await started.step(web([pod, other], { protocol, algorithm }));
    const destination = started.node.servers.get(key)?.destinations.get("10.244.2.5:8080");
    if (destination !== undefined) destination.connections = 2;
    await started.step(web([pod], { protocol, algorithm }));
    return { ...started, key };
  };

  it("keeps its connections and gets no new one, until it has none and a minute is over", async () => {
    const { node, executor, clock } = await connected("TCP");
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1, "10.244.2.5:8080": 0 });
    clock.now = 60_000;
    expect(await executor.check()).toBe("intact");
    expect(destinations(node)).toHaveProperty(["10.244.2.5:8080"], 0);
    const drained = node.servers.get("-t 10.96.0.10:80")?.destinations.get("10.244.2.5:8080");
    if (drained !== undefined) drained.connections = 0;
    clock.now = 119_000;
    expect(await executor.check()).toBe("intact");
    expect(destinations(node)).toHaveProperty(["10.244.2.5:8080"], 0);
    clock.now = 120_000;
    expect(await executor.check()).toBe("intact");
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1 });
    expect(await executor.check()).toBe("intact");
  });

  it("is served again where it comes back, by one change", async () => {
    const { node, step, executor, clock } = await connected("TCP");
    expect((await step(web([pod, other], { algorithm: "rr" }))).calls).toEqual([
      "ipvsadm -R < -e -t 10.96.0.10:80 -r 10.244.2.5:8080 -m -w 1",
    ]);
    clock.now = 600_000;
    expect(await executor.check()).toBe("intact");
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1, "10.244.2.5:8080": 1 });
  });

  it("goes at once with UDP, and with dh, which would refuse clients that fall to it", async () => {
    const udp = await connected("UDP");
    expect(destinations(udp.node, udp.key)).toEqual({ "10.244.1.5:8080": 1 });
    const dh = await connected("TCP", "dh");
    expect(destinations(dh.node)).toEqual({ "10.244.1.5:8080": 1 });
  });

  it("goes in the end also where something else is refused all the time", async () => {
    const { node, step, executor, clock } = await connected("TCP");
    const bad = planService("default/bad", [kernelPort("10.96.0.66", [to("10.244.1.9", { port: 70000 })])]);
    await step(web([pod], { algorithm: "rr" }), bad);
    const drained = node.servers.get("-t 10.96.0.10:80")?.destinations.get("10.244.2.5:8080");
    if (drained !== undefined) drained.connections = 0;
    clock.now = 60_000;
    expect(await executor.check()).toBe("due");
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1 });
  });

  it("drains on where the process was replaced meanwhile", async () => {
    const { node } = await connected("TCP");
    const next = start({}, node);
    await next.step(web([pod], { algorithm: "rr" }));
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1, "10.244.2.5:8080": 0 });
    const drained = node.servers.get("-t 10.96.0.10:80")?.destinations.get("10.244.2.5:8080");
    if (drained !== undefined) drained.connections = 0;
    expect(await next.executor.check()).toBe("intact");
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1 });
  });
});

describe("what the kernel refuses", () => {
  const bad = planService("default/bad", [
    kernelPort("10.96.0.66", [to("10.244.1.9", { port: 70000 })]),
    kernelPort("10.96.0.66", [pod], { port: 81 }),
  ]);

  it.each([
    ["a server that ipvsadm cannot read", bad, undefined],
    ["a server that the kernel does not take", web([pod], { externalIPs: ["192.0.2.1"] }), /-A -t 192\.0\.2\.1/],
    ["an entry for which a set has no room", web([pod], { externalIPs: ["192.0.2.1"] }), /KUBE-EXTERNAL-IP 192/],
    ["an address", web([pod], { externalIPs: ["192.0.2.1"] }), /replace 192\.0\.2\.1/],
  ])("takes nothing else down: %s", async (_, service, refuses) => {
    const { node, step, executor } = start();
    node.refuses = refuses;
    const many = Array.from({ length: 20 }, (__, index) =>
      planService(`default/s${index}`, [kernelPort(`10.96.1.${index}`, [pod])]),
    );
    const services = [...many.slice(0, 10), service, ...many.slice(10), shop];
    const { problems } = await step(...services);
    expect(problems).toMatchObject([{ service: service.key, reason: "RulesRefused" }]);
    for (let index = 0; index < 20; index++)
      expect(destinations(node, `-t 10.96.1.${index}:80`)).toEqual({ "10.244.1.5:8080": 1 });
    expect(node.device?.has("10.96.1.19/32")).toBe(true);
    // What else the Service has is there.
    expect(destinations(node, service === bad ? "-t 10.96.0.66:81" : undefined)).toEqual({ "10.244.1.5:8080": 1 });
    expect((await step(...services)).calls).toEqual([]);
    // It is tried again once check() was asked.
    expect(await executor.check()).toBe("due");
    node.refuses = undefined;
    if (service !== bad) {
      expect((await step(...services)).problems).toEqual([]);
      expect(await executor.check()).toBe("intact");
    }
  });

  it("is found with few runs among many", async () => {
    const { step } = start();
    const many = Array.from({ length: 500 }, (_, index) =>
      planService(`default/s${index}`, [kernelPort(`10.96.${1 + (index >> 8)}.${index & 255}`, [pod])]),
    );
    const { problems, calls } = await step(...many, bad);
    expect(problems).toHaveLength(1);
    expect(calls.length).toBeLessThan(60);
  });

  it("is told at once of a set that is full, with what has no such limit, and fills the sets after it", async () => {
    const { node, step } = start();
    node.room = 300;
    const many = Array.from({ length: 600 }, (_, index) =>
      planService(`default/s${index}`, [kernelPort(`10.96.${1 + (index >> 8)}.${index & 255}`, [other])]),
    );
    const late = planService("default/z", [kernelPort("10.96.0.66", [pod], { externalIPs: ["192.0.2.1"] })]);
    const { problems, calls } = await step(...many, late);
    const full = problems.filter(({ message }) => message.includes("KUBE-CLUSTER-IP"));
    expect(full).toHaveLength(301);
    for (const { message } of problems) expect(message).toMatch(/65,536.*--proxy-mode nftables/);
    expect(calls.filter((call) => call.startsWith("ipset restore")).length).toBeLessThan(6);
    expect(entries(node, "KUBE-EXTERNAL-IP")).toEqual(["192.0.2.1,tcp:80"]);
    expect(entries(node, "KUBE-IPVS-IPS")).toHaveLength(300);
  });

  it("tries each address once, since ip goes on after one that is refused", async () => {
    const { node, step } = start();
    node.refuses = /addr replace fd00/;
    const six = Array.from({ length: 300 }, (_, index) =>
      planService(`default/s${index}`, [
        kernelPort(`fd00:96::${index.toString(16)}`, [to("fd00:244::1")], { family: "IPv6" }),
      ]),
    );
    const { problems, calls } = await step(...six, web());
    expect(problems).toHaveLength(300);
    expect(calls.filter((call) => call.startsWith("ip -force"))).toHaveLength(1);
    expect(node.device).toEqual(new Set(["10.96.0.10/32"]));
  });

  it("deals by rr where the kernel lacks a scheduler, says which module has it, and uses it once it is there", async () => {
    const { node, step, executor } = start();
    node.schedulers = ["rr"];
    const service = planService("default/web", [kernelPort("10.96.0.10", [pod], { algorithm: "maglev" })]);
    const { problems } = await step(service, shop);
    expect(problems).toMatchObject([{ service: "default/web", reason: "EndpointAlgorithmNotSupported" }]);
    expect(problems[0]?.message).toContain("modprobe ip_vs_mh");
    expect(node.servers.get("-t 10.96.0.10:80")?.options).toBe("-s rr");
    node.schedulers.push("mh");
    expect(await executor.check()).toBe("due");
    expect((await step(service, shop)).problems).toEqual([]);
    expect(node.servers.get("-t 10.96.0.10:80")?.options).toBe("-s mh -b mh-fallback");
  });

  it("says that a node may pass source ranges where xt_ipvs is missing, and serves", async () => {
    const { node, step, executor } = start();
    node.iptables.IPv4.refuses = /-m ipvs/;
    const service = web([pod], { loadBalancerIPs: ["192.0.2.5"], sourceRanges: ["203.0.113.0/24"] });
    const { problems } = await step(service, shop);
    expect(problems).toMatchObject([{ service: "default/web", reason: "RulesRefused" }]);
    expect(problems[0]?.message).toContain("modprobe xt_ipvs");
    expect(node.iptables.IPv4.chain("filter", "KUBE-PROXY-FIREWALL")).toHaveLength(1);
    // It is not tried again at each change, and is once check() was asked.
    const { calls, problems: still } = await step(
      service,
      shop,
      planService("default/z", [kernelPort("10.96.0.30", [])]),
    );
    expect(calls.filter((call) => call.startsWith("iptables"))).toEqual([]);
    expect(still).toEqual(problems);
    node.iptables.IPv4.refuses = undefined;
    expect(await executor.check()).toBe("due");
    expect((await step(service, shop)).problems).toEqual([]);
    expect(node.iptables.IPv4.chain("filter", "KUBE-IPVS-OUT-FILTER")).toHaveLength(1);
  });

  it("serves the first by name where two Services ask for an address, whoever came first", async () => {
    const { node, step } = start();
    const external = { externalIPs: ["192.0.2.1"] };
    const [a, b] = ["a", "b"].map((name, index) =>
      planService(`default/${name}`, [kernelPort(`10.96.0.${index}`, [index === 0 ? pod : other], external)]),
    ) as [PlanService, PlanService];
    await step(b);
    const { problems } = await step(a, b);
    expect(problems).toMatchObject([{ service: "default/b", reason: "FrontendConflict" }]);
    expect(destinations(node, "-t 192.0.2.1:80")).toMatchObject({ "10.244.1.5:8080": 1 });
    await step(b);
    expect(destinations(node, "-t 192.0.2.1:80")).toMatchObject({ "10.244.2.5:8080": 1 });
  });
});

describe("others", () => {
  const edits: readonly (readonly [string, (node: FakeNode) => unknown])[] = [
    ["a server is removed", ({ servers }) => servers.delete("-t 10.96.0.10:80")],
    ["a destination is removed", ({ servers }) => servers.get("-t 10.96.0.10:80")?.destinations.clear()],
    ["another scheduler", ({ servers }) => Object.assign(servers.get("-t 10.96.0.10:80") ?? {}, { options: "-s lc" })],
    ["an address is removed", ({ device }) => device?.delete("10.96.0.10/32")],
    ["the device is removed", (node) => (node.device = undefined)],
    ["a set is emptied", ({ sets }) => sets.get("KUBE-CLUSTER-IP")?.entries.clear()],
    ["a chain is emptied", ({ iptables }) => iptables.IPv4.tables.get("nat")?.set("KUBE-SERVICES", [])],
    ["a jump is removed", ({ iptables }) => iptables.IPv4.tables.get("filter")?.set("INPUT", [])],
  ];
  it.each(edits)("are noticed and mended: %s", async (_, edit) => {
    const { node, step, executor } = start();
    await step(web(), shop);
    const held = node.dump();
    expect(await executor.check()).toBe("intact");
    edit(node);
    expect(await executor.check()).toBe("changed");
    await step(web(), shop);
    expect(node.dump()).toBe(held);
    expect(await executor.check()).toBe("intact");
  });

  it("keep their servers, rules, sets and addresses, by excludeCIDRs and by what kube-proxy never makes", async () => {
    const node = new FakeNode();
    node.servers.set("-t 172.16.0.1:25", {
      options: "-s wlc",
      destinations: new Map([["10.9.9.9:25", { weight: 1, method: "-m", connections: 3 }]]),
    });
    node.servers.set("-t 10.96.0.99:25", {
      options: "-s rr",
      destinations: new Map([["10.9.9.9:25", { weight: 1, method: "-g", connections: 0 }]]),
    });
    node.servers.set("-t 10.96.0.98:25", { options: "-s rr", destinations: new Map() });
    node.device = new Set(["10.96.0.99/32", "10.96.0.98/32"]);
    node.sets.set("blocklist", { type: "hash:ip", entries: new Set(["203.0.113.9"]) });
    node.iptables.IPv4.tables.get("nat")?.set("POSTROUTING", ["-j FOREIGN"]);
    node.iptables.IPv4.tables.get("nat")?.set("FOREIGN", ["-j RETURN"]);
    const { step, executor } = start({ ipvs: { ...defaultSettings.ipvs, excludeCIDRs: ["10.96.0.98/32"] } }, node);
    const foreign = () =>
      ["-t 172.16.0.1:25", "-t 10.96.0.99:25", "-t 10.96.0.98:25"].filter((key) => node.servers.has(key));
    await step(web(), shop);
    expect(foreign()).toHaveLength(3);
    await executor.cleanup();
    expect(foreign()).toHaveLength(3);
    expect(entries(node, "blocklist")).toEqual(["203.0.113.9"]);
    expect(node.iptables.IPv4.chain("nat", "POSTROUTING")).toEqual(["-j FOREIGN"]);
    expect(node.sets.size).toBe(1);
  });

  it("were kube-proxy: what it left is taken over in place, and what no Service has any more is removed", async () => {
    const node = new FakeNode();
    await start({}, node).step(
      web([pod, other]),
      planService("default/old", [kernelPort("10.96.0.77", [pod], { nodePort: 30077 })]),
    );
    const kept = node.servers.get("-t 10.96.0.10:80");
    const { step } = start({}, node);
    const { calls } = await step(web([pod, other]));
    expect(node.servers.get("-t 10.96.0.10:80")).toBe(kept);
    expect(calls.filter((call) => call.startsWith("ipvsadm -R"))).toEqual([
      "ipvsadm -R < -D -t 10.96.0.77:80\n-D -t 192.168.9.1:30077",
    ]);
    expect(entries(node, "KUBE-NODE-PORT-TCP")).toEqual([]);
    expect([...(node.device ?? [])]).toEqual(["10.96.0.10/32"]);
  });

  it("are the iptables mode: each takes over from the other, and removes only what the other alone has", async () => {
    const node = new FakeNode();
    const effects = { run: node.run, localAddresses: () => machine };
    const iptables = iptablesExecutor(settings({ mode: "iptables" }), effects);
    const ipvs = ipvsExecutor(settings(), effects);
    const services = planOf([web(), shop]);
    await iptables.apply(services);
    await ipvs.apply(services);
    await iptables.cleanup();
    expect(await ipvs.check()).toBe("intact");
    expect(node.iptables.IPv4.dump()).not.toMatch(/KUBE-(SVC|SEP|EXTERNAL-SERVICES|PROXY-CANARY)/);
    const back = iptablesExecutor(settings({ mode: "iptables" }), effects);
    await back.apply(services);
    await ipvs.cleanup();
    expect(await back.check()).toBe("intact");
    expect(node.iptables.IPv4.dump()).not.toMatch(/--match-set|KUBE-IPVS|KUBE-NODE-PORT/);
    expect([node.sets.size, node.servers.size, node.device]).toEqual([0, 0, undefined]);
  });
});

describe("connections through ipvs, when the node goes on in another mode,", () => {
  const services = planOf([web(), shop]);
  const changed = async () => {
    const node = new FakeNode();
    const effects = { run: node.run, localAddresses: () => machine };
    const ipvs = ipvsExecutor(settings(), effects);
    await ipvs.apply(services);
    const open = node.servers.get("-t 10.96.0.10:80")?.destinations.values().next().value;
    if (open === undefined) throw new Error("there is no such server");
    open.connections = 2;
    const iptables = iptablesExecutor(settings({ mode: "iptables" }), effects);
    await iptables.apply(services);
    return { node, ipvs, iptables, open };
  };

  it("go on until they end, and all that they need with them", async () => {
    const { node, ipvs, iptables, open } = await changed();
    expect(await ipvs.cleanup(true)).toBe(1);
    expect([...node.servers.keys()]).toEqual(["-t 10.96.0.10:80"]);
    expect([...(node.device ?? [])]).toEqual(["10.96.0.10/32"]);
    expect(node.iptables.IPv4.chain("filter", "INPUT")?.join()).toContain("KUBE-IPVS-FILTER");
    expect(node.iptables.IPv4.chain("nat", "KUBE-SERVICES")?.join()).not.toContain("--match-set");
    expect(await iptables.check()).toBe("intact");
    open.connections = 0;
    expect(await ipvs.cleanup(true)).toBe(0);
    expect([node.sets.size, node.servers.size, node.device]).toEqual([0, 0, undefined]);
    expect(node.iptables.IPv4.dump()).not.toMatch(/--match-set|KUBE-IPVS|KUBE-NODE-PORT/);
    expect(await iptables.check()).toBe("intact");
  });

  it("end at once where everything is to go", async () => {
    const { node, ipvs } = await changed();
    expect(await ipvs.cleanup()).toBe(0);
    expect([node.sets.size, node.servers.size, node.device]).toEqual([0, 0, undefined]);
  });

  it("are taken over by a node that comes back", async () => {
    const { node, ipvs, open } = await changed();
    await ipvs.cleanup(true);
    const back = ipvsExecutor(settings(), { run: node.run, localAddresses: () => machine });
    await back.apply(services);
    expect(node.servers.get("-t 10.96.0.10:80")?.destinations.values().next().value).toBe(open);
    expect(await back.check()).toBe("intact");
  });
});

it.each([true, false])("addresses come before the chains over iptables mode's rules alone: %s", async (over) => {
  const node = new FakeNode();
  const effects = { run: node.run, localAddresses: () => machine };
  if (over) await iptablesExecutor(settings({ mode: "iptables" }), effects).apply(planOf([web()]));
  node.calls.length = 0;
  await ipvsExecutor(settings(), effects).apply(planOf([web()]));
  const [addresses, chains] = [/^ip -force/, /^iptables\S*-restore/].map((program) =>
    node.calls.findIndex((call) => program.test(call)),
  );
  expect(addresses).toBeGreaterThanOrEqual(0);
  expect(chains).toBeGreaterThanOrEqual(0);
  expect((addresses ?? 0) < (chains ?? 0)).toBe(over);
});

describe("the node", () => {
  it("serves NodePorts at each of its addresses, and follows them", async () => {
    const { node, step, executor, local } = start();
    await step(shop);
    const served = () => [...node.servers.keys()].filter((key) => key.endsWith(":30080"));
    expect(served()).toEqual(["-t 192.168.9.1:30080"]);
    local.push("192.168.8.1");
    expect(await executor.check()).toBe("due");
    await step(shop);
    expect(served()).toEqual(["-t 192.168.9.1:30080", "-t 192.168.8.1:30080"]);
    expect(entries(node, "KUBE-NODE-PORT-TCP")).toEqual(["30080"]);
  });

  it("keeps an address that it has itself off the device, and serves it", async () => {
    const { node, step } = start();
    await step(web([pod], { externalIPs: ["192.168.9.1"] }));
    expect([...(node.device ?? [])]).toEqual(["10.96.0.10/32"]);
    expect(destinations(node, "-t 192.168.9.1:80")).toEqual({ "10.244.1.5:8080": 1 });
  });

  it("shares an address between ports and Services, and gives it up with the last", async () => {
    const { node, step } = start();
    const two = planService("default/two", [
      kernelPort("10.96.0.30", [pod], { externalIPs: ["192.0.2.1"], port: 443 }),
      kernelPort("10.96.0.30", [pod], { externalIPs: ["192.0.2.1"], port: 81 }),
    ]);
    await step(two, web([pod], { externalIPs: ["192.0.2.1"] }));
    await step(web([pod], { externalIPs: ["192.0.2.1"] }));
    expect([...(node.device ?? [])].sort()).toEqual(["10.96.0.10/32", "192.0.2.1/32"]);
    await step(web([pod]));
    expect([...(node.device ?? [])]).toEqual(["10.96.0.10/32"]);
  });

  it("sets times once, where they were asked for", async () => {
    const { node, step } = start({ ipvs: { ...defaultSettings.ipvs, tcpTimeout: 900 } });
    await step(web());
    expect(node.timeouts).toBe("900 0 0");
  });

  const missing = (program: string): { code: undefined; stdout: string; stderr: string } => ({
    ...{ code: undefined, stdout: "", stderr: `${program} cannot be run: spawn ${program} ENOENT` },
  });
  it.each([
    ["ipvsadm", missing("ipvsadm"), "apt-get install ipvsadm"],
    ["ipset", missing("ipset"), "apt-get install ipset"],
    ["ip", missing("ip"), "apt-get install iproute2"],
    [
      "ipvsadm",
      { code: 2, stdout: "", stderr: "Can't initialize ipvs: Protocol not available\n" },
      "modprobe -a ip_vs",
    ],
    [
      "ipvsadm",
      { code: 2, stdout: "", stderr: "Can't initialize ipvs: Permission denied (you must be root)\n" },
      "NET_ADMIN",
    ],
    ["ip", { code: 2, stdout: "", stderr: "Error: Unknown device type.\n" }, "modprobe -a dummy"],
  ])("says what mends it where %s cannot: %j", async (program, ran, mends) => {
    const { node, step } = start();
    node.broken.set(program, ran);
    await expect(step(web())).rejects.toThrow(mends);
    node.broken.clear();
    expect((await step(web())).problems).toEqual([]);
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1 });
  });

  it("names the modules of its rules, and that of rr", async () => {
    const { node, step } = start();
    node.iptables.IPv4.refuses = /match-set/;
    await expect(step(web())).rejects.toThrow("modprobe -a xt_set");
    node.iptables.IPv4.refuses = undefined;
    node.schedulers = [];
    const next = start({}, node);
    await expect(next.step(web())).rejects.toThrow("modprobe -a ip_vs_rr");
  });

  it("serves one family where it has no rules of the other, and says so", async () => {
    const { node, step, executor } = start();
    node.iptables.IPv6.installed = /^$/;
    const six = planService("default/six", [kernelPort("fd00:96::1", [to("fd00:244::1")], { family: "IPv6" })]);
    const { problems } = await step(web(), six);
    expect(problems).toMatchObject([{ service: "*", message: expect.stringContaining("rules IPv6") }]);
    expect(destinations(node)).toEqual({ "10.244.1.5:8080": 1 });
    expect(node.device?.has("10.96.0.10/32")).toBe(true);
    node.iptables.IPv6.installed = /^ip6tables/;
    expect(await executor.check()).toBe("changed");
    expect((await step(web(), six)).problems).toEqual([]);
  });

  it("says of a node without IPv6 that its addresses are refused, and serves IPv4", async () => {
    const { node, step } = start();
    node.refuses = /addr replace fd00/;
    const six = planService("default/six", [kernelPort("fd00:96::1", [to("fd00:244::1")], { family: "IPv6" })]);
    expect((await step(web(), six)).problems).toMatchObject([{ service: "default/six", reason: "RulesRefused" }]);
    expect(node.device?.has("10.96.0.10/32")).toBe(true);
  });

  it.each([
    ["the table", ["filter"]],
    ["the chains that lead to ours", ["filter", "filter INPUT", "filter FORWARD", "filter OUTPUT"]],
  ])("puts no jump twice where %s has rules of nft's own, and notices one that is gone", async (_, foreign) => {
    const { node, step, executor } = start();
    await step(web());
    const held = node.dump();
    const { IPv4: iptables } = node.iptables;
    for (const each of foreign) iptables.foreign.add(each);
    expect(await executor.check()).toBe("intact");
    executor.renew();
    await step(web());
    expect(node.dump()).toBe(held);
    iptables.tables.get("nat")?.set("OUTPUT", []);
    expect(await executor.check()).toBe("changed");
    await step(web());
    expect(node.dump()).toBe(held);
  });

  it("writes no jump where it cannot be known whether it is there, and says what to do", async () => {
    const { node, step } = start();
    const { IPv4: iptables } = node.iptables;
    iptables.foreign.add("filter").add("filter INPUT");
    iptables.tables.get("filter")?.set("KUBE-NODE-PORT", []);
    await expect(step(web())).rejects.toThrow(/table of another name.*--proxy-mode nftables/);
    expect(iptables.chain("filter", "INPUT")).toEqual([]);
  });

  it("has nothing to clean where its kernel lacks ipvs, and asks ipvs nothing then", async () => {
    const { node, executor } = start();
    node.broken.set("ipvsadm", { code: 2, stdout: "", stderr: "Can't initialize ipvs: Protocol not available\n" });
    node.broken.set("ipset", { code: 1, stdout: "", stderr: "ipset v7.17: Cannot open session to kernel.\n" });
    await executor.cleanup();
    expect(node.calls.filter((call) => call.startsWith("ipvsadm"))).toEqual([]);
  });

  it.each(["ipset", "ipvsadm", "iptables-save"])("does not call it cleaned where %s was killed", async (program) => {
    const { node, step, executor } = start();
    await step(web());
    node.broken.set(program, { code: undefined, stdout: "", stderr: `${program} was ended by SIGKILL. ` });
    await expect(executor.cleanup()).rejects.toThrow("was ended by SIGKILL");
  });

  it("does not call it cleaned where it may not look", async () => {
    const { node, executor } = start();
    node.broken.set("ipset", {
      code: 1,
      stdout: "",
      stderr: "ipset v7.17: Kernel error received: Operation not permitted\n",
    });
    await expect(executor.cleanup()).rejects.toThrow("NET_ADMIN");
  });
});
