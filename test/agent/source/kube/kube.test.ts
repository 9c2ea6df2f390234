// The kube source against a scripted API server: the Source contract, and each way in which lists and watches fail.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { KubeApi } from "../../../../agent/kube/api.ts";
import type { Source } from "../../../../agent/source/source.ts";
import { kubeSource } from "../../../../agent/source/kube/index.ts";
import type { Times } from "../../../../agent/source/kube/list-watch.ts";
import { afterMissing } from "../../../../agent/source/kube/resume.ts";
import { sourceConformance, Watcher } from "../conformance.ts";
import { endpoint, node, service, serviceCIDR, slice } from "../objects.ts";
import { expired, ScriptedApiServer } from "./server.ts";

const quick: Times = { watchSeconds: 300, slackMs: 15_000, backoff: { firstMs: 10, maxMs: 50 }, missingMs: 600_000 };

sourceConformance("kube", async () => {
  const server = new ScriptedApiServer();
  await server.start();
  const api = server.api();
  return {
    source: kubeSource({ api, times: quick }),
    put: async (object) => server.put(object),
    mend: async (object) => server.put(object),
    delete: async (object) => server.delete(object),
    breakInput: async (object) => server.put({ ...object, spec: { ports: "none" } }),
    async dispose() {
      await api.close();
      await server.stop();
    },
  };
});

describe("kube", () => {
  let server: ScriptedApiServer;
  let api: KubeApi;
  let watcher: Watcher;
  const watch = (times = quick, more: { withServiceCIDRs?: boolean } = {}) => {
    watcher = new Watcher(kubeSource({ api, times, random: () => 0.5, ...more }));
    return watcher;
  };
  const names = () => watcher.last.services.map(({ metadata }) => metadata.name);
  const has = (...wanted: string[]) => watcher.until(() => names().join() === wanted.join());
  const watching = (kinds = 3) =>
    vi.waitFor(() => expect(server.watching).toBe(kinds), { timeout: 10_000, interval: 5 });
  const lists = () => server.requests("list", "Service").length;
  beforeEach(async () => {
    server = new ScriptedApiServer();
    await server.start();
    api = server.api();
  });
  afterEach(async () => {
    watcher[Symbol.dispose]();
    await api.close();
    await server.stop();
  });

  it("asks as kube-proxy does: pages, bookmarks, resume", async () => {
    watch();
    await has();
    await watching();
    const [list] = server.requests("list", "EndpointSlice");
    expect(Object.fromEntries(list?.url.searchParams ?? [])).toEqual({
      limit: "500",
    });
    const [first] = server.requests("watch", "EndpointSlice");
    expect(Object.fromEntries(first?.url.searchParams ?? [])).toEqual({
      watch: "1",
      allowWatchBookmarks: "true",
      resourceVersion: "100",
      timeoutSeconds: "450",
    });
  });

  it("delivers nothing before all three kinds were read", async () => {
    let ready = false;
    server.instead = ({ url }) => (url.pathname.endsWith("nodes") && !ready ? { status: 503 } : undefined);
    server.put(service("web"));
    watch();
    await watcher.untilProblems(([problem]) => problem !== undefined);
    expect(watcher.seen).toEqual([]);
    expect(watcher.problems).toEqual([{ where: "Kubernetes API, Nodes", message: "answers HTTP 503" }]);
    ready = true;
    await has("web");
    expect(watcher.seen).toHaveLength(1);
    await watcher.untilProblems((problems) => problems.length === 0);
  });

  it("reads a list in pages", async () => {
    const all = Array.from({ length: 1_203 }, (_, index) => `s${String(index).padStart(4, "0")}`);
    for (const name of all) server.put(service(name));
    watch();
    await has(...all);
    expect(server.requests("list", "Service").map(({ url }) => url.searchParams.get("continue"))).toEqual([
      null,
      "500",
      "1000",
    ]);
  });

  it("asks for smaller pages where one is too large to be read", async () => {
    for (let index = 0; index < 300; index++) server.put(service(`s${index}`));
    const large = { items: "x".repeat(65 * 1024 * 1024) };
    server.instead = ({ url }) =>
      url.pathname.endsWith("services") && Number(url.searchParams.get("limit")) > 125
        ? { status: 200, body: large }
        : undefined;
    watch();
    await watcher.until(({ services }) => services.length === 300);
    const limits = server.requests("list", "Service").map(({ url }) => url.searchParams.get("limit"));
    expect(limits).toEqual(["500", "250", "125", "125", "125"]);
    expect(watcher.problems).toEqual([]);
  });

  it("starts the list again when its pages have expired", async () => {
    for (let index = 0; index < 600; index++) server.put(service(`s${index}`));
    let once = true;
    server.instead = ({ url }) => {
      if (!once || !url.searchParams.has("continue")) return undefined;
      once = false;
      return { status: 410, body: expired };
    };
    watch();
    await watcher.until(({ services }) => services.length === 600);
    expect(watcher.problems).toEqual([]);
  });

  it("resumes an ended watch where it was, without a list", async () => {
    watch();
    await watching();
    server.put(service("a"));
    await has("a");
    server.endWatches();
    await vi.waitFor(() => expect(server.requests("watch", "Service")).toHaveLength(2));
    expect(server.requests("watch", "Service")[1]?.url.searchParams.get("resourceVersion")).toBe("101");
    server.put(service("b"));
    await has("a", "b");
    expect(lists()).toBe(1);
  });

  it("resumes from a bookmark", async () => {
    watch();
    await watching();
    server.put(node("n1"));
    server.bookmark("Service");
    // Bookmark first, then the end: both on one connection.
    server.endWatches();
    await vi.waitFor(() => expect(server.requests("watch", "Service")).toHaveLength(2));
    expect(server.requests("watch", "Service")[1]?.url.searchParams.get("resourceVersion")).toBe("101");
  });

  it("misses nothing over a restart of the API server, and keeps all meanwhile", async () => {
    server.put(service("a"));
    server.put(service("b"));
    watch();
    await watching();
    await server.stop();
    await watcher.untilProblems((problems) => problems.length === 3);
    expect(watcher.problems[2]?.message).toMatch(/^cannot be reached \(.*ECONNREFUSED.*\); the last known state stays/);
    expect(names()).toEqual(["a", "b"]);
    server.delete(service("a"));
    server.put(service("c"));
    await server.start();
    await has("b", "c");
    await watcher.untilProblems((problems) => problems.length === 0);
    expect(lists()).toBe(1);
  });

  it.each([
    ["within the stream", () => undefined],
    [
      "as HTTP",
      ({ url }: { url: URL }) =>
        url.searchParams.get("resourceVersion") === "100" ? { status: 410, body: expired } : undefined,
    ],
  ])("lists again after 410 %s, and finds what vanished meanwhile", async (_how, instead) => {
    server.put(service("a"));
    watch();
    await watching();
    await server.stop();
    server.delete(service("a"));
    server.put(service("b"));
    server.compact();
    server.instead = instead;
    await server.start();
    await has("b");
    expect(watcher.seen.every(({ services }) => services.length === 1)).toBe(true);
  });

  it("keeps each object that a new list has unchanged, so that nothing is planned, or counted as a change, for it", async () => {
    for (const object of [service("a"), slice("a", []), node("n1"), service("b")]) server.put(object);
    watch();
    await watching();
    await has("a", "b");
    const before = watcher.last;
    await server.stop();
    server.put(service("b", { type: "NodePort" }));
    server.compact();
    await server.start();
    await watching();
    // What comes after all lists is delivered after them.
    server.put(service("c"));
    await has("a", "b", "c");
    const after = watcher.last;
    const same = (kind: "services" | "endpointSlices" | "nodes") =>
      after?.[kind].map((object, index) => object === before?.[kind][index]);
    expect(lists()).toBe(2);
    expect([same("services"), same("endpointSlices"), same("nodes")]).toEqual([[true, false, false], [true], [true]]);
  });

  it.each([
    ["a line that is no JSON", "{\n"],
    ["an event of no known type", '{"type":"CHANGED","object":{"metadata":{"name":"x","resourceVersion":"1"}}}\n'],
    ["an object without a name", '{"type":"ADDED","object":{"metadata":{}}}\n'],
    ["a line without end", "x".repeat(9 * 1024 * 1024)],
  ])("lists again after %s", async (_what, text) => {
    server.put(service("a"));
    watch();
    await watching();
    server.raw("Service", text);
    await vi.waitFor(() => expect(lists()).toBe(2), { timeout: 10_000 });
    await watching();
    server.put(service("b"));
    await has("a", "b");
    await watcher.untilProblems((problems) => problems.length === 0);
  });

  it("reads the token for each request, and again where it had expired", async () => {
    let valid = "first-token";
    server.instead = ({ token }) => (token === valid ? undefined : { status: 401, body: { reason: "Unauthorized" } });
    watch();
    await watching();
    valid = "second-token";
    // The kubelet writes the new one between the first and the second try.
    let reads = 0;
    const access = server.access();
    Object.defineProperty(server, "token", { get: () => (++reads > 1 ? valid : "first-token") });
    expect(access.token()).toBe("first-token");
    server.endWatches();
    await watching();
    expect(lists()).toBe(1);
    expect(watcher.problems).toEqual([]);
  });

  it("says what it may not read, and goes on as soon as it may", async () => {
    const body = { kind: "Status", reason: "Forbidden", message: "services is forbidden" };
    server.instead = ({ url }) => (url.pathname.endsWith("/services") ? { status: 403, body } : undefined);
    watch();
    await watcher.untilProblems((problems) => problems.length === 1);
    expect(watcher.problems[0]).toEqual({
      where: "Kubernetes API, Services",
      message: "answers HTTP 403 Forbidden (services is forbidden)",
    });
    server.instead = () => undefined;
    await has();
  });

  it("cuts a watch that says nothing for longer than it may live", async () => {
    watch({ ...quick, watchSeconds: 0.4, slackMs: 50 });
    await vi.waitFor(() => expect(server.requests("watch", "Service").length).toBeGreaterThan(2), { timeout: 10_000 });
    expect(watcher.problems).toEqual([]);
    expect(lists()).toBe(1);
  });

  describe("ServiceCIDRs", () => {
    const all = { withServiceCIDRs: true };
    const ranges = () => watcher.last.serviceCIDRs.map(({ metadata, spec }) => `${metadata.name} ${spec.cidrs.join()}`);
    const hasRanges = (...wanted: string[]) => watcher.until(() => ranges().join("; ") === wanted.join("; "));
    const refuse = (status: number) => {
      server.instead = ({ url }) => (url.pathname.endsWith("/servicecidrs") ? { status } : undefined);
    };
    const asked = () => server.requests("list", "ServiceCIDR").length;

    it("are read and followed where they are wanted, until they are gone", async () => {
      server.put(serviceCIDR("kubernetes", ["10.96.0.0/16", "fd00:96::/108"]));
      watch(quick, all);
      await hasRanges("kubernetes 10.96.0.0/16,fd00:96::/108");
      expect(watcher.seen).toHaveLength(1);
      await watching(4);
      server.put(serviceCIDR("more", ["10.97.0.0/16"]));
      await hasRanges("kubernetes 10.96.0.0/16,fd00:96::/108", "more 10.97.0.0/16");
      server.put(serviceCIDR("more", ["10.97.0.0/16"], { deletionTimestamp: "2026-01-01T00:00:00Z" }));
      await watcher.until(({ serviceCIDRs }) => serviceCIDRs[1]?.metadata.deletionTimestamp !== undefined);
      server.delete(serviceCIDR("more", []));
      await hasRanges("kubernetes 10.96.0.0/16,fd00:96::/108");
    });

    it("are not asked for where they are not wanted", async () => {
      server.put(serviceCIDR("kubernetes", ["10.96.0.0/16"]));
      watch();
      await has();
      await watching();
      expect(watcher.last.serviceCIDRs).toEqual([]);
      expect(asked()).toBe(0);
    });

    it("that an API server does not have yet hold up nothing, are no problem, and are found after its upgrade", async () => {
      refuse(404);
      server.put(service("web"));
      server.put(serviceCIDR("kubernetes", ["10.96.0.0/16"]));
      watch({ ...quick, missingMs: 20 }, all);
      await has("web");
      await vi.waitFor(() => expect(asked()).toBeGreaterThan(2));
      expect(watcher.seen).toHaveLength(1);
      expect(watcher.last.serviceCIDRs).toEqual([]);
      expect(watcher.problems).toEqual([]);
      server.instead = () => undefined;
      await hasRanges("kubernetes 10.96.0.0/16");
    });

    it("are seldom asked for where there are none", async () => {
      refuse(404);
      watch(quick, all);
      await watching();
      server.endWatches();
      await vi.waitFor(() => expect(server.requests("watch", "Node")).toHaveLength(2));
      expect(asked()).toBe(1);
      expect(afterMissing(() => 0.5, 600_000)).toEqual({
        do: "list",
        afterMs: 900_000,
        failures: 0,
        problem: undefined,
      });
    });

    it("stay as they were known when an API server loses them, without a problem", async () => {
      server.put(serviceCIDR("kubernetes", ["10.96.0.0/16"]));
      watch({ ...quick, missingMs: 20 }, all);
      await hasRanges("kubernetes 10.96.0.0/16");
      await watching(4);
      refuse(404);
      server.endWatches();
      await vi.waitFor(() => expect(asked()).toBeGreaterThan(2));
      server.put(node("n1"));
      await watcher.until(({ nodes }) => nodes.length === 1);
      expect(ranges()).toEqual(["kubernetes 10.96.0.0/16"]);
      expect(watcher.problems).toEqual([]);
    });

    it("that must not be read are a problem, and hold up nothing", async () => {
      refuse(403);
      server.put(service("web"));
      watch(quick, all);
      await has("web");
      await watcher.untilProblems((problems) => problems.length === 1);
      expect(watcher.problems).toEqual([{ where: "Kubernetes API, ServiceCIDRs", message: "answers HTTP 403" }]);
    });
  });

  it("tells of a change soon after the first state, however long its listener took for that", async () => {
    const TOOK_MS = 300;
    const ends: number[] = [];
    const source = kubeSource({ api, times: quick });
    const slow: Source["subscribe"] = (listener, onProblems) =>
      source.subscribe((observed) => {
        const began = performance.now();
        if (ends.length === 0) while (performance.now() - began < TOOK_MS);
        ends.push(performance.now());
        listener(observed);
      }, onProblems);
    watcher = new Watcher({ subscribe: slow });
    await has();
    await watching();
    server.put(service("web"));
    await has("web");
    const [first = 0, second = 0] = ends;
    expect(second - first).toBeLessThan(8 * TOOK_MS);
  });

  it("merges a burst, and trims what it keeps", async () => {
    watch();
    await watching();
    const metadata = {
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}", "postern.dev/algorithm": "weighted" },
      managedFields: [
        { manager: "k3s", fieldsV1: { "f:status": { "f:loadBalancer": {} } }, subresource: "status" },
        { manager: "kubectl", fieldsV1: { "f:spec": {} } },
      ],
    };
    for (let index = 0; index < 500; index++) server.put(service(`s${index}`, {}, metadata));
    await watcher.until(({ services }) => services.length === 500);
    expect(watcher.seen.length).toBeLessThan(50);
    expect(watcher.last.services[0]?.metadata).toMatchObject({
      annotations: { "postern.dev/algorithm": "weighted" },
      managedFields: ["k3s"],
    });
    const kept = { "kubernetes.io/service-name": "s1", "service.kubernetes.io/headless": "" };
    const labels = { ...kept, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" };
    server.put(slice("s1", [endpoint("10.0.0.1")], { metadata: { name: "s1-1", labels } }));
    await watcher.until(({ endpointSlices }) => endpointSlices.length === 1);
    expect(watcher.last.endpointSlices[0]?.metadata.labels).toEqual(kept);
    // Kinds that did not change are the same list.
    expect(watcher.seen.at(-1)?.services).toBe(watcher.seen.at(-2)?.services);
  });
});
