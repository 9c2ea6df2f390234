// The nftables executor over a fake nft: whatever plans come in whatever order, the table does what the last one says, by scripts
// that the kernel takes, and by none where nothing has changed.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nftablesExecutor } from "../../../../agent/dataplane/nftables/executor.ts";
import { Table } from "../../../../agent/dataplane/nftables/table.ts";
import { defaultSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import type { KernelApplied } from "../../../../agent/dataplane/executor.ts";
import type { Run } from "../../../../agent/dataplane/kernel/run.ts";
import type { PlanService } from "../../../../agent/plan/plan.ts";
import { anyServices, kernelNode, kernelPort, planOf, planService, to } from "../kernel-plans.ts";
import { FakeNft } from "./fake-nft.ts";
import { expected, readBack } from "./read-back.ts";

const settings = {
  ...defaultSettings,
  localDetector: { kind: "cluster-cidr" as const, cidrs: ["10.244.0.0/16", "fd00:10::/32"] },
};
const start = (nft = new FakeNft()) => {
  const clock = { now: 0 };
  const effects = { run: nft.run, localAddresses: () => [], now: () => clock.now };
  return { nft, clock, executor: nftablesExecutor(settings, effects) };
};
const both = (nft: FakeNft) => ({ ip: readBack(nft.table("ip")), ip6: readBack(nft.table("ip6")) });
const wanted = (services: readonly PlanService[]) => ({
  ip: expected(services, "IPv4"),
  ip6: expected(services, "IPv6"),
});
const web = (...addresses: string[]) =>
  planService("default/web", [
    kernelPort(
      "10.96.0.1",
      addresses.map((each) => to(each)),
    ),
  ]);
/** With an algorithm that hashes clients. */
const ipv6 = planService("default/ipv6", [
  kernelPort("fd00:96::9", [to("fd00:10::1")], { family: "IPv6", algorithm: "sh" }),
]);
const shop = planService("default/shop", [kernelPort("10.96.0.2", [to("10.244.0.9")])]);
const six = planService("default/six", [kernelPort("fd00:96::3", [to("fd00:10:1::9")], { family: "IPv6" })]);

const linesOf = (script: string) => script.split("\n").length;
const many = (count: number, endpoints = 1) =>
  Array.from({ length: count }, (_, at) =>
    planService(`default/s${1_000 + at}`, [
      kernelPort(
        `10.96.${at >> 8}.${at & 255}`,
        Array.from({ length: endpoints }, (_each, host) => to(`10.244.${at >> 8}.${at & 255}`, { port: host + 1 })),
      ),
    ]),
  );

describe("any plans, one after the other", () => {
  test("leave what the last one asks for, and an equal plan costs nothing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyServices(), { minLength: 1, maxLength: 5 }), async (plans) => {
        const { nft, executor } = start();
        for (const services of plans) {
          await executor.apply(planOf(services));
          expect(both(nft)).toEqual(wanted(services));
          const before = nft.scripts.length;
          await executor.apply(planOf(structuredClone(services)));
          await executor.apply(planOf(services));
          expect(nft.scripts.slice(before)).toEqual([]);
        }
      }),
      { numRuns: 100 },
    );
  });

  test("and an agent that was restarted between them, or found another's table", async () => {
    await fc.assert(
      fc.asyncProperty(anyServices(), anyServices(), fc.boolean(), async (first, second, foreign) => {
        const { nft, executor } = start();
        await executor.apply(planOf(first));
        if (foreign) nft.table("ip").sets.get("stamp")?.clear();
        const before = nft.scripts.length;
        await start(nft).executor.apply(planOf(first));
        // What is there already is not written again.
        expect(nft.scripts.length - before).toBe(foreign ? 1 : 0);
        await start(nft).executor.apply(planOf(second));
        expect(both(nft)).toEqual(wanted(second));
      }),
      { numRuns: 100 },
    );
  });

  test("and an agent that was killed between any two runs of nft", async () => {
    await fc.assert(
      fc.asyncProperty(anyServices(), anyServices(), fc.nat(12), async (first, second, runs) => {
        const nft = new FakeNft();
        let left = runs;
        const killed: typeof nft.run = (...args) =>
          left-- > 0 ? nft.run(...args) : Promise.reject(new Error("killed"));
        const executor = nftablesExecutor(settings, { run: killed, localAddresses: () => [] });
        for (const services of [first, second]) await executor.apply(planOf(services)).catch(() => undefined);
        await start(nft).executor.apply(planOf(second));
        expect(both(nft)).toEqual(wanted(second));
      }),
      { numRuns: 100 },
    );
  });

  test("while nft refuses some, with or without naming the line: all others are served, and the refused once they change", async () => {
    await fc.assert(
      fc.asyncProperty(
        anyServices(),
        anyServices(),
        fc.boolean(),
        fc.boolean(),
        async (first, second, names, later) => {
          const { nft, executor } = start();
          nft.names = names;
          // ClusterIPs of two Services, of either family. `later`: those two come with the second plan only.
          nft.refuses = /^(10\.96\.0\.[12]|fd00:96::[12]),?$/;
          await executor.apply(planOf(first.filter(({ key }) => !later || !/s[12]$/.test(key))));
          const { problems } = await executor.apply(planOf(second));
          const bad = (family: string) =>
            new Set(
              second.flatMap(({ key, kernel }) =>
                kernel?.ports.some((port) => port.family === family) && /s[12]$/.test(key) ? [key] : [],
              ),
            );
          const sound = (family: "IPv4" | "IPv6") =>
            expected(
              second.filter(({ key }) => !bad(family).has(key)),
              family,
            );
          expect(both(nft)).toEqual({ ip: sound("IPv4"), ip6: sound("IPv6") });
          const told = problems.filter(({ reason }) => reason === "RulesRefused").map(({ service }) => service);
          expect(new Set(told)).toEqual(new Set([...bad("IPv4"), ...bad("IPv6")]));
          nft.refuses = undefined;
          const changed = second.map((service) => ({ ...service }));
          await executor.apply(planOf(changed));
          expect(both(nft)).toEqual(wanted(changed));
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe("a change", () => {
  test("of one endpoint of a thousand Services touches that endpoint's slot", async () => {
    const { nft, executor } = start();
    const others = Array.from({ length: 1_000 }, (_, at) =>
      planService(`default/s${at}`, [kernelPort(`10.97.${at >> 8}.${at & 255}`, [to("10.244.0.9"), to("10.244.0.8")])]),
    );
    await executor.apply(planOf([web("10.244.0.1", "10.244.0.2"), ...others]));
    await executor.apply(planOf([web("10.244.0.1", "10.244.0.3"), ...others]));
    const script = nft.scripts.at(-1) ?? "";
    expect(script).toContain(" : 10.244.0.3 . 8080");
    // The slot, the hairpin of either address, and the stamp.
    expect(script.split("\n").length).toBeLessThan(20);
  });

  test("of a Service's name alone keeps the other's frontend, and says who has it", async () => {
    const { nft, executor } = start();
    const asks = (key: string, own: string, pod: string) =>
      planService(key, [kernelPort(own, [to(pod)], { externalIPs: ["192.0.2.1"] })]);
    const { problems } = await executor.apply(
      planOf([asks("a/b", "10.96.0.2", "10.244.0.2"), asks("a/a", "10.96.0.1", "10.244.0.1")]),
    );
    expect(readBack(nft.table("ip"))["192.0.2.1 . tcp . 80"]).toMatchObject({
      cluster: { slots: ["10.244.0.1 . 8080"] },
    });
    expect(problems).toEqual([expect.objectContaining({ service: "a/b", reason: "FrontendConflict" })]);
    expect(problems[0]?.message).toContain("a/a");
    await executor.apply(planOf([asks("a/b", "10.96.0.2", "10.244.0.2")]));
    expect(readBack(nft.table("ip"))["192.0.2.1 . tcp . 80"]).toMatchObject({
      cluster: { slots: ["10.244.0.2 . 8080"] },
    });
  });
});

test("chains that nothing leads to go once they are many and a second old, and are tried again where the kernel still holds them", async () => {
  const { nft, clock, executor } = start();
  const chains = () => [...nft.table("ip").chains.keys()].filter((name) => name.startsWith("rr-"));
  const failures = async (...services: readonly PlanService[]) => {
    const { written = [] } = await executor.apply(planOf(services));
    return written.find(({ family }) => family === "IPv4")?.failedCleanups;
  };
  const services = many(260).map(({ key, kernel }) =>
    planService(key, kernel?.ports.map((port) => ({ ...port, algorithm: "rr" as const })) ?? []),
  );
  await executor.apply(planOf(services));
  // A kernel before 6.2 would refuse it.
  nft.refuses = /^delete chain ip postern rr-/;
  expect(await failures()).toBe(0);
  clock.now += 999;
  expect(await failures(shop)).toBe(0);
  clock.now += 1;
  expect(await failures()).toBe(1);
  nft.refuses = undefined;
  expect(await failures(shop)).toBe(0);
  expect(chains()).toHaveLength(260);
  // One was taken away by somebody else, one is used again.
  nft.table("ip").chains.delete(chains().at(-1) ?? "");
  clock.now += 1_000;
  expect(await failures(...services.slice(0, 1))).toBe(0);
  expect(chains()).toHaveLength(1);
  expect(await failures(...services)).toBe(0);
  expect(both(nft)).toEqual(wanted(services));
});

describe("affinity past its limits", () => {
  const pods = (count: number, from = 0) =>
    Array.from({ length: count }, (_, at) => to(`10.244.${(from + at) >> 8}.${(from + at) & 255}`));
  const sticky = (endpoints: ReturnType<typeof pods>, parts = {}) =>
    planService("default/web", [kernelPort("10.96.0.1", endpoints, { affinitySeconds: 60, ...parts })]);
  const forgetful = { affinitySeconds: undefined };

  test("of 4,095 endpoints: a Service with more is served by all of them, without it, and is told", async () => {
    const { nft, executor } = start();
    for (const [count, kept] of [
      [4_096, false],
      [4_095, true],
      [5_000, false],
      [5_001, false],
      [4_095, true],
    ] as const) {
      const before = nft.scripts.length;
      const { problems } = await executor.apply(planOf([sticky(pods(count))]));
      expect(both(nft)).toEqual(wanted([sticky(pods(count), kept ? {} : forgetful)]));
      const message = expect.stringMatching(/ClientIP .* TCP 80 of IPv4.* 4095 endpoints/);
      expect(problems).toEqual(kept ? [] : [{ service: "default/web", reason: "AffinityNotSupported", message }]);
      // One a family for the first, and one for each change: none was refused.
      expect(nft.scripts.length - before).toBe(before === 0 ? 2 : 1);
    }
    expect((await executor.apply(planOf([]))).problems).toEqual([]);
  }, 30_000);

  test("is kept where no endpoint stays and both of them together are too many", async () => {
    const { nft, executor } = start();
    for (const from of [0, 3_000]) {
      const services = [sticky(pods(3_000, from))];
      expect((await executor.apply(planOf(services))).problems).toEqual([]);
      expect(both(nft)).toEqual(wanted(services));
    }
  }, 30_000);

  test("of 32,767 ports: the next one is served without it, and changes as what it was", () => {
    const table = new Table({ family: "IPv4", settings, localAddresses: () => [], now: () => 0 });
    const full = Array.from({ length: 32_767 }, (_, at) =>
      planService(`default/s${10_000 + at}`, [
        kernelPort(`10.97.${at >> 8}.${at & 255}`, ["10.244.2.1:8080"], { affinitySeconds: 60 }),
      ]),
    );
    const update = (...services: PlanService[]) => table.update(services, kernelNode).text();
    update(...full);
    expect([...table.forgetful]).toEqual([]);
    const slot = /(\w+) element ip postern slots-tcp \{\n(0x\w+ \. 0)/;
    const [, verb, key] = slot.exec(update(...full, sticky([to("10.244.1.2")]))) ?? [];
    expect([verb, [...table.forgetful]]).toEqual(["add", ["default/web TCP 80"]]);
    // Its first lines are deletions.
    const changed = update(...full.slice(1), sticky([to("10.244.1.3")]));
    expect(slot.exec(changed)?.slice(1)).toEqual(["delete", key]);
    expect(changed).toMatch(/add element ip postern affine-tcp \{\n0x\w+ : 10\.244\.1\.3 \. 8080\n/);
    expect([...table.forgetful]).toEqual([]);
  }, 30_000);
});

test("ranges of Services come into each family's set, and go", async () => {
  const { nft, executor } = start();
  const cidrs = (family: "ip" | "ip6") => [...(nft.table(family).sets.get("service-cidrs")?.keys() ?? [])];
  const having = (...serviceCIDRs: string[]) => planOf([shop], { ...kernelNode, serviceCIDRs });
  await executor.apply(having());
  expect([cidrs("ip"), cidrs("ip6")]).toEqual([[], []]);
  await executor.apply(having("10.96.0.0/16", "10.98.0.0/24", "fd00:96::/108"));
  expect([cidrs("ip"), cidrs("ip6")]).toEqual([["10.96.0.0/16", "10.98.0.0/24"], ["fd00:96::/108"]]);
  await executor.apply(having("10.96.0.0/16"));
  expect([cidrs("ip"), cidrs("ip6")]).toEqual([["10.96.0.0/16"], []]);
});

test("ranges of pods come into each family's set, and whether there are any into another", async () => {
  const nft = new FakeNft();
  const byNode = { ...defaultSettings, localDetector: { kind: "node-cidr" as const } };
  const executor = nftablesExecutor(byNode, { run: nft.run, localAddresses: () => [] });
  const held = (set: string) =>
    (["ip", "ip6"] as const).map((each) => [...(nft.table(each).sets.get(set)?.keys() ?? [])]);
  for (const [podCIDRs, pods, known] of [
    [[], [[], []], [[], []]],
    [["10.244.1.0/24"], [["10.244.1.0/24"], []], [["0.0.0.0/0"], []]],
    [["fd00:10:1::/64"], [[], ["fd00:10:1::/64"]], [[], ["::/0"]]],
  ]) {
    await executor.apply(planOf([shop], { ...kernelNode, podCIDRs: podCIDRs as string[] }));
    expect([held("local-pods"), held("pods-known")]).toEqual([pods, known]);
  }
});

describe("somebody else", () => {
  test.each<[string, (nft: FakeNft) => void]>([
    ["deletes the table", (nft) => nft.tables.delete("ip postern")],
    ["flushes the table's rules", (nft) => nft.table("ip6").chains.forEach((rules) => (rules.length = 0))],
    ["flushes one hook", (nft) => void nft.table("ip").chains.get("nat-output")?.splice(0)],
    [
      "writes the table as another agent would",
      (nft) => void nft.table("ip").sets.get("stamp")?.set("1", ' comment "other"'),
    ],
  ])("%s: that is noticed, and mended", async (_, edit) => {
    const { nft, executor } = start();
    await executor.apply(planOf([web("10.244.0.1"), shop]));
    expect(await executor.check()).toBe("intact");
    edit(nft);
    expect(await executor.check()).toBe("changed");
    await executor.apply(planOf([web("10.244.0.1"), shop]));
    expect(both(nft)).toEqual(wanted([web("10.244.0.1"), shop]));
    expect(nft.table("ip").chains.get("nat-output")).toEqual(["jump services-output"]);
    expect(await executor.check()).toBe("intact");
  });
});

describe("renewing", () => {
  const edits: Record<string, (nft: FakeNft) => void> = {
    "is missing": (nft) => nft.table("ip").sets.get("slots-tcp")?.clear(),
    "has another value": (nft) => {
      const frontends = nft.table("ip").sets.get("frontends") ?? new Map<string, string>();
      for (const key of frontends.keys()) frontends.set(key, " : 0xe0000000");
    },
    "is too much": (nft) => void nft.table("ip").sets.get("refused")?.set("10.96.0.1 . tcp . 80", ""),
  };

  test.each(Object.entries(edits))("mends an element that %s, which check() does not see", async (_, edit) => {
    const { nft, executor } = start();
    const services = [web("10.244.0.1"), shop];
    await executor.apply(planOf(services));
    edit(nft);
    expect(await executor.check()).toBe("intact");
    await executor.apply(planOf(services));
    expect(both(nft)).not.toEqual(wanted(services));
    executor.renew();
    const before = nft.scripts.length;
    await executor.apply(planOf(services));
    expect(both(nft)).toEqual(wanted(services));
    // One for each family, and none for the next plan that is equal.
    expect(nft.scripts).toHaveLength(before + 2);
    await executor.apply(planOf(services));
    expect(nft.scripts).toHaveLength(before + 2);
    expect(await executor.check()).toBe("intact");
  });

  test("after any plans, with one that changes, leaves what the last one asks for, and chains that nothing uses go", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyServices(), { minLength: 1, maxLength: 4 }), anyServices(), async (plans, last) => {
        const { nft, clock, executor } = start();
        for (const services of plans) await executor.apply(planOf(services));
        for (let times = 0; times < 2; times++) {
          executor.renew();
          await executor.apply(planOf(last));
          expect(both(nft)).toEqual(wanted(last));
          clock.now += 1_000;
        }
        const alone = start();
        await alone.executor.apply(planOf(last));
        expect([...nft.table("ip").chains.keys()].sort()).toEqual([...alone.nft.table("ip").chains.keys()].sort());
        for (const services of plans) await executor.apply(planOf(services));
        expect(both(nft)).toEqual(wanted(plans.at(-1) ?? []));
      }),
      { numRuns: 100 },
    );
  });

  test("a large table goes in pieces, and as a whole only where what is there is not ours", async () => {
    const { nft, executor } = start();
    const endpoints = (at: number) =>
      Array.from({ length: 10 }, (_, host) => to(`10.244.${at >> 8}.${at & 255}`, { port: host + 1 }));
    const services = Array.from({ length: 1_800 }, (_, at) =>
      planService(`default/s${at}`, [kernelPort(`10.96.${at >> 8}.${at & 255}`, endpoints(at))]),
    );
    await executor.apply(planOf(services));
    const slots = nft.table("ip").sets.get("slots-tcp") ?? new Map<string, string>();
    const [first = "", second = ""] = slots.keys();
    const renewed = async () => {
      const before = nft.scripts.length;
      executor.renew();
      await executor.apply(planOf(services));
      return nft.scripts.slice(before).map((script) => script.split("\n").length);
    };
    slots.delete(first);
    nft.table("ip").chains.get("frontend")?.splice(0);
    const pieces = await renewed();
    expect(both(nft)).toEqual(wanted(services));
    expect(pieces.length).toBeGreaterThan(3);
    expect(Math.max(...pieces)).toBeLessThan(20_100);
    nft.table("ip").sets.get("slots-tcp")?.set(second, " : 10.244.0.0 . 9");
    const whole = await renewed();
    expect(both(nft)).toEqual(wanted(services));
    expect(Math.max(...whole)).toBeGreaterThan(20_100);
  }, 30_000);
});

describe("a new table that is larger than one transaction", () => {
  const endpoints = (service: number, count: number) =>
    Array.from({ length: count }, (_, host) =>
      to(`10.${service % 200}.${host >> 8}.${host & 255}`, { port: service + 1 }),
    );
  const services = Array.from({ length: 1_700 }, (_, at) =>
    // One of them is larger than a transaction, and the next one is small again.
    planService(`default/s${1_000 + at}`, [
      kernelPort(`10.96.${at >> 8}.${at & 255}`, endpoints(at, at === 900 ? 21_000 : 12)),
    ]),
  );

  test("is written in pieces, of which the first has all of its Services already", async () => {
    const { nft, executor } = start();
    const seen: { readonly lines: number; readonly slots: number; readonly frontends: number }[] = [];
    const sizeOf = (set: string) => nft.tables.get("ip postern")?.sets.get(set)?.size ?? 0;
    const { run } = nft;
    const watched = nftablesExecutor(
      { ...settings, families: ["IPv4"] },
      {
        localAddresses: () => [],
        run: async (program, args, input = "") => {
          const ran = await run(program, args, input);
          if (args[0] === "-f")
            seen.push({ lines: input.split("\n").length, slots: sizeOf("slots-tcp"), frontends: sizeOf("frontends") });
          return ran;
        },
      },
    );
    await watched.apply(planOf(services));
    expect({ ip: readBack(nft.table("ip")) }).toEqual({ ip: expected(services, "IPv4") });
    expect(Math.max(...seen.map(({ lines }) => lines))).toBeLessThan(20_200);
    // None is run for nothing.
    expect(Math.min(...seen.map(({ lines }) => lines))).toBeGreaterThan(1);
    const [first] = seen;
    expect(first?.frontends).toBeGreaterThan(500);
    expect(first?.slots).toBe((first?.frontends ?? 0) * 12);
    const written = nft.scripts.length;
    await executor.apply(planOf(services));
    // The stamp was right: only the table of IPv6, which was not there.
    expect(nft.scripts).toHaveLength(written + 1);
  }, 30_000);

  test("is written by two processes at once, but what adds chains and the stamp by itself, and none goes on after the apply", async () => {
    const { nft } = start();
    // Endpoint counts that come only later need chains of their own; each of them is a piece of its own kind.
    const varied = services.map((each, at) =>
      at % 300 === 299
        ? planService(each.key, [kernelPort(`10.97.0.${at / 100}`, endpoints(at, 20 + at / 100))])
        : each,
    );
    const plain = Array.from({ length: 5_000 }, (_, at) =>
      planService(`default/z${1_000 + at}`, [kernelPort(`10.98.${at >> 8}.${at & 255}`, endpoints(at, 12))]),
    );
    const many = [...varied, ...plain];
    let [running, most] = [0, 0];
    const executor = nftablesExecutor(
      { ...settings, families: ["IPv4"] },
      {
        localAddresses: () => [],
        run: async (program, args, input = "") => {
          running++;
          most = Math.max(most, running);
          const alone = /add (chain|rule)|element ip postern stamp/.test(input);
          if (args[0] === "-f" && alone) expect(running).toBe(1);
          // What was begun first does not end first.
          for (let turns = 10 + (input.length % 31); turns > 0; turns--) await new Promise(setImmediate);
          if (args[0] === "-f" && alone) expect(running).toBe(1);
          running--;
          return await nft.run(program, args, input);
        },
      },
    );
    await executor.apply(planOf(many));
    expect([running, most]).toEqual([0, 2]);
    expect({ ip: readBack(nft.table("ip")) }).toEqual({ ip: expected(many, "IPv4") });
    expect(await executor.check()).toBe("intact");
  }, 30_000);

  test("is served but for a Service of a later piece that nft refuses", async () => {
    const { nft, executor } = start();
    nft.refuses = /^0x[0-9a-f]+ \. 3 : 10\.\d+\.0\.3 \. 1501,?$/;
    const { problems } = await executor.apply(planOf(services));
    expect(problems.map(({ service }) => service)).toEqual(["default/s2500"]);
    expect(both(nft)).toEqual(wanted(services.filter(({ key }) => key !== "default/s2500")));
  }, 30_000);
});

test.each<[string, (nft: FakeNft) => void, string]>([
  ["cannot be read", (nft) => (nft.unreadable = "Error: Cannot allocate memory"), "flush table ip postern"],
  ["lacks its stamp", (nft) => nft.table("ip").sets.delete("stamp"), "delete table ip postern"],
])(
  "a table in use that %s is replaced in one transaction, however large it is",
  async (_, edit, how) => {
    const { nft, executor } = start();
    const services = many(1_800, 12);
    await executor.apply(planOf(services));
    edit(nft);
    const before = nft.scripts.length;
    await start(nft).executor.apply(planOf(services));
    const scripts = nft.scripts.slice(before).filter((script) => script.includes(" table ip "));
    expect(scripts.map(linesOf)).toEqual([expect.toSatisfy((lines: number) => lines > 20_200)]);
    expect(scripts[0]).toContain(how);
    expect(both(nft)).toEqual(wanted(services));
  },
  30_000,
);

test("nft that refuses everything is an error with its words, and the next apply writes all", async () => {
  const { nft, executor } = start();
  nft.refuses = /(?:add|create) table/;
  await expect(executor.apply(planOf([shop, six]))).rejects.toThrow(/IPv4.*Invalid argument.*IPv6/);
  nft.refuses = undefined;
  await executor.apply(planOf([shop, six]));
  expect(both(nft)).toEqual(wanted([shop, six]));
});

describe("a family that nft cannot do", () => {
  test("is no failure while no Service has it", async () => {
    const { nft, executor } = start();
    [nft.refuses, nft.why] = [/ ip6 /, "Operation not supported"];
    const { problems, written } = await executor.apply(planOf([shop]));
    expect([problems, written]).toEqual([[], [expect.objectContaining({ family: "IPv4" })]]);
    expect(readBack(nft.table("ip"))).toEqual(expected([shop], "IPv4"));
    expect(await executor.check()).toBe("intact");
    // Nor is it tried at each change, but when all is renewed.
    let tried = 0;
    nft.kills = (input) => {
      if (input.includes(" ip6 ")) tried++;
      return false;
    };
    await executor.apply(planOf([web("10.244.0.1"), shop]));
    expect(tried).toBe(0);
    executor.renew();
    await executor.apply(planOf([shop]));
    expect(tried).toBeGreaterThan(0);
    await expect(executor.apply(planOf([shop, six]))).rejects.toThrow(/rules of IPv6: .*not supported/);
    nft.refuses = undefined;
    await executor.apply(planOf([shop, six]));
    expect(both(nft)).toEqual(wanted([shop, six]));
  });

  test("leaves no table of what Services were, or is one", async () => {
    const { nft, executor } = start();
    await executor.apply(planOf([shop, six]));
    nft.refuses = / ip6 /;
    await expect(executor.apply(planOf([shop]))).rejects.toThrow("rules of IPv6");
    expect([...nft.tables.keys()]).toEqual(["ip postern", "ip6 postern"]);
    nft.refuses = /^add rule ip6 /;
    await executor.apply(planOf([shop]));
    expect([...nft.tables.keys()]).toEqual(["ip postern"]);
    expect(readBack(nft.table("ip"))).toEqual(expected([shop], "IPv4"));
  });
});

describe("nft that is killed, or cannot be started", () => {
  /** Whichever run it is of those that come to be. */
  const killNth = (nft: FakeNft, nth: number) => {
    let left = nth;
    nft.kills = () => left-- === 0;
  };

  test.each([
    ["nft was ended by SIGKILL. ", /IPv4: nft was ended by SIGKILL\. .*resources\.limits\.memory/],
    ["nft cannot be run: spawn nft ENOENT", /IPv4: nft cannot be run: spawn nft ENOENT\..*apt-get install nftables/],
  ])("%s: the apply rejects and says what to do", async (stderr, said) => {
    const run = () => Promise.resolve({ code: undefined, stdout: "", stderr });
    const executor = nftablesExecutor(settings, { run, localAddresses: () => [] });
    await expect(executor.apply(planOf([shop]))).rejects.toThrow(said);
  });

  test("whichever run it was: the apply rejects, or did all; no Service is blamed, and the next apply does all", async () => {
    const before = [six, web("10.244.0.1"), shop].sort((a, b) => (a.key < b.key ? -1 : 1));
    const after = [six, web("10.244.0.1", "10.244.0.3")];
    for (const table of ["new", "known", "known and renewed", "of a former agent"]) {
      for (let nth = 0; nth < 6; nth++) {
        const { nft, executor: first } = start();
        if (table !== "new") await first.apply(planOf(before));
        const executor = table === "of a former agent" ? start(nft).executor : first;
        if (table === "known and renewed") executor.renew();
        killNth(nft, nth);
        const said = await executor.apply(planOf(after)).then(
          () => "done",
          (error: Error) => error.message,
        );
        nft.kills = undefined;
        if (said === "done") expect(both(nft)).toEqual(wanted(after));
        else expect(said).toContain("SIGKILL");
        expect((await executor.apply(planOf(after))).problems).toEqual([]);
        expect(both(nft)).toEqual(wanted(after));
      }
    }
  });

  test("over a piece of a new table: what is larger is not tried, nor is any Service, and the next apply goes in pieces again", async () => {
    const { nft, executor } = start();
    const services = many(4_000, 12);
    let pieces = 0;
    const given: string[] = [];
    nft.kills = (input) => {
      given.push(input);
      return input.includes("add element ip postern slots-tcp") && ++pieces === 2;
    };
    await expect(executor.apply(planOf(services))).rejects.toThrow(/SIGKILL/);
    expect(nft.trials).toEqual([]);
    expect((await executor.apply(planOf(services))).problems).toEqual([]);
    expect(Math.max(...given.map(linesOf))).toBeLessThan(20_200);
    expect(both(nft)).toEqual(wanted(services));
  }, 30_000);

  test("while a large table is renewed: it stays known, and is renewed in pieces later", async () => {
    const { nft, executor } = start();
    const services = many(1_800, 12);
    await executor.apply(planOf(services));
    executor.renew();
    const given: string[] = [];
    nft.kills = (input) => given.push(input) === 3;
    await expect(executor.apply(planOf(services))).rejects.toThrow(/SIGKILL/);
    await executor.apply(planOf(services));
    expect(given.length).toBeGreaterThan(6);
    expect(Math.max(...given.map(linesOf))).toBeLessThan(20_200);
    expect(both(nft)).toEqual(wanted(services));
  }, 30_000);

  test("while a refused Service is looked for: nobody is left out for it", async () => {
    const { nft, executor } = start();
    nft.names = false;
    nft.refuses = /^10\.96\.0\.1,?$/;
    // The first trial asks whether anything can be written at all.
    nft.kills = (input) => nft.trials.length === 3 && input.includes("delete table");
    const services = many(16);
    await expect(executor.apply(planOf(services))).rejects.toThrow(/SIGKILL/);
    nft.kills = undefined;
    nft.refuses = undefined;
    expect((await executor.apply(planOf(services))).problems).toEqual([]);
    expect(both(nft)).toEqual(wanted(services));
  });
});

describe("what was refused is tried again after a check", () => {
  const bad = Array.from({ length: 40 }, (_, at) =>
    planService(`default/bad${100 + at}`, [kernelPort(`10.98.0.${at}`, [to("10.244.0.9")])]),
  );
  const refused = ({ problems }: KernelApplied) => problems.filter(({ reason }) => reason === "RulesRefused").length;

  test.each([true, false])("and all of them are served, once nothing speaks against any (names: %s)", async (names) => {
    const { nft, executor } = start();
    Object.assign(nft, { names, refuses: /^10\.98\.0\.\d+,?$/ });
    const services = [...bad, web("10.244.0.1")];
    expect(refused(await executor.apply(planOf(services)))).toBe(40);
    Object.assign(nft, { names: true, refuses: undefined });
    const trials = nft.trials.length;
    expect(refused(await executor.apply(planOf(services)))).toBe(40);
    expect(nft.trials).toHaveLength(trials);
    expect(await executor.check()).toBe("due");
    expect(refused(await executor.apply(planOf(services)))).toBe(0);
    expect(both(nft)).toEqual(wanted(services));
  });

  test("a few at a time while some are refused on, each in its turn, and the table is not written for it", async () => {
    const { nft, executor } = start();
    nft.refuses = /^10\.98\.0\.\d+,?$/;
    const services = [...bad, web("10.244.0.1")];
    await executor.apply(planOf(services));
    // Only these three are refused on.
    nft.refuses = /^10\.98\.0\.[123],?$/;
    const left: number[] = [];
    for (let checks = 0; checks < 5; checks++) {
      await executor.check();
      const [trials, scripts] = [nft.trials.length, nft.scripts.length];
      left.push(refused(await executor.apply(planOf(services))));
      expect(nft.trials.length - trials).toBeLessThan(20);
      expect(nft.scripts.length - scripts).toBe(checks < 3 ? 1 : 0);
      expect(nft.scripts.at(-1)?.length).toBeLessThan(10_000);
    }
    expect(left).toEqual([27, 11, 3, 3, 3]);
    expect(both(nft)).toEqual(wanted(services.filter(({ key }) => !/bad10[123]/.test(key))));
  });

  test("but for what is taken alone and refused with the others: that waits until all is renewed", async () => {
    const { nft } = start();
    let runs = 0;
    const run: Run = (program, args, input = "") => {
      runs++;
      // The table, or a script, in which one stands beside the other.
      const isWith = /^10\.96\.0\.1,?$/m.test(input) && (input.includes("10.98.0.1") || args[0] === "-f");
      return isWith
        ? Promise.resolve({ code: 1, stdout: "", stderr: "Error: File exists" })
        : nft.run(program, args, input);
    };
    const executor = nftablesExecutor(settings, { localAddresses: () => [], run });
    const services = [...bad.slice(0, 3), web("10.244.0.1")];
    const again = async () => {
      await executor.check();
      runs = 0;
      expect(refused(await executor.apply(planOf(services)))).toBe(1);
      return runs;
    };
    expect(await again()).toBeGreaterThan(4);
    // Once it is tried with the others.
    expect(await again()).toBeGreaterThan(4);
    expect(await again()).toBe(0);
    executor.renew();
    expect(await again()).toBeGreaterThan(4);
    expect(await again()).toBe(0);
    expect(both(nft)).toEqual(wanted(services.filter(({ key }) => key !== "default/web")));
  });
});

test("of Services that are refused without a name so many are looked for, then a part that fails waits, and none that was not tried", async () => {
  const { nft, executor } = start();
  nft.names = false;
  // Every other of 300.
  nft.refuses = /^10\.98\.\d\.\d*[13579],?$/;
  const services = Array.from({ length: 300 }, (_, at) =>
    planService(`default/s${1_000 + at}`, [kernelPort(`10.98.${at >> 8}.${at & 255}`, [to("10.244.0.9")])]),
  );
  const sound = Array.from({ length: 300 }, (_, at) =>
    planService(`default/t${1_000 + at}`, [kernelPort(`10.99.${at >> 8}.${at & 255}`, [to("10.244.0.9")])]),
  );
  const all = [...services, ...sound];
  const { problems } = await executor.apply(planOf(all));
  expect(nft.trials.length).toBeLessThan(450);
  const left = new Set(problems.map(({ service }) => service));
  expect(left.size).toBeGreaterThanOrEqual(150);
  expect(problems.some(({ message }) => message.includes("too many Services"))).toBe(true);
  expect(sound.filter(({ key }) => left.has(key))).toEqual([]);
  expect(both(nft)).toEqual(wanted(all.filter(({ key }) => !left.has(key))));
});

describe("a node that lacks what every Service needs", () => {
  test.each([
    ["a module", /^add rule.* numgen/, "No such file or directory", /IPv4: .*No such file.* modprobe -a nft_numgen$/],
    [
      "a module of one family",
      /^add rule.* jhash ip6/,
      "No such file or directory",
      /^nft .* IPv6: .* modprobe -a nft_hash$/,
    ],
    ["nftables", /./, "Operation not supported", /modprobe -a nf_tables nft_chain_nat .*nft_reject_ipv4; .*nft_hash$/],
    ["the right", /./, "Operation not permitted", /IPv4: nft may not change .*NET_ADMIN.*kubectl apply -k/],
  ])("%s: the apply rejects with what mends it, and then serves all of them", async (_, refuses, why, said) => {
    for (const names of [true, false])
      for (const isKnown of [true, false]) {
        const { nft, executor } = start();
        if (isKnown) await executor.apply(planOf([]));
        Object.assign(nft, { refuses, why, names });
        const services = [web("10.244.0.1", "10.244.0.2"), ipv6, shop];
        await expect(executor.apply(planOf(services))).rejects.toThrow(said);
        nft.refuses = undefined;
        expect((await executor.apply(planOf(services))).problems).toEqual([]);
        expect(both(nft)).toEqual(wanted(services));
      }
  });
});

test("cleanup leaves no table, and the agent's end leaves all", async () => {
  const { nft, executor } = start();
  await executor.apply(planOf([shop]));
  await executor.clear();
  expect(nft.tables.size).toBe(2);
  await executor.cleanup();
  expect(nft.tables.size).toBe(0);
});
