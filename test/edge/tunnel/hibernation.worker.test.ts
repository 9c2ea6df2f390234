// A TunnelObject that loses its memory: sockets that survive, streams that end as they must, and nothing that hangs.
// Evicted: as by hibernation, sockets stay. Aborted: as by a crash, sockets go.
import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { byListener, call, createCluster, forgetAll, published, service, snapshotOf } from "../worker/edge.ts";
import { type Backend, connectNode, type NodeOptions, type TestNode, TEST_BUNDLE } from "../worker/node.ts";

const HOST = "web-default-home.edge.test";
const shard = () => env.TUNNEL.get(env.TUNNEL.idFromName("home/0"));
let token: string;
let nodes: TestNode[];

beforeEach(async () => {
  nodes = [];
  token = await createCluster("home");
  await published("home", token, "1.1", snapshotOf(service("web")));
});
afterEach(async () => {
  for (const node of nodes) node.socket.close();
  await forgetAll();
});

const hello: Backend = (stream) => stream.answer(`hello from ${stream.id}`);

async function connect(backend: Backend, more: Partial<NodeOptions> = {}): Promise<TestNode> {
  const node = await connectNode({ cluster: "home", token, name: "node-a", ...more }, backend);
  nodes.push(node);
  return node;
}

const get = () => exports.default.fetch(`http://${HOST}/`, { headers: byListener(HOST) });

test("evicted when idle: the socket stays, the table is fetched again, requests go on, ids rise", async () => {
  const node = await connect(hello);
  expect(await (await get()).text()).toBe("hello from 1");
  for (let round = 0; round < 3; round++) {
    await evictDurableObject(shard());
    // Read to its end: an answer that nobody reads keeps the object awake, and the eviction waiting.
    expect(await (await get()).text()).toMatch(/^hello/);
  }
  expect(node.closed).toBeUndefined();
  expect((await shard().nodes())[0]?.connections).toMatchObject([{ version: "test", bundle: TEST_BUNDLE }]);
  const ids = node.streams.map((stream) => stream.id);
  expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
  expect(node.events.filter((event) => event.type === "resumed")).toHaveLength(3);
  expect(node.session.open).toBe(0);
});

test("evicted after thousands of streams: none of their ids comes again", async () => {
  const node = await connect(hello);
  for (let i = 0; i < 30; i++) await Promise.all(Array.from({ length: 50 }, async () => await (await get()).text()));
  await evictDurableObject(shard());
  await (await get()).text();
  const ids = node.streams.map((stream) => stream.id);
  expect(ids).toHaveLength(1501);
  expect(new Set(ids).size).toBe(1501);
});

test("evicted with its sockets closed: a new dial serves, a request in between waits for it", async () => {
  const first = await connect(hello);
  await (await get()).text();
  await evictDurableObject(shard(), { webSockets: "close" });
  const waiting = get();
  const second = await connect(hello, { instance: "node-a-2", started: 2 });
  expect(await (await waiting).text()).toMatch(/^hello/);
  expect(second.streams).toHaveLength(1);
  await first.until(() => first.closed !== undefined);
});

test("crashed in mid-answer: the client's body breaks, the node hears of it, a redial serves", async () => {
  const node = await connect((stream) => stream.begin("first"));
  const response = await get();
  const reader = response.body?.getReader();
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("first");
  await abortAllDurableObjects();
  await expect(reader?.read()).rejects.toThrow();
  await node.until(() => node.closed !== undefined);
  await connect(hello, { instance: "node-a-2", started: 2 });
  expect(await (await get()).text()).toBe("hello from 1");
});

test("crashed before the head: the client gets an error, not silence", async () => {
  const seen = Promise.withResolvers<void>();
  await connect(() => seen.resolve());
  const pending = Promise.resolve(get()).then(
    (response) => response.status,
    () => "error" as const,
  );
  await seen.promise;
  await abortAllDurableObjects();
  expect(["error", 502, 503]).toContain(await pending);
});

describe("a socket that must go", () => {
  test("rotated token: closed with 4001, told by GOAWAY that redialling is pointless; the new token dials", async () => {
    const node = await connect(hello);
    const { token: next } = await (await call("POST", "/api/v1/clusters/home/token", { token })).json<{
      token: string;
    }>();
    const { goAway } = await node.event("goaway");
    expect(goAway.permanent).toBe(true);
    await node.until(() => node.closed !== undefined);
    expect(node.closed?.code).toBe(4001);
    token = next;
    await connect(hello, { instance: "node-a-2" });
    expect((await get()).status).toBe(200);
  });

  test("rotated while the object sleeps: closed all the same", async () => {
    const node = await connect(hello);
    await evictDurableObject(shard());
    await call("POST", "/api/v1/clusters/home/token", { token });
    await node.until(() => node.closed !== undefined);
    expect(node.closed?.code).toBe(4001);
  });

  test("a protocol violation: that connection ends, requests go on over another", async () => {
    const bad = await connect(hello, { name: "node-b" });
    const good = await connect(hello);
    bad.socket.send(new Uint8Array([0, 0, 0, 9, 0x12, 0, 0, 1, 65]));
    await bad.until(() => bad.closed !== undefined);
    expect(bad.closed?.code).toBe(4000);
    expect((await bad.event("goaway")).goAway.reason).toContain("protocol violation");
    expect((await get()).status).toBe(200);
    expect(good.closed).toBeUndefined();
  });
});
