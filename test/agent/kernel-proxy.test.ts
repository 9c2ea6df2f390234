// The agent in kube-proxy's place as a whole, over an executor that is scripted: from what is observed to its ports.
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Executor, KernelExecutor, NodeProblem } from "../../agent/dataplane/executor.ts";
import { KernelProxy } from "../../agent/kernel-proxy.ts";
import { proxySettings } from "../../agent/kube-proxy/settings.ts";
import { LogOnce } from "../../agent/log-once.ts";
import { NodeProgrammer } from "../../agent/node-programmer.ts";
import type { ForwardingPlan } from "../../agent/plan/plan.ts";
import type { Observed } from "../../agent/source/source.ts";
import { freePort } from "../../src/host/process/free-port.ts";
import { observe } from "./plan/observe.ts";
import { endpoint, node, service, slice } from "./source/objects.ts";

const at = { host: "127.0.0.1", port: 0 };
const rules = {
  ...{ defaultClass: false, allowExternalName: [], clusterDomain: "cluster.local", ignoreExcludeLabel: false },
  ...{ endpointAlgorithms: [], forwards: "all" as const },
};

let happened: string[];
let fails: boolean;
let intact: boolean;
let logged: string[];
let proxy: KernelProxy;
let programmer: NodeProgrammer;
let ports: ReturnType<KernelProxy["listen"]>;
let healthCheckNodePort: number;
let failures: readonly string[];
let problems: readonly NodeProblem[];
let events: string[];
let now: number;
/** Rules are written once it has resolved. */
let slow: Promise<void> | undefined;

const streams: Executor = {
  apply: async () => {
    happened.push("streams");
    return { problems: [] };
  },
  clear: async () => void happened.push("streams cleared"),
};
const executor: KernelExecutor = {
  apply: async ({ services }: ForwardingPlan) => {
    if (fails) throw new Error("nft: no");
    if (slow !== undefined) happened.push("rules begun");
    await slow;
    happened.push(`rules of ${services.map(({ key }) => key).join()}`);
    return { problems };
  },
  check: async () => (intact ? "intact" : problems.length > 0 ? "due" : "changed"),
  renew: () => happened.push("renew"),
  cleanup: async () => 0,
  clear: async () => void happened.push("rules cleared"),
};

/** An agent with these ports: itself, its programmer, and the Events that it records. */
function made(
  healthAddress: { host: string; port: number },
  metricsAddress: { host: string; port: number },
): [KernelProxy, NodeProgrammer, string[]] {
  const events: string[] = [];
  const settings = proxySettings(
    "iptables",
    { iptables: { syncPeriod: 60, minSyncPeriod: 10 }, nodePortAddresses: ["localhost"], conntrack: { maxPerCore: 0 } },
    { clusterCIDRs: undefined, healthAddress, metricsAddress },
  );
  const say = (_fields: unknown, text?: string) => void logged.push(text ?? String(_fields));
  const logOnce = new LogOnce(() => undefined);
  const proxy = new KernelProxy({
    ...{ settings, node: "n1", streams, logOnce, log: { info: say, warn: say, error: say }, now: () => now },
    events: {
      record: ({ metadata }, each) => events.push(...each.map(({ reason }) => `${metadata.name} ${reason}`)),
      stop: () => events.push("stop"),
    },
    effects: {
      run: async () => ({ code: undefined, stdout: "", stderr: "no such program" }),
      localAddresses: () => ["127.0.0.1"],
    },
    makeExecutor: (kernel) => {
      happened.push(`made for ${kernel.mode}`);
      return executor;
    },
  });
  const programmer = new NodeProgrammer({
    ...{ node: "n1", rules, logOnce, executor: proxy, applying: proxy.applying, localAddresses: () => [] },
    problems: {
      setFailures: (problems) => (failures = problems.map(({ service: key, reason }) => `${key} ${reason}`)),
      setLeftOut: () => undefined,
    },
    onApplied: () => undefined,
    onServed: () => proxy.agreed(),
  });
  return [proxy, programmer, events];
}

beforeEach(async () => {
  [happened, fails, intact, logged, failures] = [[], false, true, [], []];
  [problems, now, slow] = [[], 0, undefined];
  healthCheckNodePort = await freePort();
  [proxy, programmer, events] = made(at, at);
  ports = proxy.listen(() => void programmer.checkNow());
  await Promise.all([ports.health.held, ports.metrics.held]);
});
afterEach(async () => {
  proxy.yield();
  await programmer.stop();
});

const observed = (...endpoints: object[]): Observed =>
  observe(
    node("n1", {}, { status: { addresses: [{ type: "InternalIP", address: "192.168.1.10" }] } }),
    service("web", { externalTrafficPolicy: "Local", healthCheckNodePort }),
    slice("web", endpoints),
  );
const see = (state: Observed) => {
  proxy.observe(state);
  programmer.observe(state);
};
const ask = async (port: number, path = "/healthz") => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
const served = () => vi.waitFor(() => expect(programmer.served).toBeDefined());

describe("in kube-proxy's place", () => {
  it("is healthy once the rules stand, and tells balancers of local endpoints", async () => {
    expect(happened).toEqual(["made for iptables"]);
    expect(await ask(ports.health.port)).toBe(503);
    see(observed(endpoint("10.1.0.1", "n1")));
    await served();
    expect(happened.slice(1)).toEqual(["streams", "rules of default/web"]);
    expect([await ask(ports.health.port), await ask(healthCheckNodePort)]).toEqual([200, 200]);
    see(observed(endpoint("10.1.0.1", "n2")));
    await served();
    expect([await ask(ports.health.port), await ask(healthCheckNodePort)]).toEqual([200, 503]);
    expect(failures).toEqual([]);
  });

  it("takes no traffic where the own node goes, or is not known", async () => {
    const state = observed();
    see({ ...state, nodes: [] });
    await served();
    expect([await ask(ports.health.port), await ask(ports.health.port, "/livez")]).toEqual([503, 200]);
    see(state);
    await served();
    expect(await ask(ports.health.port)).toBe(200);
  });

  it("agrees with nothing while syncs fail, becomes unhealthy, and recovers by itself", async () => {
    fails = true;
    see(observed(endpoint("10.1.0.1", "n1")));
    await vi.waitFor(async () => expect(await ask(ports.health.port, "/livez")).toBe(503));
    expect(programmer.served).toBeUndefined();
    await vi.waitFor(() => expect(logged).toContain("the rules were not synced; trying again within 0.06 s"));
    const metrics = await (await fetch(`http://127.0.0.1:${ports.metrics.port}/metrics`)).text();
    expect(metrics).toMatch(/kubeproxy_sync_proxy_rules_iptables_restore_failures_total\{ip_family="IPv4"\} [1-9]/);
    fails = false;
    await served();
    expect([await ask(ports.health.port), await ask(healthCheckNodePort)]).toEqual([200, 200]);
  });

  it("makes the rules again when another program has changed them", async () => {
    see(observed());
    await served();
    happened.length = 0;
    intact = false;
    await vi.waitFor(() => expect(happened).toContain("rules of default/web"));
    expect(logged).toContain("the rules are not as they were left: another program changed them; making all anew");
  });

  it("tells a probe of its last sync, and of its last look at the kernel", async () => {
    expect(proxy.facts).toEqual({ lastSync: undefined, keepsUp: true, lastCheck: undefined });
    see(observed());
    await served();
    await vi.waitFor(() => expect(proxy.facts.lastCheck?.intact).toBe(true));
    expect(proxy.facts.lastCheck?.at).toBeGreaterThanOrEqual(proxy.facts.lastSync ?? Number.NaN);
    intact = false;
    await vi.waitFor(() => expect(proxy.facts.lastCheck?.intact).toBe(false));
  });

  it("tries again what the kernel refused, and blames no other program for it", async () => {
    problems = [{ service: "default/web", reason: "RulesRefused", message: "no" }];
    see(observed());
    await served();
    happened.length = 0;
    intact = false;
    await vi.waitFor(() => expect(happened).toContain("rules of default/web"));
    expect(logged.join()).not.toContain("another program");
    expect(proxy.facts.lastCheck?.intact).not.toBe(false);
  });

  it("writes everything anew once an hour, and says nothing of it", async () => {
    see(observed());
    await served();
    now = 3_599_999;
    see(observed(endpoint("10.1.0.1", "n1")));
    await served();
    expect(happened).not.toContain("renew");
    now = 3_600_000;
    await vi.waitFor(() => expect(happened.slice(-2)).toEqual(["renew", "rules of default/web"]));
    await served();
    see(observed());
    await served();
    // An hour in which something always changes ends as well.
    now += 3_600_000;
    see(observed(endpoint("10.1.0.2", "n1")));
    await served();
    expect(happened.filter((each) => each === "renew")).toHaveLength(2);
    expect(logged.filter((text) => text.includes("another program"))).toEqual([]);
  });

  it("says on a Service, in an Event, a metric and for the leader, what it cannot do of it", async () => {
    const blocker = createServer().listen(healthCheckNodePort, "127.0.0.1");
    await once(blocker, "listening");
    problems = [{ service: "default/web", reason: "RulesRefused", message: "no such rule" }];
    see(observed());
    await served();
    expect(events).toEqual(["web RulesRefused", "web FailedToStartServiceHealthcheck"]);
    const text = async () => await (await fetch(`http://127.0.0.1:${ports.metrics.port}/metrics`)).text();
    for (const reason of ["RulesRefused", "FailedToStartServiceHealthcheck"]) {
      expect(await text()).toContain(`postern_proxy_services_with_problems{reason="${reason}"} 1`);
      expect(await text()).toContain(
        `postern_proxy_service_problem{namespace="default",service="web",reason="${reason}"} 1`,
      );
    }
    expect(proxy.incomplete.get("default/web")).toMatchObject({
      type: "postern.dev/ForwardingIncomplete",
      message: "On node n1: no such rule",
    });
    problems = [];
    blocker.close();
    await vi.waitFor(() => expect(proxy.incomplete.size).toBe(0));
    await vi.waitFor(async () => expect(await text()).not.toMatch(/^postern_proxy_\w+\{/m), { timeout: 5_000 });
    expect(events).toHaveLength(2);
  });

  describe("beside an agent that is still at work", () => {
    let blocker: Server;
    let events: string[];
    let second: KernelProxy;
    let next: NodeProgrammer;
    beforeEach(async () => {
      see(observed(endpoint("10.1.0.1", "n1")));
      await served();
      const address = (port: number) => ({ host: "127.0.0.1", port });
      [second, next, events] = made(address(ports.health.port), address(ports.metrics.port));
      [happened.length, logged.length] = [0, 0];
      await Promise.all(Object.values(second.listen(() => void next.checkNow())).map(({ tried }) => tried));
      second.observe(observed());
      next.observe(observed());
      await vi.waitFor(() => expect(next.served).toBeDefined());
    });
    afterEach(async () => {
      second.yield();
      await next.stop();
    });
    const ofOthers = () => logged.filter((text) => text.startsWith("what "));

    it("takes away nothing of it and blames nobody for its ports; then it does so at once", async () => {
      expect(happened).toContain("rules of default/web");
      expect([ofOthers(), events]).toEqual([[], []]);
      proxy.yield();
      await vi.waitFor(() => expect(ofOthers()).not.toEqual([]));
      await vi.waitFor(async () => expect(await ask(healthCheckNodePort)).toBe(503));
      expect(events).toEqual([]);
    });

    it("says that another program has a port once the agent is gone", async () => {
      proxy.yield();
      blocker = createServer().listen(healthCheckNodePort, "127.0.0.1");
      await once(blocker, "listening");
      await vi.waitFor(() => expect(events).toEqual(["web FailedToStartServiceHealthcheck"]));
      blocker.close();
    });
  });

  it("keeps its ports until the last rules are written", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    slow = promise;
    see(observed(endpoint("10.1.0.1", "n1")));
    await vi.waitFor(() => expect(happened).toContain("rules begun"));
    proxy.yield();
    expect(await ask(ports.health.port)).toBe(503);
    expect(ports.health.isHeld).toBe(true);
    resolve();
    await vi.waitFor(() => expect(ports.health.isHeld || ports.metrics.isHeld).toBe(false));
    expect(happened).toContain("rules of default/web");
  });

  it("leaves its rules, and gives its ports to the next agent at once", async () => {
    see(observed(endpoint("10.1.0.1", "n1")));
    await served();
    proxy.yield();
    for (const port of [ports.health.port, ports.metrics.port, healthCheckNodePort]) {
      await expect(ask(port)).rejects.toThrow("fetch failed");
    }
    happened.length = 0;
    see(observed());
    await served();
    await expect(ask(healthCheckNodePort)).rejects.toThrow("fetch failed");
    await programmer.stop();
    expect(happened).toEqual(["streams", "streams cleared"]);
  });
});
