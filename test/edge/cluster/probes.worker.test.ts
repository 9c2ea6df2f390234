// Probes of direct nodes: thresholds across hibernation, any HTTP answer counts, and no alarm without a direct route.
// fetch is replaced here: a dead node must be dead when the test says so.
import { evictAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { SnapshotService } from "../../../src/shared/model/snapshot.ts";
import { call, createCluster, published, service, forgetAll } from "../worker/edge.ts";

const cluster = () => env.CLUSTER.get(env.CLUSTER.idFromName("home"));
const direct = (name: string, nodePort: number): SnapshotService =>
  service(name, { transport: "direct", ports: [{ name: "http", port: 80, protocol: "TCP", nodePort }] });
const snapshot = (...services: SnapshotService[]) => ({
  version: 1 as const,
  nodes: [
    { name: "good", directAddress: "127.0.1.1" },
    { name: "bad", directAddress: "127.0.1.2" },
    { name: "six", directAddress: "fd00::1" },
    { name: "tunnel-only" },
  ],
  services,
});

let token: string;
/** Origins that do not answer. */
let dead: Set<string>;
let probed: string[];

beforeEach(async () => {
  dead = new Set();
  probed = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input) => {
    const { url } = new Request(input);
    probed.push(url);
    if ([...dead].some((origin) => url.startsWith(origin))) throw new TypeError("connection refused");
    return new Response("no such path", { status: 404 });
  });
  token = await createCluster("home");
});
afterEach(async () => {
  await forgetAll();
  vi.restoreAllMocks();
});

const alarm = async (): Promise<number | null> =>
  await runInDurableObject(cluster(), async (_, { storage }) => await storage.getAlarm());
/** One probe of everything, as after so many seconds; the object was hibernating. */
const probe = async (): Promise<void> => {
  await evictAllDurableObjects();
  probed = [];
  expect(await runDurableObjectAlarm(cluster())).toBe(true);
};
const unhealthy = async () => (await cluster().table()).probes?.unhealthy;

describe("direct nodes", () => {
  it("are probed where a direct route uses them, and only then", async () => {
    await published("home", token, "1.1", snapshot(service("web")));
    expect(await alarm()).toBeNull();
    await published("home", token, "1.2", snapshot(direct("web", 30080)));
    await vi.waitFor(() =>
      expect(new Set(probed)).toEqual(
        new Set(["http://127.0.1.1:30080/", "http://127.0.1.2:30080/", "http://[fd00::1]:30080/"]),
      ),
    );
    const next = await alarm();
    expect(next).toBeGreaterThan(Date.now() + 50_000);
    expect(next).toBeLessThanOrEqual(Date.now() + 60_000);
    await published("home", token, "1.3", snapshot(service("web")));
    await probe();
    expect(probed).toEqual([]);
    expect(await alarm()).toBeNull();
  });

  it("fail after two failures and recover after one success, with a new version each time", async () => {
    await published("home", token, "1.1", snapshot(direct("web", 30080)));
    await vi.waitFor(() => expect(probed).toHaveLength(3));
    dead.add("http://127.0.1.2:");
    const { probes } = await cluster().table();
    expect(probes?.unhealthy).toEqual([]);
    await probe();
    expect(await unhealthy()).toEqual([]);
    await probe();
    expect(await unhealthy()).toEqual([{ node: "bad", reason: expect.stringContaining("30080") }]);
    const failed = await cluster().table({ probes: probes?.version ?? 0 });
    expect(failed.probes?.version).toBeGreaterThan(probes?.version ?? 0);
    expect((await cluster().table({ probes: failed.probes?.version ?? 0 })).probes).toBeUndefined();
    const { nodes } = await (await call("GET", "/api/v1/clusters/home/nodes", { token })).json<{
      nodes: { node: string; probe?: { healthy: boolean } }[];
    }>();
    expect(nodes.map(({ node, probe: result }) => [node, result?.healthy])).toEqual([
      ["bad", false],
      ["good", true],
      ["six", true],
      ["tunnel-only", undefined],
    ]);
    dead.clear();
    await probe();
    expect(await unhealthy()).toEqual([]);
  });

  it("one failure between successes is none", async () => {
    await published("home", token, "1.1", snapshot(direct("web", 30080)));
    await vi.waitFor(() => expect(probed).toHaveLength(3));
    for (const fails of [true, false, true, false, true]) {
      if (fails) dead.add("http://127.0.1.2:");
      else dead.clear();
      await probe();
      expect(await unhealthy()).toEqual([]);
    }
  });

  it.each([
    [30080, 30081],
    [30081, 30080],
  ])("answer where NodePort %i does not, but %i does", async (broken, well) => {
    dead.add(`http://127.0.1.2:${broken}`);
    await published("home", token, "1.1", snapshot(direct("web", 30080), direct("other", 30081)));
    await vi.waitFor(() => expect(probed).toContain(`http://127.0.1.2:${well}/`));
    await probe();
    await probe();
    expect(await unhealthy()).toEqual([]);
  });

  it("that no direct route uses any more are forgotten", async () => {
    await published("home", token, "1.1", snapshot(direct("web", 30080)));
    await vi.waitFor(() => expect(probed).toHaveLength(3));
    dead.add("http://127.0.1.2:");
    await probe();
    await probe();
    expect(await unhealthy()).toHaveLength(1);
    await published("home", token, "1.2", snapshot(service("web")));
    expect(await unhealthy()).toEqual([]);
  });
});
