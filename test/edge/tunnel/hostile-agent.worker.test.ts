// A node that sends what it must not, or too much: its stream or its connection ends, with the reason; other nodes, and other
// clusters, go on being served; and nothing is held for what it did.
import { evictDurableObject } from "cloudflare:test";
import { exports } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { encodeClose, encodeResponseHead, Reset } from "../../../src/shared/wire/messages.ts";
import { encodeFrames, END, raw } from "../../shared/wire/oracle.ts";
import { byAdminPort, forgetAll } from "../worker/edge.ts";
import type { Backend, Stream, TestNode } from "../worker/node.ts";
import { Cluster, type Init, named } from "../worker/cluster.ts";

let home: Cluster;
let other: Cluster;

beforeEach(async () => {
  home = await Cluster.create("home", ["node-a", "node-b"]);
  other = await Cluster.create("other", ["node-a"]);
  await known(other);
  const first = await known(home);
  first.leave();
  while ((await home.shard.nodes()).some(({ connections }) => connections.length > 0)) await soon();
});
afterEach(async () => {
  home.leave();
  other.leave();
  await forgetAll();
});

/** Between two looks at what nothing tells: the isolate's table, the object's connections. */
const soon = () => new Promise((resolve) => setTimeout(resolve, 50));

/** Until the Worker knows it, and a node serves it. */
async function known(cluster: Cluster): Promise<TestNode> {
  const node = await cluster.connect("node-a", named);
  while ((await cluster.ask()) !== "200 node-a") await soon();
  return node;
}

/** Others are served, promptly; nothing is left of it. */
async function unharmed(): Promise<void> {
  const started = Date.now();
  expect(await other.ask()).toBe("200 node-a");
  expect(Date.now() - started).toBeLessThan(3_000);
  await home.idle();
  await evictDurableObject(home.shard);
}

const head =
  (status: unknown, headers: unknown = [], flags = 0) =>
  (stream: Stream) =>
    raw(stream.id, Type.HEAD | flags, [status, headers]);
const ok = (id: number, flags = 0): Uint8Array =>
  raw(id, Type.HEAD | flags, encodeResponseHead({ status: 200, headers: [] }));
const frames = (count: number, stream: number, flags: number, size = 0): Uint8Array =>
  encodeFrames(Array.from({ length: count }, () => ({ stream, flags, payload: new Uint8Array(size).fill(1) })));
const goAway = (permanent: boolean): Uint8Array => raw(0, Type.GOAWAY, { reason: "", permanent });
const report = raw(0, Type.REPORT, {
  endpoints: Array.from({ length: 1000 }, () => ({ endpoint: "e".repeat(200), reason: "" })),
});

type Script = (stream: Stream) => Uint8Array | readonly Uint8Array[];
const plays =
  (script: Script): Backend =>
  (stream) => {
    const said = script(stream);
    for (const message of said instanceof Uint8Array ? [said] : said)
      if (stream.node.closed === undefined) stream.node.socket.send(message);
  };

describe("its connection ends", () => {
  const crimes: readonly (readonly [string, RegExp, Script])[] = [
    ["bytes that are no frame", /truncated/, () => new Uint8Array(3)],
    ["an empty message", /empty message/, () => new Uint8Array(0)],
    ["a message over 1 MiB", /exceeds/, () => new Uint8Array(limits.MESSAGE_MAX + 1)],
    ["a second HELLO", /second HELLO/, () => raw(0, Type.HELLO, { versions: [1], capabilities: [], software: "" })],
    ["RESUME unasked", /answers nothing/, () => raw(0, Type.RESUME, 1)],
    ["DATA before HEAD", /before the HEAD/, ({ id }) => raw(id, Type.DATA, "x")],
    ["a head that is no JSON", /not JSON/, ({ id }) => raw(id, Type.HEAD, "{")],
    ["a head whose status is a text", /wrong type/, head("200")],
    ["a head whose headers are odd", /wrong type/, head(200, ["a"])],
    ["a second head", /second HEAD/, ({ id }) => [ok(id), ok(id)]],
    ["a stream that was never opened", /never opened/, ({ id }) => raw(id + 1, Type.DATA, "x")],
    ["an OPEN of its own", /OPEN from a node/, ({ id }) => raw(id + 1, Type.OPEN, [])],
    ["a WebSocket message on an HTTP stream", /WebSocket frame/, ({ id }) => [ok(id), raw(id, Type.TEXT, "x")]],
    [
      "more than its credit",
      /credit of stream/,
      ({ id }) => [ok(id), ...Array.from({ length: 20 }, () => raw(id, Type.DATA, new Uint8Array(64 * 1024)))],
    ],
    [
      "CREDIT without end",
      /too much/,
      ({ id }) => [raw(id, Type.CREDIT, 0x7fff_0000), raw(id, Type.CREDIT, 0x7fff_0000)],
    ],
    ["one permanent GOAWAY after the other", /GOAWAY/, () => [goAway(true), goAway(true)]],
    ["GOAWAY without end", /GOAWAY/, () => Array.from({ length: 9 }, () => goAway(false))],
    ["a flood of PINGs in one message", /small frames/, () => frames(131_000, 0, Type.PING)],
    ["a flood of PONGs in one message", /small frames/, () => frames(131_000, 0, Type.PONG)],
    ["a flood of REPORTs", /small frames/, () => Array(40).fill(report) as Uint8Array[]],
  ];
  test.each(crimes)("%s", async (_name, reason, script) => {
    const bad = await home.connect("node-a", plays(script));
    const first = home.fetch();
    await bad.until(() => bad.closed !== undefined);
    expect(bad.closed?.code).toBe(limits.CLOSE_VIOLATION);
    expect(bad.closed?.reason).toMatch(reason);
    // Whatever its own request came to; other nodes have the next.
    await home.connect("node-b", named);
    await (await first).text().catch(() => undefined);
    expect(await home.ask()).toBe("200 node-b");
    await unharmed();
  });

  test("a text message", async () => {
    const bad = await home.connect("node-a", named);
    bad.socket.send("hello");
    await bad.until(() => bad.closed !== undefined);
    expect(bad.closed).toEqual({ code: limits.CLOSE_VIOLATION, reason: "unexpected text message" });
    await unharmed();
  });

  test("a close code that nobody may send", async () => {
    const bad = await home.connect("node-a", (stream) => {
      stream.upgrade();
      const close = encodeClose(1006, "");
      stream.node.socket.send(raw(stream.id, Type.CLOSE, close));
    });
    const response = await home.fetch({ headers: { upgrade: "websocket" } });
    expect(response.status).toBe(101);
    const closed = new Promise<number>((resolve) =>
      response.webSocket?.addEventListener("close", ({ code }) => resolve(code)),
    );
    response.webSocket?.accept();
    expect(await closed).toBe(1011);
    await bad.until(() => bad.closed !== undefined);
    await unharmed();
  });

  test("nothing said: after ten seconds; and so many such sockets are taken at once, no more", async () => {
    const dial = () =>
      exports.default.fetch("http://admin.test/api/v1/clusters/home/tunnel/0", {
        headers: { ...byAdminPort, upgrade: "websocket", authorization: `Bearer ${home.token}` },
      });
    const closed: Promise<CloseEvent>[] = [];
    for (let i = 0; i < limits.STRANGERS_PER_TOKEN; i++) {
      const { webSocket } = await dial();
      if (webSocket === null) throw new Error(`dial ${i} was refused`);
      closed.push(new Promise((resolve) => webSocket.addEventListener("close", resolve)));
      webSocket.accept();
    }
    const refused = await dial();
    expect([refused.status, await refused.text()]).toEqual([503, expect.stringContaining("have not said HELLO")]);
    for (const each of closed) expect(await each).toMatchObject({ code: limits.CLOSE_VIOLATION, reason: "no HELLO" });
    await home.connect("node-a", named);
    expect(await home.ask()).toBe("200 node-a");
    await unharmed();
  });
});

describe("its stream ends", () => {
  const answers: readonly (readonly [string, string, Script, Init?])[] = [
    ...[0, 42, 99, 100, 103, 600, 999, 1000].map(
      (status) => [`status ${status}`, "502 endpoint-broke", head(status, [], END)] as const,
    ),
    ["101 that nobody asked for", "502 endpoint-broke", head(101)],
    ["a value with a line break", "502 bad-gateway-answer", head(200, ["a", "b\r\nc: d"])],
    ["a value with NUL", "502 bad-gateway-answer", head(200, ["a", "b\0"], END)],
    ["a name that is none", "502 bad-gateway-answer", head(200, ["a b", "c"])],
    ["a name that is empty", "502 bad-gateway-answer", head(200, ["", "c"])],
    ["a value that is no bytes", "502 bad-gateway-answer", head(200, ["a", "\u2603"])],
    ["an unknown RESET", "502 endpoint-broke", ({ id }) => raw(id, Type.RESET, Uint8Array.of(200))],
    ["RESET: done", "502 endpoint-broke", ({ id }) => raw(id, Type.RESET, Uint8Array.of(Reset.DONE))],
    ["205 with a body", "205 ", ({ id }) => [head(205)({ id } as Stream), raw(id, Type.DATA, "body")]],
    ["204 with a body", "204 ", ({ id }) => [head(204)({ id } as Stream), raw(id, Type.DATA, "body")]],
    [
      "304 with a body in the same message",
      "304 ",
      ({ id }) =>
        encodeFrames([
          { stream: id, flags: Type.HEAD, payload: encodeResponseHead({ status: 304, headers: [] }) },
          { stream: id, flags: Type.DATA, payload: new Uint8Array(1000) },
        ]),
    ],
    ["a body for HEAD", "200 ", ({ id }) => [ok(id), raw(id, Type.DATA, "body")], { method: "HEAD" }],
    ["no end for HEAD", "200 ", ({ id }) => ok(id), { method: "HEAD" }],
    [
      "fewer bytes than Content-Length",
      "502 bad-gateway-answer",
      ({ id }) =>
        encodeFrames([
          {
            stream: id,
            flags: Type.HEAD,
            payload: encodeResponseHead({ status: 200, headers: ["content-length", "9"] }),
          },
          { stream: id, flags: Type.DATA | END, payload: new Uint8Array(5) },
        ]),
    ],
    ["no bytes where Content-Length has some", "502 bad-gateway-answer", head(200, ["content-length", "9"], END)],
  ];
  const rows = answers.map(([name, expected, script, init = {}]) => [name, expected, script, init] as const);
  test.each(rows)("%s: %s", async (_name, expected, script, init) => {
    const bad = await home.connect("node-a", plays(script));
    expect(await home.ask(init)).toBe(expected);
    await unharmed();
    // By the same connection.
    expect(bad.closed).toBeUndefined();
    expect(bad.streams).toHaveLength(1);
    const again = await home.connect("node-b", named);
    expect(again.closed).toBeUndefined();
  });

  test.each([0, 99, 205, 403, 999])("a WebSocket's handshake refused with status %d and a body", async (status) => {
    const bad = await home.connect("node-a", (stream) =>
      stream.begin("no", { status, headers: ["content-length", "2"], end: true }),
    );
    const response = await home.fetch({ headers: { upgrade: "websocket" } });
    expect(response.status).toBe(status === 403 || status === 205 ? status : 502);
    expect(await response.text()).toContain(status === 403 ? "no" : "");
    await unharmed();
    expect(bad.closed).toBeUndefined();
  });

  test("a WebSocket's 101 with a header that cannot be passed on", async () => {
    const bad = await home.connect("node-a", (stream) => stream.upgrade(["a", "b\nc"]));
    const response = await home.fetch({ headers: { upgrade: "websocket" } });
    expect([response.status, response.headers.get("x-postern-reason")]).toEqual([502, "bad-gateway-answer"]);
    await response.text();
    await unharmed();
    expect(bad.closed).toBeUndefined();
    expect((await bad.event("reset")).code).toBe(Reset.CANCELLED);
  });
});

test("floods from one cluster while another is asked: its requests are served as if there were none", async () => {
  const flood = frames(131_000, 0, Type.PING);
  const bad: TestNode[] = [];
  for (let i = 0; i < 4; i++) bad.push(await home.connect("node-a", named, { instance: `flood-${i}` }));
  for (const node of bad) for (let i = 0; i < 10; i++) node.socket.send(flood);
  const started = Date.now();
  for (let i = 0; i < 20; i++) expect(await other.ask()).toBe("200 node-a");
  expect(Date.now() - started).toBeLessThan(10_000);
  for (const node of bad) await node.until(() => node.closed !== undefined);
});
