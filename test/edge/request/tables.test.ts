// What an isolate asks the objects for, how often, and who waits: with objects that the test scripts, and a set clock.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Door } from "../../../src/edge/routing/match.ts";
import type { RoutingTable } from "../../../src/edge/routing/table.ts";
import { effects } from "../../../src/edge/effects.ts";
import { type Objects, Tables } from "../../../src/edge/request/tables.ts";

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

const ctx = { waitUntil: (): void => {} };
const hostOf = (cluster: string): string => `web.${cluster}.test`;
const doorOf = (cluster: string): Door => ({ host: hostOf(cluster), scheme: "http", port: undefined });

/** The deployment: each cluster serves one hostname of its own. */
class Deployment {
  /** "directory", or a cluster's name, for each call. */
  readonly asked: string[] = [];
  readonly generations = new Map<string, number>();
  /** Full tables that were sent. */
  sent = 0;
  /** How long an object takes, ms; "fails": at once; "hangs": for ever. */
  answers: number | "fails" | "hangs" = 5;
  /** Clusters without a listener. */
  readonly empty = new Set<string>();
  readonly tables = new Tables(effects);
  readonly objects: Objects;

  constructor(...clusters: string[]) {
    for (const cluster of clusters) this.generations.set(cluster, 1);
    const directory = async () => {
      await this.#call("directory");
      const entries = clusters.map((cluster) => ({
        hostname: hostOf(cluster),
        owner: cluster,
        members: [{ cluster, priority: 0, weight: 1 }],
      }));
      return { version: 1, entries, shards: {} };
    };
    const table = async (cluster: string, known?: { generation?: number }) => {
      await this.#call(cluster);
      const generation = this.generations.get(cluster) ?? 0;
      if (known?.generation === generation) return { generation };
      this.sent++;
      return { generation, table: this.#tableOf(cluster, generation) };
    };
    this.objects = {
      GATEWAY: { getByName: () => ({ directory }) },
      CLUSTER: { getByName: (cluster: string) => ({ table: (known?: object) => table(cluster, known) }) },
    };
  }

  plan(cluster: string): "serve" | "renew" | "wait" {
    return this.tables.plan(hostOf(cluster), this.tables.find(doorOf(cluster)), Date.now());
  }

  refresh(cluster: string): Promise<boolean> {
    return this.tables.refresh(this.objects, ctx, hostOf(cluster));
  }

  /** As proxy.ts does it. Whether it had to wait. */
  async request(cluster: string): Promise<"wait" | "serve" | "renew"> {
    const plan = this.plan(cluster);
    if (plan === "wait") await this.refresh(cluster);
    if (plan === "renew") void this.refresh(cluster);
    return plan;
  }

  async warm(...clusters: string[]): Promise<void> {
    const done = Promise.all(clusters.map((cluster) => this.refresh(cluster)));
    await vi.advanceTimersByTimeAsync(100);
    await done;
    this.asked.length = 0;
    this.sent = 0;
  }

  async #call(what: string): Promise<void> {
    this.asked.push(what);
    const { answers } = this;
    if (answers === "fails") throw new Error("scripted");
    await new Promise<void>((resolve) => answers !== "hangs" && setTimeout(resolve, answers));
  }

  #tableOf(cluster: string, generation: number): RoutingTable {
    const listeners = [{ hostname: hostOf(cluster), port: 80, tls: false, route: 0 }];
    return {
      version: 1,
      cluster,
      generation,
      nodes: [{ name: "n1" }],
      routes: [
        {
          service: "default/web",
          port: 80,
          transport: "tunnel",
          algorithm: "round-robin",
          affinity: false,
          sourceRanges: [],
          nodes: [],
        },
      ],
      listeners: this.empty.has(cluster) ? [] : listeners,
    };
  }
}

test("a cold isolate: many requests at once ask for each thing once, and all get it", async () => {
  const deployment = new Deployment("a");
  const all = Promise.all(Array.from({ length: 50 }, () => deployment.request("a")));
  await vi.advanceTimersByTimeAsync(100);
  expect(new Set(await all)).toEqual(new Set(["wait"]));
  expect(deployment.asked).toEqual(["directory", "a"]);
  expect(deployment.tables.find(doorOf("a"))).toHaveLength(1);
  expect(deployment.plan("a")).toBe("serve");
});

test("after a publish nobody waits, and one request asks for the new table", async () => {
  const deployment = new Deployment("a");
  await deployment.warm("a");
  deployment.generations.set("a", 2);
  const [candidate] = deployment.tables.find(doorOf("a"));
  if (candidate === undefined) throw new Error("no candidate");
  // Each of these has the new generation from its TunnelObject.
  const confirmed = Array.from({ length: 50 }, () => {
    const known = deployment.tables.confirm(candidate.table, "2", Date.now());
    if (!known) void deployment.refresh("a");
    return known;
  });
  // None of them is asked for within a second of the last time: 100 ms have passed.
  expect(confirmed.every(Boolean)).toBe(true);
  await vi.advanceTimersByTimeAsync(1_000);
  const plans = await Promise.all(Array.from({ length: 50 }, () => deployment.request("a")));
  expect(plans.filter((plan) => plan === "renew")).toHaveLength(1);
  expect(plans.filter((plan) => plan === "wait")).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(100);
  expect(deployment.sent).toBe(1);
  expect(candidate.table.generation).toBe(2);
});

test("a shard that is behind does not make every request ask", async () => {
  const deployment = new Deployment("a");
  deployment.generations.set("a", 7);
  await deployment.warm("a");
  const [candidate] = deployment.tables.find(doorOf("a"));
  if (candidate === undefined) throw new Error("no candidate");
  for (let i = 0; i < 1_000; i++) {
    await vi.advanceTimersByTimeAsync(10);
    expect(await deployment.request("a")).not.toBe("wait");
    if (!deployment.tables.confirm(candidate.table, "6", Date.now())) void deployment.refresh("a");
  }
  // Ten seconds.
  expect(deployment.asked.filter((each) => each === "a").length).toBeLessThanOrEqual(10);
  expect(deployment.sent).toBe(0);
});

test("each cluster of an isolate is renewed in time, however many there are", async () => {
  const clusters = ["a", "b", "c", "d", "e"];
  const deployment = new Deployment(...clusters);
  await deployment.warm(...clusters);
  for (let i = 0; i < 200; i++) {
    await vi.advanceTimersByTimeAsync(100);
    for (const cluster of clusters) expect(await deployment.request(cluster)).not.toBe("wait");
  }
});

test("an idle isolate waits for one refresh", async () => {
  const deployment = new Deployment("a");
  await deployment.warm("a");
  await vi.advanceTimersByTimeAsync(10_000);
  const all = Promise.all(Array.from({ length: 20 }, () => deployment.request("a")));
  await vi.advanceTimersByTimeAsync(100);
  expect(new Set(await all)).toEqual(new Set(["wait"]));
  expect(deployment.asked).toEqual(["directory", "a"]);
});

test.each(["fails", "hangs"] as const)(
  "objects of which one %s: one request in five seconds waits, for a minute",
  async (how) => {
    const deployment = new Deployment("a");
    await deployment.warm("a");
    deployment.answers = how;
    await vi.advanceTimersByTimeAsync(6_000);
    const first = deployment.request("a");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await first).toBe("wait");
    for (let i = 0; i < 30; i++) {
      await vi.advanceTimersByTimeAsync(100);
      expect(deployment.plan("a")).not.toBe("wait");
    }
    expect(deployment.tables.expired(hostOf("a"), Date.now())).toBe(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(deployment.plan("a")).toBe("wait");
    expect(deployment.tables.expired(hostOf("a"), Date.now())).toBe(true);
    deployment.answers = 5;
    const healed = deployment.refresh("a");
    await vi.advanceTimersByTimeAsync(100);
    expect(await healed).toBe(true);
    expect(deployment.plan("a")).toBe("serve");
  },
);

test("whose request was lost on the way is asked for by another after two seconds", async () => {
  const deployment = new Deployment("a");
  deployment.answers = "hangs";
  void deployment.refresh("a");
  await vi.advanceTimersByTimeAsync(100);
  deployment.answers = 5;
  const second = deployment.refresh("a");
  await vi.advanceTimersByTimeAsync(2_100);
  expect(await second).toBe(false);
  const third = deployment.refresh("a");
  await vi.advanceTimersByTimeAsync(100);
  expect(await third).toBe(true);
});

test("a miss is one of the cluster's own table, not of another host's fresh directory", async () => {
  const deployment = new Deployment("a", "b");
  deployment.empty.add("a");
  await deployment.warm("a", "b");
  deployment.empty.delete("a");
  deployment.generations.set("a", 2);
  await vi.advanceTimersByTimeAsync(4_000);
  // "b" is renewed, and with it the directory.
  void deployment.refresh("b");
  await vi.advanceTimersByTimeAsync(100);
  expect(deployment.tables.find(doorOf("a"))).toEqual([]);
  expect(deployment.plan("a")).toBe("wait");
  const asked = deployment.refresh("a");
  await vi.advanceTimersByTimeAsync(100);
  await asked;
  expect(deployment.tables.find(doorOf("a"))).toHaveLength(1);
});

test("a match goes with the table that it is of, though a newer one has come", async () => {
  const deployment = new Deployment("a");
  await deployment.warm("a");
  const [before] = deployment.tables.find(doorOf("a"));
  deployment.generations.set("a", 2);
  await vi.advanceTimersByTimeAsync(4_000);
  const renewed = deployment.refresh("a");
  await vi.advanceTimersByTimeAsync(100);
  await renewed;
  expect(before?.table.generation).toBe(2);
  expect(before?.index.table.generation).toBe(1);
  expect(before?.index.table.routes).toContain(before?.match.route);
});

test("unknown hosts ask for the directory once a second", async () => {
  const deployment = new Deployment("a");
  await deployment.warm("a");
  for (let i = 0; i < 100; i++) {
    const asked = deployment.request("stranger");
    await vi.advanceTimersByTimeAsync(100);
    await asked;
  }
  expect(deployment.asked.length).toBeLessThanOrEqual(11);
  expect(new Set(deployment.asked)).toEqual(new Set(["directory"]));
});
