// The nftables executor in a real kernel, in a network namespace of the test's own. Needs root, nft and unshare. That whole nodes,
// pods and outside clients get what they should is test/cluster/proxy's matter.
import { spawnSync } from "node:child_process";
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { nftablesExecutor } from "../../../../agent/dataplane/nftables/executor.ts";
import type { Run } from "../../../../agent/dataplane/kernel/run.ts";
import { defaultSettings, type LocalDetector } from "../../../../agent/dataplane/kernel/settings.ts";
import type { KernelPort, PlanService } from "../../../../agent/plan/plan.ts";
import { anyServices, kernelNode, kernelPort, planOf, planService, to } from "../kernel-plans.ts";
import { Namespace } from "../namespace.ts";

const lacks = ["nft", "nsenter", "unshare", "ip", "conntrack"].filter(
  (program) => spawnSync(program, ["--version"]).error !== undefined,
);
const why = process.getuid?.() === 0 ? (lacks.length > 0 ? `lacks ${lacks.join(", ")}` : "") : "needs root";

const VIP = "10.96.0.1";
const pods = ["10.244.1.1", "10.244.1.2", "10.244.1.3"] as const;
const clients = Array.from({ length: 12 }, (_, at) => `10.9.0.${at + 1}`);

describe.skipIf(why !== "")(`nftables in a kernel${why && ` (skipped: ${why})`}`, () => {
  let net: Namespace;
  beforeAll(async () => {
    net = await Namespace.create("192.168.9.1", [...pods, ...clients]);
    await Promise.all(pods.map((pod) => net.listen(pod, 8080)));
  }, 30_000);
  afterAll(() => net[Symbol.asyncDispose]());
  const start = () => nftablesExecutor(defaultSettings, { run: net.run, localAddresses: () => [] });
  beforeEach(() => start().cleanup());

  const web = (parts: Partial<KernelPort> = {}, ...up: readonly string[]): PlanService =>
    planService("default/web", [
      kernelPort(
        VIP,
        (up.length > 0 ? up : pods).map((pod) => to(pod)),
        parts,
      ),
    ]);
  const ask = (from?: string) => net.dial(VIP, 80, { timeoutMs: 3_000, ...(from === undefined ? {} : { from }) });
  const many = async (count: number, from?: string) => {
    const counts: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const pod = await ask(from);
      counts[pod] = (counts[pod] ?? 0) + 1;
    }
    return counts;
  };
  /** Elements in order, and no chain that nothing leads to: those of other plans may be left. */
  const dump = async () => {
    const list = async (family: string) => await net.must("nft", "list", "table", family, "postern");
    const text = (await list("ip")) + (await list("ip6"));
    return text
      .replaceAll(/elements = \{([^}]*)\}/g, (_, inner: string) =>
        inner
          .split(",")
          .map((each) => each.trim())
          .sort()
          .join("\n"),
      )
      .replaceAll(/\tchain (random|rr|source|affine)-\S+ \{\n(?:\t\t.*\n)*\t\}\n/g, "")
      .replaceAll(/\n+/g, "\n");
  };

  test("a new table of several transactions, two of them at a time, is whole", async () => {
    const services = Array.from({ length: 5_000 }, (_, at) =>
      planService(`default/s${1_000 + at}`, [
        kernelPort(
          `10.97.${at >> 8}.${at & 255}`,
          Array.from({ length: 12 }, (_, pod) => to(`10.245.${pod}.${at & 255}`, { port: at + 1 })),
        ),
      ]),
    );
    const executor = start();
    expect((await executor.apply(planOf(services))).problems).toEqual([]);
    const count = async (map: string) =>
      (await net.must("nft", "list", "map", "ip", "postern", map)).match(/ : /g)?.length;
    expect([await count("slots-tcp"), await count("balance")]).toEqual([60_001, 5_001]);
    expect(await executor.check()).toBe("intact");
  }, 60_000);

  test("any plan after any other leaves what it leaves alone, and the kernel takes every script", async () => {
    await fc.assert(
      fc.asyncProperty(anyServices(), anyServices(), async (first, second) => {
        const executor = start();
        expect(
          (await executor.apply(planOf(first))).problems.filter(({ reason }) => reason === "RulesRefused"),
        ).toEqual([]);
        await executor.apply(planOf(second));
        const after = await dump();
        expect(await executor.check()).toBe("intact");
        await executor.cleanup();
        await start().apply(planOf(second));
        expect(after).toBe(await dump());
      }),
      { numRuns: 15 },
    );
  }, 120_000);

  test("a ClusterIP leads to all of its endpoints, and to no other once they change", async () => {
    const executor = start();
    await executor.apply(planOf([web()]));
    expect(Object.keys(await many(60)).sort()).toEqual([...pods]);
    await executor.apply(planOf([web({}, pods[1])]));
    expect(await many(10)).toEqual({ [pods[1]]: 10 });
    await executor.apply(planOf([]));
    expect(await net.dial(VIP, 80, { timeoutMs: 300 })).toBe("timeout");
  }, 30_000);

  test("without endpoints it refuses at once; with some elsewhere, under Local, it drops", async () => {
    const executor = start();
    await executor.apply(planOf([planService("default/web", [kernelPort(VIP, [])])]));
    for (let i = 0; i < 5; i++) expect(await ask()).toBe("refused");
    const elsewhere = kernelPort(VIP, [], { internalPolicy: "Local", anywhere: true });
    await executor.apply(planOf([planService("default/web", [elsewhere])]));
    expect(await net.dial(VIP, 80, { timeoutMs: 300 })).toBe("timeout");
  }, 30_000);

  test("rr takes them in turn, wrr by weight, sh and maglev by the client's address", async () => {
    const executor = start();
    await executor.apply(planOf([web({ algorithm: "rr" })]));
    expect(await many(30)).toEqual({ [pods[0]]: 10, [pods[1]]: 10, [pods[2]]: 10 });
    const weighted = [to(pods[0], { weight: 1 }), to(pods[1], { weight: 9 })];
    await executor.apply(planOf([planService("default/web", [kernelPort(VIP, weighted, { algorithm: "wrr" })])]));
    // Binomial, 200 × 0.1: fewer than 4 or more than 44 are seen less than once in a million times.
    const { [pods[0]]: light = 0 } = await many(200);
    expect(light).toBeGreaterThan(3);
    expect(light).toBeLessThan(45);
    for (const algorithm of ["sh", "maglev"] as const) {
      await executor.apply(planOf([web({ algorithm })]));
      const chosen = await Promise.all(clients.map(async (client) => Object.keys(await many(5, client))));
      for (const each of chosen) expect(each).toHaveLength(1);
      expect(new Set(chosen.flat()).size).toBeGreaterThan(1);
    }
  }, 60_000);

  describe("affinity", () => {
    const sticky = (seconds: number, ...up: readonly string[]) => web({ affinitySeconds: seconds }, ...up);
    const of = async (client: string) => Object.keys(await many(4, client));

    test("keeps each client at its endpoint while others come and go, and gives it another when its own goes", async () => {
      const executor = start();
      await executor.apply(planOf([sticky(10_800)]));
      const before = new Map(await Promise.all(clients.map(async (client) => [client, await of(client)] as const)));
      // By chance seldom all three.
      expect(new Set([...before.values()].flat()).size).toBeGreaterThan(1);
      const [gone] = before.get(clients[0] ?? "") ?? [];
      const left = pods.filter((pod) => pod !== gone);
      await executor.apply(planOf([sticky(10_800, ...left)]));
      for (const [client, [pod = ""]] of before) {
        const now = await of(client);
        expect(now).toHaveLength(1);
        if (pod === gone) expect(left).toContain(now[0]);
        else expect(now).toEqual([pod]);
      }
      const moved = new Map(await Promise.all(clients.map(async (client) => [client, await of(client)] as const)));
      await executor.apply(planOf([sticky(10_800)]));
      for (const [client, pod] of moved) expect(await of(client)).toEqual(pod);
    }, 60_000);

    test("outlives the agent, also where the plan has changed meanwhile", async () => {
      await start().apply(planOf([sticky(10_800)]));
      const before = new Map(await Promise.all(clients.map(async (client) => [client, await of(client)] as const)));
      const other = planService("default/other", [kernelPort("10.96.0.9", [to(pods[0])])]);
      await start().apply(planOf([other, sticky(10_800)]));
      for (const [client, pod] of before) expect(await of(client)).toEqual(pod);
    }, 60_000);

    test("and single elements that others took away come back, when everything is written anew", async () => {
      const executor = start();
      const ranged = { loadBalancerIPs: ["192.0.2.7"], sourceRanges: ["10.0.0.0/8", "172.16.0.0/12"] };
      const large = Array.from({ length: 21_000 }, (_, at) => to(`10.245.${at >> 8}.${at & 255}`));
      for (const more of [[], [planService("default/large", [kernelPort("10.96.0.8", large)])]]) {
        const plan = planOf([
          ...more,
          planService("default/ranged", [kernelPort("10.96.0.9", [to(pods[0])], ranged)]),
          sticky(10_800),
        ]);
        await executor.apply(plan);
        const before = new Map(await Promise.all(clients.map(async (client) => [client, await of(client)] as const)));
        const rules = async () => (await dump()).replaceAll(/ expires \w+/g, "");
        const held = await rules();
        await net.must("nft", "delete element ip postern frontends { 10.96.0.1 . tcp . 80 }");
        await net.must("nft", "flush chain ip postern internal-cluster");
        expect(await executor.check()).toBe("intact");
        executor.renew();
        await executor.apply(plan);
        expect(await rules()).toBe(held);
        for (const [client, pod] of before) expect(await of(client)).toEqual(pod);
      }
    }, 120_000);

    test("lets go of a client that was silent for its time", async () => {
      await start().apply(planOf([sticky(1)]));
      const seen = new Set<string>();
      // A client that is let go of comes to another endpoint two times of three.
      await expect
        .poll(async () => seen.add(await ask(clients[0])).size, { interval: 1_200, timeout: 30_000 })
        .toBeGreaterThan(1);
    }, 40_000);
  });

  test("a table without a stamp is in use for all that, and is replaced in one transaction", async () => {
    await start().apply(planOf([web()]));
    const read = async () => (await net.run("nft", ["list", "set", "ip", "postern", "stamp"])).stderr;
    await net.must("nft", "delete set ip postern stamp");
    const written: (readonly [code: number | undefined, begins: string | undefined])[] = [];
    const run: Run = async (program, args, input) => {
      const ran = await net.run(program, args, input);
      if (args[0] === "-f") written.push([ran.code, input?.split(" ", 1)[0]]);
      return ran;
    };
    expect(await read()).toContain("No such file or directory");
    await nftablesExecutor({ ...defaultSettings, families: ["IPv4"] }, { run, localAddresses: () => [] }).apply(
      planOf([web()]),
    );
    expect(written).toEqual([
      [1, "create"],
      [0, "add"],
    ]);
    expect(pods).toContain(await ask());
    await start().cleanup();
    expect(await read()).toContain("No such file or directory");
  });

  test("chains that nothing leads to any more are deleted, also where one of them is gone", async () => {
    const now = { ms: 0 };
    const executor = nftablesExecutor(defaultSettings, { run: net.run, localAddresses: () => [], now: () => now.ms });
    const services = Array.from({ length: 257 }, (_, at) =>
      planService(`default/s${1_000 + at}`, [
        kernelPort(`10.97.${at >> 8}.${at & 255}`, [to(pods[0])], { algorithm: "rr" }),
      ]),
    );
    const chains = async () =>
      [...(await net.must("nft", "-t", "list", "table", "ip", "postern")).matchAll(/chain (rr-\S+)/g)].map(
        ([, name = ""]) => name,
      );
    await executor.apply(planOf(services));
    await executor.apply(planOf([web()]));
    const unused = await chains();
    expect(unused).toHaveLength(257);
    await net.must("nft", "delete", "chain", "ip", "postern", unused[0] ?? "");
    now.ms = 1_000;
    const { written } = await executor.apply(planOf([]));
    expect(written?.map(({ failedCleanups }) => failedCleanups)).toEqual([0, 0]);
    expect(await chains()).toEqual([]);
  });

  test("what is tried where something is refused names no module of a kernel that lacks none", async () => {
    // The table without Services is at fault.
    const broken: Run = (program, args, input) =>
      net.run(program, args, input?.replaceAll("jump masquerading", "jump nowhere"));
    const executor = nftablesExecutor(defaultSettings, { run: broken, localAddresses: () => [] });
    const said = await executor.apply(planOf([web()])).then(
      () => "done",
      (error: Error) => error.message,
    );
    expect(said).toMatch(/IPv4: nft refused the rules that every Service needs /);
    expect(said).not.toContain("modprobe");
  });

  describe("a client that asks a ClusterIP is masqueraded", () => {
    const pod = "10.9.0.0/24";
    const [client = ""] = clients;
    const masqueraded = async () => {
      await net.must("conntrack", "-F");
      expect(pods).toContain(await ask(client));
      const [, answered] = (await net.must("conntrack", "-L", "-p", "tcp", "--orig-dst", VIP)).match(/ dst=\S+/g) ?? [];
      return answered !== ` dst=${client}`;
    };
    const start = (localDetector: LocalDetector) =>
      nftablesExecutor({ ...defaultSettings, localDetector }, { run: net.run, localAddresses: () => [] });

    test.each<[boolean, string, readonly string[]]>([
      [true, "is outside of all ranges of pods", ["10.244.0.0/16", "fd00:10::/32"]],
      [false, "is a pod", [pod, "fd00:10::/32"]],
      [false, "may be a pod: no range of its family is known", ["fd00:10::/32"]],
    ])("%j, where it %s", async (expected, _, cidrs) => {
      await start({ kind: "cluster-cidr", cidrs }).apply(planOf([web()]));
      expect(await masqueraded()).toBe(expected);
    });

    test("as the node's ranges say that come, change and go", async () => {
      const executor = start({ kind: "node-cidr" });
      for (const [podCIDRs, expected] of [
        [[], false],
        [["10.244.1.0/24"], true],
        [[pod, "fd00:10:1::/64"], false],
        [["10.244.1.0/24", "fd00:10:1::/64"], true],
        [["fd00:10:1::/64"], false],
      ] as const) {
        await executor.apply(planOf([web()], { ...kernelNode, podCIDRs }));
        expect(await masqueraded()).toBe(expected);
      }
    }, 30_000);
  });

  test("what the kernel refuses costs the Service at fault, and no other", async () => {
    const executor = start();
    // Overlapping ranges, which no plan has: disjointRanges() sees to that.
    const bad = kernelPort("10.96.0.7", [to(pods[0])], {
      loadBalancerIPs: ["192.0.2.7"],
      sourceRanges: ["10.0.0.0/8", "10.1.0.0/16"],
    });
    const { problems } = await executor.apply(planOf([planService("default/bad", [bad]), web({}, pods[1])]));
    expect(problems).toEqual([expect.objectContaining({ service: "default/bad", reason: "RulesRefused" })]);
    expect(await many(5)).toEqual({ [pods[1]]: 5 });
  }, 30_000);
});
