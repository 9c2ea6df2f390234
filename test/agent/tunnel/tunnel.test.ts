// The agent's tunnel against a real edge session, real sockets and real HTTP backends.
// IP plan: 127.0.0.1:<free port> for every backend; node n1.
import { createHash, randomBytes } from "node:crypto";
import { on, once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { Worker } from "node:worker_threads";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocketServer } from "ws";
import { Backends } from "../../../agent/endpoints/endpoints.ts";
import type { ForwardingPlan } from "../../../agent/plan/plan.ts";
import { createTunnel, type Tunnel, type TunnelOptions, type TunnelState } from "../../../agent/tunnel/index.ts";
import { freePort } from "../../../src/host/process/free-port.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { TestEdge } from "./edge.ts";

const log = pino({ level: "silent" });
const cleanups: (() => unknown)[] = [];
let edge: TestEdge;
let url: URL;
let backends: Backends;
let tunnel: Tunnel | undefined;

let answerProbe: TunnelOptions["answerProbe"];

beforeEach(async () => {
  answerProbe = () => undefined;
  edge = new TestEdge();
  url = await edge.start();
  backends = new Backends();
});

afterEach(async () => {
  tunnel?.close();
  tunnel = undefined;
  for (const cleanup of cleanups.splice(0)) await cleanup();
  await edge.stop();
});

/** Gives the states of this tunnel alone: one that an earlier test has closed may still say that its connection is gone. */
function dialEdge(token: () => string = () => "pst_home_secret"): readonly TunnelState[] {
  const states: TunnelState[] = [];
  tunnel = createTunnel({
    edge: url,
    cluster: "home",
    token,
    node: "n1",
    instance: "pod-1",
    software: "postern-agent test",
    bundle: "b".repeat(64),
    backends,
    answerProbe: (question) => answerProbe(question),
    log,
    onState: (state) => states.push(state),
  });
  tunnel.dial();
  return states;
}

type Listener = (...args: Parameters<RequestListener>) => unknown;

async function serveHttp(listener: Listener): Promise<{ port: number; server: Server }> {
  const server = createServer((request, response) => void listener(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}

/**
 * Answers "late", once it has come back. While it is gone, connections to it time out, as to a host without power: its thread
 * sleeps, and the queue of connections that the kernel makes for it is full.
 */
async function serveSilently() {
  // [0]: to sleep, [1]: to wake up.
  const signals = new Int32Array(new SharedArrayBuffer(8));
  const signal = (index: number) => {
    Atomics.store(signals, index, 1);
    Atomics.notify(signals, index);
  };
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    const back = Promise.withResolvers();
    const server = require("node:http").createServer(async (_, response) => {
      parentPort.postMessage("asked");
      await back.promise;
      response.end("late");
    });
    void Atomics.waitAsync(workerData, 0, 0).value.then(() => {
      Atomics.wait(workerData, 1, 0);
      back.resolve();
    });
    server.listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => parentPort.postMessage(server.address().port));`;
  const worker = new Worker(source, { eval: true, workerData: signals });
  cleanups.push(() => worker.terminate());
  const [port] = (await once(worker, "message")) as [number];
  const asked = on(worker, "message");
  return {
    port,
    /** It has another request. */
    asked: () => asked.next(),
    comeBack: () => signal(1),
    async vanish() {
      signal(0);
      // A queue of 1 holds 2; whatever the thread still accepted leaves room for others.
      const waiting = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}));
      cleanups.push(() => waiting.forEach((socket) => void socket.destroy()));
      await Promise.all(waiting.slice(0, 2).map((socket) => once(socket, "connect")));
    },
  };
}

function plan(ports: readonly number[], more: Partial<ForwardingPlan["services"][number]> = {}): ForwardingPlan {
  const external = ports.map((port, i) => ({
    key: `pod-${i}`,
    address: "127.0.0.1",
    port,
    weight: 1,
    terminating: false,
  }));
  return {
    node: "n1",
    services: [
      {
        key: "default/web",
        exposed: true,
        algorithm: "rr",
        sourceRanges: [],
        ports: [
          {
            protocol: "TCP",
            port: 80,
            external,
            ...(external.length === 0 ? { refusal: "no ready pod" } : {}),
          },
        ],
        ...more,
      },
    ],
  };
}

async function connected(listener: Listener): Promise<Awaited<ReturnType<TestEdge["connection"]>>> {
  const { port } = await serveHttp(listener);
  backends.update(plan([port]));
  dialEdge();
  return edge.connection();
}

const body = (stream: { body: Buffer[] }): string => Buffer.concat(stream.body).toString();

describe("HTTP", () => {
  test("a small answer is one message: head, body and end", async () => {
    const connection = await connected((request, response) => {
      response.setHeader("x-echo", `${request.method} ${request.url} ${request.headers.host}`);
      response.end("hello");
    });
    const answer = await connection.exchange({ target: "/a?b=c" });
    expect(answer.head?.status).toBe(200);
    expect(answer.head?.headers).toContain("GET /a?b=c web.test");
    expect(body(answer)).toBe("hello");
    const heads = connection.events.filter((event) => event.type === "head");
    expect(heads).toMatchObject([{ end: true }]);
  });

  test.each([
    { method: "HEAD", status: 200, headers: { "content-length": "5" } },
    { method: "GET", status: 204, headers: {} },
    { method: "GET", status: 304, headers: { etag: '"x"' } },
    { method: "GET", status: 200, headers: { "content-length": "0" } },
  ])("$method $status has no body and ends", async ({ method, status, headers }) => {
    const connection = await connected((_request, response) => {
      response.writeHead(status, headers).end();
    });
    const answer = await connection.exchange({ method });
    expect(answer.head?.status).toBe(status);
    expect(answer.body.length === 0 || body(answer) === "").toBe(true);
  });

  test("1xx are dropped, trailers too", async () => {
    const connection = await connected((_request, response) => {
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
      response.writeHead(200, { trailer: "x-sum" });
      response.write("a");
      response.addTrailers({ "x-sum": "1" });
      response.end("b");
    });
    const answer = await connection.exchange({});
    expect(answer.head?.status).toBe(200);
    expect(body(answer)).toBe("ab");
  });

  test("an upload of unknown length streams, byte for byte, under credit", async () => {
    const sent = randomBytes(3 * 1024 * 1024);
    const connection = await connected(async (request, response) => {
      const hash = createHash("sha256");
      for await (const chunk of request) hash.update(chunk as Buffer);
      response.end(hash.digest("hex"));
    });
    const id = connection.open({ method: "POST", headers: ["host", "web.test"] }, undefined, false);
    for (let at = 0; at < sent.length; ) {
      const chunk = sent.subarray(at, at + 50_000);
      const room = connection.session.write(id, chunk, false);
      at += chunk.length;
      connection.flush();
      if (!room) await connection.until(() => connection.session.takeDrained().includes(id));
    }
    connection.session.write(id, new Uint8Array(0), true);
    connection.flush();
    const stream = connection.stream(id);
    await connection.until(() => stream.ended);
    expect(body(stream)).toBe(createHash("sha256").update(sent).digest("hex"));
  });

  test("a reader that stops holds the backend, not the agent's memory", async () => {
    let written = 0;
    const connection = await connected((_request, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const pump = (): void => {
        while (written < 64 * 1024 * 1024) {
          written += chunk.length;
          if (!response.write(chunk)) {
            response.once("drain", pump);
            return;
          }
        }
        response.end();
      };
      pump();
    });
    connection.reading = false;
    const id = connection.open({});
    const stream = connection.stream(id);
    await connection.until(() => Buffer.concat(stream.body).length >= 64 * 1024);
    // A second, small exchange proves that the connection is alive while the first stands still.
    const before = Buffer.concat(stream.body).length;
    expect(before).toBe(64 * 1024);
    expect(written).toBeLessThan(32 * 1024 * 1024);
    connection.reading = true;
    connection.session.consumed(id, before);
    connection.flush();
    await connection.until(() => stream.ended);
    expect(Buffer.concat(stream.body).length).toBe(64 * 1024 * 1024);
  });

  test("a client's abort cancels the backend request", async () => {
    const closed = Promise.withResolvers<void>();
    const connection = await connected((_request, response) => {
      response.on("close", () => closed.resolve());
      response.write("first");
    });
    const id = connection.open({});
    await connection.until(() => body(connection.stream(id)) === "first");
    connection.session.reset(id, Reset.CANCELLED, "gone");
    connection.flush();
    await closed.promise;
  });

  test("a backend that breaks in mid-answer resets the stream", async () => {
    const connection = await connected((_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("part", () => response.socket?.destroy());
    });
    const answer = await connection.exchange({});
    expect(answer.ended).toBe(false);
    expect(answer.reset?.code).toBe(Reset.BROKE);
  });

  test("an answer before the request is complete: the rest is thrown away and the connection goes on", async () => {
    const connection = await connected((_request, response) => {
      response.writeHead(413, { connection: "close" }).end("too big");
    });
    const id = connection.open({ method: "POST" }, undefined, false);
    connection.session.write(id, new Uint8Array(60_000), false);
    connection.flush();
    const stream = connection.stream(id);
    await connection.until(() => stream.ended);
    expect(stream.head?.status).toBe(413);
    connection.session.reset(id, Reset.DONE, "done");
    const next = await connection.exchange({});
    expect(next.head?.status).toBe(413);
  });
});

describe("endpoints", () => {
  test("one that refuses connections never saw the request: the next gets it, a POST too", async () => {
    const { port } = await serveHttp((_request, response) => response.end("alive"));
    backends.update(plan([await freePort(), await freePort(), port]));
    dialEdge();
    const connection = await edge.connection();
    for (let i = 0; i < 6; i++) {
      const answer = await connection.exchange({ method: "POST" }, new TextEncoder().encode("data"));
      expect(body(answer)).toBe("alive");
    }
  });

  test("one that breaks before it answers: a GET goes on, a POST does not", async () => {
    let hits = 0;
    const broken = await serveHttp((request) => {
      hits++;
      request.socket.destroy();
    });
    const { port } = await serveHttp((_request, response) => response.end("alive"));
    backends.update(plan([broken.port, port]));
    dialEdge();
    const connection = await edge.connection();
    const gets = [await connection.exchange({}), await connection.exchange({})];
    expect(gets.map(body)).toEqual(["alive", "alive"]);
    expect(hits).toBeGreaterThan(0);
    hits = 0;
    backends.update(plan([broken.port]));
    const post = await connection.exchange({ method: "POST" });
    expect(post.reset?.code).toBe(Reset.BROKE);
    expect(hits).toBe(1);
  });

  test("one whose host is gone: a GET goes on; a POST waits, and so does what has no other endpoint", async () => {
    const silent = await serveSilently();
    const { port } = await serveHttp((_request, response) => response.end("alive"));
    backends.update(plan([silent.port]));
    dialEdge();
    const connection = await edge.connection();
    const alone = connection.exchange({});
    await silent.asked();
    backends.update(plan([silent.port, port]));
    const posts = [connection.exchange({ method: "POST" }), connection.exchange({ method: "POST" })];
    const gets = [connection.exchange({}), connection.exchange({})];
    await silent.asked();
    await silent.asked();
    await silent.vanish();
    expect((await Promise.all(gets)).map(body)).toEqual(["alive", "alive"]);
    silent.comeBack();
    expect(body(await alone)).toBe("late");
    expect((await Promise.all(posts)).map(body).sort()).toEqual(["alive", "late"]);
  });

  test("none at all: no-endpoint, with the plan's own words", async () => {
    backends.update(plan([]));
    dialEdge();
    const connection = await edge.connection();
    const answer = await connection.exchange({});
    expect(answer.reset).toMatchObject({ code: Reset.NO_ENDPOINT, reason: "no ready pod" });
  });

  test("all dead: not-sent", async () => {
    backends.update(plan([await freePort()]));
    dialEdge();
    const connection = await edge.connection();
    expect((await connection.exchange({})).reset?.code).toBe(Reset.NOT_SENT);
  });

  test.each([
    { why: "another Service", head: { service: "default/other" } },
    { why: "another port", head: { port: 22 } },
  ])("$why is refused: the agent dials only what its plan lists", async ({ head }) => {
    const connection = await connected((_request, response) => response.end("no"));
    expect((await connection.exchange(head)).reset?.code).toBe(Reset.REFUSED);
  });

  test("a Service that is not exposed is refused, and so is a source outside its ranges", async () => {
    const { port } = await serveHttp((_request, response) => response.end("in"));
    backends.update(plan([port], { sourceRanges: ["198.51.100.0/24"] }));
    dialEdge();
    const connection = await edge.connection();
    expect((await connection.exchange({ client: "203.0.113.7" })).reset?.code).toBe(Reset.REFUSED);
    expect(body(await connection.exchange({ client: "198.51.100.9" }))).toBe("in");
    backends.update(plan([port], { exposed: false }));
    expect((await connection.exchange({})).reset?.code).toBe(Reset.REFUSED);
  });
});

describe("a traced request", () => {
  const by = (port: number) => ({
    endpoint: `127.0.0.1:${port}`,
    sentAfterMs: expect.any(Number),
    answeredAfterMs: expect.any(Number),
  });

  test("is told which endpoint answered, and when it had been sent there; one that is not is not", async () => {
    const { port } = await serveHttp(async (_request, response) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      response.end("alive");
    });
    backends.update(plan([await freePort(), port]));
    dialEdge();
    const connection = await edge.connection();
    for (let i = 0; i < 2; i++) {
      const { head } = await connection.exchange({ traced: true });
      expect(head?.by).toEqual(by(port));
      // A timer may end a millisecond early.
      expect(head?.by?.answeredAfterMs).toBeGreaterThanOrEqual(29);
    }
    expect((await connection.exchange({})).head).not.toHaveProperty("by");
  });

  test.each([101, 403])("a WebSocket's answer of %i is, as well", async (status) => {
    const { port, server } = await serveHttp((_request, response) => response.end());
    const sockets = new WebSocketServer({ noServer: true });
    server.on("upgrade", (request, socket, head) => {
      if (status === 101) return sockets.handleUpgrade(request, socket, head, () => {});
      return socket.end("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n");
    });
    backends.update(plan([port]));
    dialEdge();
    const connection = await edge.connection();
    const stream = connection.stream(connection.open({ websocket: true, traced: true }));
    await connection.until(() => stream.head !== undefined);
    expect(stream.head).toMatchObject({ status, by: by(port) });
  });
});

describe("WebSocket", () => {
  async function withSocketServer(options: { subprotocol?: string; refuse?: number }): Promise<WebSocketServer> {
    const { port, server } = await serveHttp((_request, response) => response.end());
    const sockets = new WebSocketServer({
      noServer: true,
      handleProtocols: () => options.subprotocol ?? false,
    });
    server.on("upgrade", (request, socket, head) => {
      if (options.refuse !== undefined) {
        socket.end(`HTTP/1.1 ${options.refuse} No\r\ncontent-length: 6\r\nx-why: because\r\n\r\nsorry!`);
        return;
      }
      sockets.handleUpgrade(request, socket, head, (accepted) => sockets.emit("connection", accepted, request));
    });
    backends.update(plan([port]));
    dialEdge();
    return sockets;
  }

  test("text, binary, large and empty messages both ways; subprotocol; close codes", async () => {
    const sockets = await withSocketServer({ subprotocol: "chat" });
    sockets.on("connection", (socket) => {
      socket.on("message", (data: Buffer, isBinary: boolean) => socket.send(data, { binary: isBinary }));
    });
    const connection = await edge.connection();
    const id = connection.open({
      websocket: true,
      headers: ["host", "web.test", "sec-websocket-protocol", "chat, other"],
    });
    const stream = connection.stream(id);
    await connection.until(() => stream.head !== undefined);
    expect(stream.head?.status).toBe(101);
    expect(stream.head?.headers.map((item) => item.toLowerCase())).toContain("chat");
    const large = randomBytes(1024 * 1024);
    for (const message of ["grüße 👋", "", new Uint8Array([0, 255]), new Uint8Array(large)])
      connection.session.sendMessage(id, message);
    connection.flush();
    await connection.until(() => stream.messages.length === 4);
    expect(stream.messages.slice(0, 2)).toEqual(["grüße 👋", ""]);
    expect(Buffer.from(stream.messages[2] as Uint8Array)).toEqual(Buffer.from([0, 255]));
    expect(Buffer.from(stream.messages[3] as Uint8Array).equals(large)).toBe(true);
    connection.session.sendClose(id, 4321, "bye");
    connection.flush();
    await connection.until(() => stream.closed !== undefined);
    expect(stream.closed).toMatchObject({ code: 4321, reason: "bye" });
    await connection.until(() => connection.session.open === 0);
  });

  test.each([
    ["none of those that were offered", ["chat, other"], undefined],
    ["another one", ["chat"], "superchat"],
    ["one, and none was offered", [], "chat"],
    ["one of two that are the same", ["chat,chat"], "chat"],
  ])("a server that chooses %s: the client judges, and messages pass", async (_name, offered, chosen) => {
    const seen: (string | undefined)[] = [];
    const { port, server } = await serveHttp((_request, response) => response.end());
    const sockets = new WebSocketServer({ noServer: true });
    server.on("upgrade", (request, socket, head) => {
      seen.push(request.headers["sec-websocket-protocol"]);
      delete request.headers["sec-websocket-protocol"];
      sockets.handleUpgrade(request, socket, head, (accepted) =>
        accepted.on("message", (data, binary) => accepted.send(data, { binary })),
      );
    });
    sockets.on("headers", (headers) => {
      if (chosen !== undefined) headers.push(`Sec-WebSocket-Protocol: ${chosen}`);
    });
    backends.update(plan([port]));
    dialEdge();
    const connection = await edge.connection();
    const headers = ["host", "web.test", ...offered.flatMap((each) => ["Sec-WebSocket-Protocol", each])];
    const id = connection.open({ websocket: true, headers });
    const stream = connection.stream(id);
    await connection.until(() => stream.head !== undefined);
    expect(stream.head?.status).toBe(101);
    expect(stream.head?.headers.includes("Sec-WebSocket-Protocol")).toBe(chosen !== undefined);
    expect(seen).toEqual([offered[0]]);
    connection.session.sendMessage(id, "hello");
    connection.flush();
    await connection.until(() => stream.messages.length > 0 || stream.reset !== undefined);
    expect(stream.messages).toEqual(["hello"]);
  });

  test("a handshake's bytes pass as they came, both ways", async () => {
    const bytes = "caf\xe9 \xe5\xa4\xa9";
    const heads: string[][] = [];
    const targets: (string | undefined)[] = [];
    const { port, server } = await serveHttp((_request, response) => response.end());
    const sockets = new WebSocketServer({ noServer: true });
    server.on("upgrade", (request, socket, head) => {
      heads.push(request.rawHeaders);
      targets.push(request.url);
      sockets.handleUpgrade(request, socket, head, () => {});
    });
    sockets.on("headers", (headers) => headers.push("X-Back: ö 天"));
    backends.update(plan([port]));
    dialEdge();
    const connection = await edge.connection();
    const target = '/a/../b?x=%2e{"q"}#f';
    const id = connection.open({
      websocket: true,
      target,
      headers: ["Host", "web.test", "X-One", bytes, "X-One", "2"],
    });
    const stream = connection.stream(id);
    await connection.until(() => stream.head !== undefined || stream.reset !== undefined);
    expect(targets).toEqual([target]);
    expect(heads[0]?.slice(0, 6)).toEqual(["Host", "web.test", "X-One", bytes, "X-One", "2"]);
    expect(stream.head?.headers).toEqual(["X-Back", "\xc3\xb6 \xe5\xa4\xa9"]);
  });

  test("a host that is gone is left after two seconds, for the next", async () => {
    const silent = await serveSilently();
    const { port, server } = await serveHttp((_request, response) => response.end());
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", () => {});
    await silent.vanish();
    backends.update(plan([silent.port, port]));
    dialEdge();
    const connection = await edge.connection();
    const streams = [1, 2].map(() => connection.stream(connection.open({ websocket: true })));
    await connection.until(() => streams.every((stream) => stream.head !== undefined || stream.reset !== undefined));
    expect(streams.map((stream) => stream.head?.status)).toEqual([101, 101]);
    silent.comeBack();
  });

  test("a refusal is relayed, body and all", async () => {
    await withSocketServer({ refuse: 403 });
    const connection = await edge.connection();
    const id = connection.open({ websocket: true });
    const stream = connection.stream(id);
    await connection.until(() => stream.ended);
    expect(stream.head?.status).toBe(403);
    expect(stream.head?.headers).toContain("because");
    expect(body(stream)).toBe("sorry!");
  });

  test("a backend socket that breaks resets; a client that goes away closes the backend's", async () => {
    const sockets = await withSocketServer({});
    const connection = await edge.connection();
    sockets.once("connection", (socket) => socket.terminate());
    const broken = connection.stream(connection.open({ websocket: true }));
    await connection.until(() => broken.reset !== undefined);
    expect(broken.reset?.code).toBe(Reset.BROKE);
    const gone = Promise.withResolvers<number>();
    sockets.once("connection", (socket) => socket.on("close", (code: number) => gone.resolve(code)));
    const id = connection.open({ websocket: true });
    await connection.until(() => connection.stream(id).head !== undefined);
    connection.session.reset(id, Reset.CANCELLED, "gone");
    connection.flush();
    expect(await gone.promise).toBe(1006);
  });
});

describe("the connection itself", () => {
  test("dials with the token, says who it is, and dials every shard", async () => {
    edge.shards = 3;
    backends.update(plan([]));
    dialEdge();
    const { hello } = await edge.connection(2);
    expect(hello).toMatchObject({ node: "n1", instance: "pod-1", bundle: "b".repeat(64) });
    expect(edge.dials.map((dial) => dial.url).sort()).toEqual(
      [0, 1, 2].map((n) => `/api/v1/clusters/home/tunnel/${n}`),
    );
    expect(edge.dials[0]?.headers.authorization).toBe("Bearer pst_home_secret");
  });

  test("redials when the socket breaks, and serves on", async () => {
    const first = await connected((_request, response) => response.end("again"));
    first.socket.terminate();
    const second = await edge.connection(1);
    expect(body(await second.exchange({}))).toBe("again");
  });

  test("a refused token is not used again; a new one is", { timeout: 15_000 }, async () => {
    edge.refuseWith = 401;
    let token = "old";
    const states = dialEdge(() => token);
    await edge.until(() => edge.dials.length === 1);
    edge.refuseWith = undefined;
    token = "new";
    await edge.connection();
    expect(edge.dials.map((dial) => dial.headers.authorization)).toEqual(["Bearer old", "Bearer new"]);
    await vi.waitFor(() => expect(states.at(-1)).toEqual({ connected: true }));
  });

  test("says once that there is no token, and dials when there is one", { timeout: 15_000 }, async () => {
    let token: string | undefined;
    const [said, asked] = [vi.spyOn(log, "error"), Promise.withResolvers<void>()];
    let times = 0;
    dialEdge(() => {
      if (token !== undefined) return token;
      if (++times === 2) asked.resolve();
      throw new Error("--token-file t cannot be read: ENOENT");
    });
    await asked.promise;
    token = "new";
    await edge.connection();
    expect(edge.dials.map((dial) => dial.headers.authorization)).toEqual(["Bearer new"]);
    expect(said.mock.calls).toEqual([
      [{ shard: 0 }, expect.stringMatching(/^--token-file t cannot be read: ENOENT: put the cluster's token there/)],
    ]);
  });

  test("drain: says GoAway, finishes what is open, then resolves", async () => {
    const release = Promise.withResolvers<void>();
    const connection = await connected(async (_request, response) => {
      await release.promise;
      response.end("finished");
    });
    const id = connection.open({});
    const stream = connection.stream(id);
    // Until the backend has it, there is nothing to finish.
    await connection.exchange({ service: "default/none" });
    let drained = false;
    const draining = (async () => {
      await tunnel?.drain();
      drained = true;
    })();
    await connection.until(() => connection.session.goneAway);
    expect(drained).toBe(false);
    release.resolve();
    await draining;
    await connection.until(() => stream.ended);
    expect(body(stream)).toBe("finished");
  });

  test("reports reach the edge, on a new connection too", async () => {
    const connection = await connected((_request, response) => response.end());
    tunnel?.report([{ endpoint: "default/web 10.0.0.1:80", reason: "refused" }]);
    await connection.until(() => connection.events.some((event) => event.type === "report"));
    connection.socket.terminate();
    const next = await edge.connection(1);
    await next.until(() => next.events.some((event) => event.type === "report"));
  });
});

describe("probes", () => {
  test("are answered on a stream of their own, and leave nothing behind", async () => {
    dialEdge();
    const asked: unknown[] = [];
    answerProbe = async (question) => {
      asked.push(question);
      return Buffer.from('{"node":"n1"}');
    };
    const connection = await edge.connection();
    expect(connection.hello.capabilities).toEqual(["probe"]);
    const stream = await connection.probe({ service: "default/web" });
    expect([stream.head?.status, body(stream)]).toEqual([200, '{"node":"n1"}']);
    expect((await connection.probe({})).reset).toBeUndefined();
    expect(asked).toEqual([{ service: "default/web" }, {}]);
    expect(connection.session.open).toBe(0);
  });

  test("a refusal and a fault end the stream alone", async () => {
    dialEdge();
    const connection = await edge.connection();
    expect((await connection.probe({})).reset).toMatchObject({ code: Reset.OVERLOADED });
    answerProbe = () => Promise.reject(new Error("a fault"));
    expect((await connection.probe({})).reset).toMatchObject({ code: Reset.BROKE });
    answerProbe = async () => Buffer.from("{}");
    expect(body(await connection.probe({}))).toBe("{}");
  });

  test("an edge that waits no longer gets nothing more", async () => {
    dialEdge();
    const late = Promise.withResolvers<Uint8Array>();
    answerProbe = () => late.promise;
    const connection = await edge.connection();
    const id = connection.session.openProbe({});
    connection.session.reset(id, Reset.CANCELLED, "the probe's time is over");
    const other = connection.session.openProbe({});
    connection.flush();
    await connection.exchange({ service: "default/none" });
    connection.session.reset(other, Reset.CANCELLED, "the probe's time is over");
    connection.flush();
    await connection.exchange({ service: "default/none" });
    late.resolve(Buffer.from("{}"));
    await late.promise;
    await connection.exchange({ service: "default/none" });
    expect(connection.events.filter(({ type }) => type === "head" || type === "fatal")).toEqual([]);
    expect(connection.session.open).toBe(0);
  });
});
