// The executor in a real kernel, in a network namespace of the test's own, with both flavours of iptables. Needs root.
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { iptablesExecutor } from "../../../../agent/dataplane/iptables/executor.ts";
import type { KernelExecutor } from "../../../../agent/dataplane/executor.ts";
import type { KernelSettings } from "../../../../agent/dataplane/kernel/settings.ts";
import type { KernelPort, PlanService } from "../../../../agent/plan/plan.ts";
import { Namespace } from "../namespace.ts";
import { anyServices, kernelPort, planOf, planService } from "../kernel-plans.ts";
import { settings } from "./settings.ts";

const nodeAddress = "192.168.9.1";
const [a, b, c] = ["10.244.1.5", "10.244.1.6", "10.244.2.7"] as const;
/** Among the sources that may ask the balancer's IP. */
const allowed = "198.51.100.7";
const clients = ["10.244.1.20", "10.244.1.21", "10.244.1.22"];

for (const flavour of ["nft", "legacy"] as const) {
  const lacks = [`iptables-${flavour}`, `ip6tables-${flavour}`, "nsenter", "unshare", "ip"].filter(
    (program) => spawnSync(program, ["--version"]).error !== undefined,
  );
  const why = process.getuid?.() === 0 ? (lacks.length > 0 ? `lacks ${lacks.join(", ")}` : "") : "needs root";

  describe.skipIf(why !== "")(`iptables-${flavour} in a kernel${why && ` (skipped: ${why})`}`, () => {
    let net: Namespace;
    let executor: KernelExecutor;
    const create = async () => {
      const made = await Namespace.create(nodeAddress, [a, b, c, ...clients, allowed]);
      // By this chain the kubelet shows which flavour it uses.
      for (const program of ["iptables", "ip6tables"])
        await made.must(`${program}-${flavour}`, "-t", "mangle", "-N", "KUBE-KUBELET-CANARY");
      return made;
    };
    const executorIn = ({ run }: Namespace, parts: Partial<KernelSettings> = {}) =>
      iptablesExecutor(settings(parts), { run, localAddresses: () => [nodeAddress] });
    beforeAll(async () => {
      net = await create();
      await Promise.all([a, b, c].map((host) => net.listen(host, 8080)));
      await net.listen(nodeAddress, 30081);
    });
    beforeEach(() => {
      executor = executorIn(net);
    });
    afterEach(() => executor.cleanup());
    afterAll(() => net[Symbol.asyncDispose]());

    const apply = async (...services: readonly PlanService[]) => (await executor.apply(planOf(services))).problems;
    /** Chains in order of their names: they are listed in the order in which they were made. */
    const dump = async (of = net) => {
      const saved = (await of.must(`iptables-${flavour}-save`)) + (await of.must(`ip6tables-${flavour}-save`));
      const lines = saved
        .replaceAll(/^#.*\n/gm, "")
        .replaceAll(/^(:\S+ \S+) .*$/gm, "$1")
        .split("\n");
      return lines.map((line, index) => [/^(?::|-A )(\S+)/.exec(line)?.[1] ?? "", index, line] as const);
    };
    const sorted = async (of = net) =>
      (await dump(of))
        .sort(([x, i], [y, j]) => (x < y ? -1 : x > y ? 1 : i - j))
        .map(([, , line]) => line)
        .join("\n");
    const web = (hosts: readonly string[], parts: Partial<KernelPort> = {}) =>
      planService("default/web", [
        kernelPort(
          "10.96.0.10",
          hosts.map((host) => `${host}:8080`),
          parts,
        ),
      ]);
    const shop = (hosts: readonly string[]) =>
      planService("default/shop", [
        kernelPort(
          "10.96.0.10",
          hosts.map((host) => `${host}:8080`),
          {
            ...{ clusterIP: "10.96.0.20", nodePort: 30080, loadBalancerIPs: ["203.0.113.2"] },
            ...{ externalIPs: ["203.0.113.1"], sourceRanges: ["198.51.100.0/24"], externalPolicy: "Local" },
          },
        ),
      ]);
    const dialTimes = async (times: number, ...to: Parameters<Namespace["dial"]>) => {
      const answers: string[] = [];
      for (let i = 0; i < times; i++) answers.push(await net.dial(...to));
      return answers;
    };

    it("accepts every kind of rule, and after A and B holds what B alone makes", async () => {
      const six = (host: string) => ({ address: host, port: 8080, weight: 1, local: host.startsWith("fd00:1:") });
      const dual = (endpoints: readonly string[], extra: Partial<KernelPort> = {}) =>
        planService(
          "default/dual",
          [
            kernelPort("10.96.0.10", [`${a}:53`], {
              protocol: "UDP",
              port: 53,
              clusterIP: "10.96.0.30",
              affinitySeconds: 60,
            }),
            kernelPort("10.96.0.10", [`${c}:53`], {
              protocol: "SCTP",
              port: 53,
              clusterIP: "10.96.0.30",
              internalPolicy: "Local",
            }),
            kernelPort("10.96.0.10", [], {
              ...{ family: "IPv6", clusterIP: "fd00:96::30", nodePort: 30053, externalIPs: ["2001:db8::1"] },
              ...{ loadBalancerIPs: ["2001:db8::2"], sourceRanges: ["2001:db8:5::/48"], affinitySeconds: 60 },
              ...{ cluster: endpoints.map(six), externalPolicy: "Local", ...extra },
            }),
          ],
          { healthCheck: { nodePort: 32000, localEndpoints: 1 } },
        );
      const families = {
        families: ["IPv4", "IPv6"],
        localDetector: { kind: "cluster-cidr", cidrs: ["10.244.0.0/16", "fd00:1::/64", "fd00:2::/64"] },
      } as const;
      const [A, B] = [
        [dual(["fd00:1::5", "fd00:2::6"]), shop([a, c]), web([a, b], { affinitySeconds: 60, algorithm: "rr" })],
        [dual([], { externalPolicy: "Cluster" }), shop([c]), web([b, c], { internalPolicy: "Local" })],
      ];
      await using both = await create();
      await using alone = await create();
      const [first, second] = [executorIn(both, families), executorIn(alone, families)];
      expect((await first.apply(planOf(A))).problems).toEqual([]);
      expect((await first.apply(planOf(B))).problems).toEqual([]);
      expect(await first.check()).toBe("intact");
      expect((await second.apply(planOf(B))).problems).toEqual([]);
      expect(await sorted(both)).toBe(await sorted(alone));
      // A new process over the rules of the old one changes nothing either.
      const third = executorIn(both, families);
      expect((await third.apply(planOf(B))).problems).toEqual([]);
      expect(await sorted(both)).toBe(await sorted(alone));
    });

    it("takes any plan after any other, and holds then what the last one alone makes", async () => {
      const families = { families: ["IPv4", "IPv6"] } as const;
      // Each takes some sixty processes: as many as this machine can do in a while, and one in any case.
      const enough = performance.now() + 15_000;
      // The kubelet's chain and the jumps to it stay where they are once they are there.
      const once = executorIn(net, families);
      await once.apply(planOf([]));
      await once.cleanup();
      for (const [first = [], second = []] of fc.sample(fc.tuple(anyServices(), anyServices()), 8)) {
        const after = executorIn(net, families);
        for (const services of [first, second]) {
          const { problems } = await after.apply(planOf(services));
          expect(problems.filter(({ reason }) => reason === "RulesRefused")).toEqual([]);
        }
        const held = await sorted();
        await after.cleanup();
        const alone = executorIn(net, families);
        await alone.apply(planOf(second));
        expect(held).toBe(await sorted());
        await alone.cleanup();
        if (performance.now() > enough) break;
      }
    }, 120_000);

    it("carries a connection from the node to all endpoints, and follows them", async () => {
      expect(await apply(web([a, b, c]))).toEqual([]);
      expect(new Set(await dialTimes(40, "10.96.0.10", 80))).toEqual(new Set([a, b, c]));
      await apply(web([c]));
      expect(new Set(await dialTimes(5, "10.96.0.10", 80))).toEqual(new Set([c]));
    });

    it("refuses at once where there is no endpoint, and serves again when there is one", async () => {
      const external = { externalIPs: ["10.96.0.21"], nodePort: 30081 };
      const noEndpoints = planService("default/shop", [
        kernelPort("10.96.0.10", [], { clusterIP: "10.96.0.20", ...external }),
      ]);
      // Whatever else listens on a NodePort does not get what is meant for the Service.
      expect(await net.dial(nodeAddress, 30081)).toBe(nodeAddress);
      await apply(web([]), noEndpoints);
      for (const [address, port] of [
        ["10.96.0.10", 80],
        ["10.96.0.21", 80],
        [nodeAddress, 30081],
      ] as const)
        expect(await net.dial(address, port)).toBe("refused");
      await apply(web([a]), noEndpoints);
      expect(await net.dial("10.96.0.10", 80)).toBe(a);
    });

    it("drops under an internal policy of Local what no endpoint of this node can serve", async () => {
      await apply(web([c], { internalPolicy: "Local" }));
      expect(await net.dial("10.96.0.10", 80, { timeoutMs: 300 })).toBe("timeout");
    });

    it("keeps each client at one endpoint with ClientIP affinity, and lets it go with it", async () => {
      await apply(web([a, b, c], { affinitySeconds: 600 }));
      for (const from of clients) {
        const answers = new Set(await dialTimes(8, "10.96.0.10", 80, { from }));
        expect([...answers]).toHaveLength(1);
        // Writing everything anew does not make the kernel forget.
        executor.renew();
        await apply(web([a, b, c], { affinitySeconds: 600 }));
        for (const answer of await dialTimes(8, "10.96.0.10", 80, { from })) answers.add(answer);
        expect([...answers]).toHaveLength(1);
      }
      await apply(web([a, b, c]));
      expect(new Set(await dialTimes(40, "10.96.0.10", 80, { from: clients[0] ?? "" }))).toEqual(new Set([a, b, c]));
    });

    it("takes turns with rr", async () => {
      await apply(web([a, b, c], { algorithm: "rr" }));
      const answers = await dialTimes(6, "10.96.0.10", 80);
      expect(answers.slice(3)).toEqual(answers.slice(0, 3));
      expect(new Set(answers)).toEqual(new Set([a, b, c]));
    });

    it("serves NodePorts, external IPs and allowed sources of a balancer's IP from the node, and drops other sources", async () => {
      await apply(shop([a]));
      expect(await net.dial(nodeAddress, 30080)).toBe(a);
      expect(await net.dial("203.0.113.1", 80)).toBe(a);
      expect(await net.dial("203.0.113.2", 80, { timeoutMs: 300 })).toBe("timeout");
      expect(await net.dial("203.0.113.2", 80, { from: allowed })).toBe(a);
    });

    it("serves all others where one Service is refused, and says why", async () => {
      const bad = planService("default/bad", [
        kernelPort("10.96.0.10", ["10.244.1.9:70000"], { clusterIP: "10.96.0.66" }),
      ]);
      const problems = await apply(bad, web([a]));
      expect(problems).toMatchObject([{ service: "default/bad", reason: "RulesRefused" }]);
      expect(problems[0]?.message).toContain("Port `70000' not valid");
      expect(await net.dial("10.96.0.10", 80)).toBe(a);
      await apply(web([b]));
      expect(await net.dial("10.96.0.10", 80)).toBe(b);
    });

    it.skipIf(flavour !== "nft" || spawnSync("nft", ["--version"]).error !== undefined)(
      "serves, and puts no jump twice, where nft has put rules of its own into the table",
      async () => {
        await using own = await create();
        await own.must(
          "nft",
          "add table ip filter; add chain ip filter own; add rule ip filter own ct state new accept",
        );
        const jumps = async () => (await own.must("nft", "list table ip filter")).match(/jump KUBE-/g)?.length;
        const first = executorIn(own);
        expect((await first.apply(planOf([web([a])]))).problems).toEqual([]);
        const made = await jumps();
        // Behind our jumps, and then before them.
        await own.must("nft", "add rule ip filter INPUT ct state new counter");
        expect(await first.check()).toBe("intact");
        const second = executorIn(own);
        expect((await second.apply(planOf([web([b])]))).problems).toEqual([]);
        expect(await second.check()).toBe("intact");
        await own.must("nft", "insert rule ip filter INPUT ct state new counter");
        expect(await second.check()).toBe("intact");
        await expect(executorIn(own).apply(planOf([web([a])]))).rejects.toThrow("--proxy-mode nftables");
        expect(await jumps()).toBe(made);
      },
    );

    it("notices a flush and mends it; cleanup leaves the rules of others, and no chain of ours", async () => {
      await net.must(`iptables-${flavour}`, "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.1", "-j", "RETURN");
      const services = [web([a]), shop([b])];
      await apply(...services);
      expect(await executor.check()).toBe("intact");
      await net.must(`iptables-${flavour}`, "-t", "nat", "-F");
      expect(await executor.check()).toBe("changed");
      await apply(...services);
      expect(await executor.check()).toBe("intact");
      expect(await net.dial("10.96.0.10", 80)).toBe(a);
      await net.must(`iptables-${flavour}`, "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.1", "-j", "RETURN");
      await executor.cleanup();
      const left = (await dump()).map(([, , line]) => line).filter((line) => /^(:KUBE|-A)/.test(line));
      expect(new Set(left.filter((line) => !line.includes("KUBE-FIREWALL")))).toEqual(
        new Set([":KUBE-KUBELET-CANARY -", "-A OUTPUT -d 192.0.2.1/32 -j RETURN"]),
      );
    });
  });
}
