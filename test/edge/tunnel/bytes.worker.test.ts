// Header bytes, loops and new tables through the whole edge: what a node gets of a request, and a client of an answer.
import { encodeLines } from "../../../src/edge/http/forwarded.ts";
import { Waiting } from "../../../src/edge/forward/waiting.ts";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { forgetAll, published, service } from "../worker/edge.ts";
import { Cluster, named } from "../worker/cluster.ts";

let home: Cluster;
beforeEach(async () => {
  home = await Cluster.create("home", ["node-a", "node-b"]);
});
afterEach(async () => {
  home.leave();
  await forgetAll();
});

test("a request's bytes reach the node as they came: by the proxy's word, or as the UTF-8 that they are", async () => {
  const node = await home.connect("node-a", named);
  const raw = encodeLines(["x-a", "caf\xe9"]);
  expect(await home.ask({ headers: { "x-a": "caf\ufffd", "x-b": "天", "x-postern-raw": raw } })).toBe("200 node-a");
  const stream = await node.stream();
  expect([stream.header("x-a"), stream.header("x-b")]).toEqual(["caf\xe9", "\xe5\xa4\xa9"]);
  expect(stream.header("x-postern-raw")).toBeUndefined();
});

test("bytes that are lost are a 400 that names the header; no node is asked", async () => {
  const node = await home.connect("node-a", named);
  const response = await home.fetch({ headers: { "x-a": "caf\ufffd" } });
  expect([response.status, response.headers.get("x-postern-reason")]).toEqual([400, "bad-request"]);
  expect(await response.text()).toContain("x-a");
  expect(node.streams).toHaveLength(0);
});

test.each(["GET", "websocket"])("an answer's bytes reach the proxy as they came (%s)", async (how) => {
  const headers = ["X-A", "caf\xe9", "x-b", "plain"];
  await home.connect("node-a", (stream) => (how === "GET" ? stream.answer("", { headers }) : stream.upgrade(headers)));
  const response = await home.fetch(how === "GET" ? {} : { headers: { upgrade: "websocket" } });
  expect(response.headers.get("x-postern-raw")).toBe(encodeLines(["x-a", "caf\xe9"]));
  expect([response.headers.get("x-a"), response.headers.get("x-b")]).toEqual(["caf?", "plain"]);
  response.webSocket?.accept();
  response.webSocket?.close();
  await response.text();
});

test("a path that is none is a 400, not the end of a node's connection", async () => {
  const node = await home.connect("node-a", named);
  expect(await home.ask({ headers: { "x-postern-target": "/a b" } })).toBe("400 bad-request");
  expect(await home.ask({ headers: { "x-postern-target": '//x/../y?a={"' } })).toBe("200 node-a");
  expect(node.streams.map(({ head }) => head.target)).toEqual(['//x/../y?a={"']);
});

test("a request that comes back is a 508", async () => {
  const node = await home.connect("node-a", named);
  await home.ask({ headers: { "cdn-loop": "cloudflare" } });
  const mark = (await node.stream()).header("cdn-loop") ?? "";
  expect(mark).toMatch(/^cloudflare, postern-/);
  expect(await home.ask({ headers: { "cdn-loop": mark } })).toBe("508 loop");
  expect(node.streams).toHaveLength(1);
});

test("a new table wakes requests in their grace (B11)", async () => {
  const local = service("web", { externalTrafficPolicy: "Local" });
  const snapshot = { version: 1 as const, nodes: [{ name: "node-a" }, { name: "node-b" }], services: [local] };
  await published("home", home.token, "1.2", snapshot);
  await home.connect("node-b", named);
  const waits = vi.spyOn(Waiting.prototype, "wait");
  const asked = home.ask();
  // The only endpoint is on node-a, which is not connected.
  await vi.waitFor(() => expect(waits).toHaveBeenCalled(), { timeout: 10_000 });
  waits.mockRestore();
  const started = Date.now();
  await published("home", home.token, "1.3", { ...snapshot, services: [service("web")] });
  expect(await asked).toBe("200 node-b");
  expect(Date.now() - started).toBeLessThan(3_000);
});

test("a node that is in no table and goes is forgotten (S23)", async () => {
  await home.connect("node-a", named);
  const ghosts = await Promise.all(["ghost-1", "ghost-2"].map((name) => home.connect(name, named)));
  const names = async () => (await home.shard.nodes()).map(({ node }) => node).sort();
  expect(await names()).toEqual(["ghost-1", "ghost-2", "node-a", "node-b"]);
  for (const ghost of ghosts) ghost.leave();
  // Nothing tells that the object has noticed, so it is asked until it has.
  while ((await names()).length > 2) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await names()).toEqual(["node-a", "node-b"]);
});
