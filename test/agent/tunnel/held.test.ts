// What requests hold, and for how long: answers before the upload is read, kept connections that close, requests that wait
// for their body, limits on waiting; and that after any abuse nothing is held.
// IP plan: 127.0.0.1:<free port> for everything.
import { randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import { type AddressInfo, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { type EdgeConnection, type Received, TestEdge } from "./edge.ts";
import { endpointsOf, Node, type RawBackend, rawBackend, web } from "./rig.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
let edge: TestEdge;
let url: URL;
let node: Node;
let connection: EdgeConnection;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  edge = new TestEdge();
  url = await edge.start();
});

afterEach(async () => {
  vi.useRealTimers();
  node.stop();
  for (const cleanup of cleanups.splice(0)) await cleanup();
  await edge.stop();
  expect(node.faults).toEqual([]);
});

async function join(ports: readonly number[], ...patience: [ConstructorParameters<typeof Node>[2]?]): Promise<void> {
  node = new Node(url, ports, ...patience);
  connection = await edge.connection();
}

async function raw(answer: (socket: Socket, head: string) => void): Promise<RawBackend> {
  const backend = await rawBackend(answer);
  cleanups.push(() => backend.stop());
  return backend;
}

/** All sockets that this process dials from now on, until the test is over. */
function clientSockets(): readonly Socket[] {
  const sockets: Socket[] = [];
  const onSocket = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket);
  subscribe("net.client.socket", onSocket);
  cleanups.push(() => unsubscribe("net.client.socket", onSocket));
  return sockets;
}

const nothing = { streams: 0, servers: 0, bytes: 0 };
const text = (stream: Received): string => Buffer.concat(stream.body).toString("latin1");
const complete = (stream: Received) => connection.until(() => stream.ended || stream.reset !== undefined);

/** Sends `size` bytes as credit allows, until all are sent or the stream is over. */
async function upload(id: number, size: number): Promise<void> {
  const chunk = new Uint8Array(64 * 1024);
  const stream = connection.stream(id);
  const over = (): boolean => stream.ended || stream.reset !== undefined;
  for (let sent = 0; sent < size && !over(); sent += chunk.length) {
    const last = sent + chunk.length >= size;
    const room = connection.session.write(id, last ? chunk.subarray(0, size - sent) : chunk, last);
    connection.flush();
    if (!room) await connection.until(() => over() || connection.session.takeDrained().includes(id));
  }
}

describe("an answer before the upload is read arrives whole", () => {
  const answer = (length: number): string =>
    `HTTP/1.1 401 Log In\r\nContent-Length: ${length}\r\n\r\n${"a".repeat(length)}`;
  type Backend = (socket: Socket, reply: string) => void;
  const backends: Record<string, Backend> = {
    // Reads on, and keeps the connection.
    polite: (socket, reply) => void socket.write(reply),
    "says close, reads on": (socket, reply) => void socket.write(reply.replace("\r\n", "\r\nConnection: close\r\n")),
    "ends its side, reads on": (socket, reply) => void socket.end(reply),
    "stops reading, ends": (socket, reply) => {
      socket.pause();
      socket.end(reply);
    },
    "closes at once": (socket, reply) => {
      socket.pause();
      socket.end(reply, () => socket.destroy());
    },
    "closes after a while": (socket, reply) => {
      socket.pause();
      socket.write(reply, () => setTimeout(() => socket.destroy(), 20));
    },
  };
  const MIB = 1024 * 1024;

  test.each(Object.keys(backends))("%s", { timeout: 120_000 }, async (name) => {
    const play = backends[name] as Backend;
    let length = 15;
    const backend = await raw((socket) => {
      // What follows the head is the upload.
      socket.removeAllListeners("data");
      socket.on("data", () => {});
      play(socket, answer(length));
    });
    await join([backend.port]);
    for (let round = 0; round < 24; round++) {
      const size = ([4, 8, 30][round % 3] as number) * MIB;
      length = round % 2 === 0 ? 15 : 60_000;
      const id = connection.open(
        { method: "POST", headers: ["host", "web.test", ...(round % 4 < 2 ? ["content-length", String(size)] : [])] },
        undefined,
        false,
      );
      await upload(id, size);
      const stream = connection.stream(id);
      await complete(stream);
      expect([round, stream.head?.status, text(stream).length, stream.reset?.reason]).toEqual([
        round,
        401,
        length,
        undefined,
      ]);
      connection.session.reset(id, Reset.DONE, "done");
      connection.flush();
    }
    expect(backend.heads.length).toBe(24);
    await expect.poll(() => node.held).toEqual({ ...nothing, inFlight: [0] });
  });
});

describe("a kept connection that its server closes", () => {
  test.each(["end", "reset"] as const)("POSTs are carried out once each, and all are answered: %s", async (how) => {
    // Closed right behind the answer, without a word of it.
    const backend = await raw((socket) => {
      socket.write(OK);
      void turn().then(() => (how === "end" ? socket.end() : socket.resetAndDestroy()));
    });
    await join([backend.port]);
    const outcomes: string[] = [];
    for (let i = 0; i < 200; i++) {
      const stream = await connection.exchange({ method: "POST" }, new TextEncoder().encode("data"));
      outcomes.push(stream.reset === undefined ? text(stream) : stream.reset.reason);
    }
    // What was written to a connection that closed only then may have been seen: it is never sent again.
    expect(backend.heads.length).toBeLessThanOrEqual(200);
    expect(outcomes.filter((outcome) => outcome === "ok").length).toBeGreaterThanOrEqual(195);
  });

  test("between the look at it and the write: nothing was sent, so it goes over a new one, and nobody is blamed", async () => {
    const backend = await raw((socket) => socket.write(OK));
    await join([backend.port]);
    for (const body of [undefined, new TextEncoder().encode("data")]) {
      for (let turns = 0; turns < 6; turns++) {
        await connection.exchange({ method: "POST" }, body);
        for (let i = 0; i < 3; i++) await turn();
        const before = backend.heads.length;
        const exchange = connection.exchange({ method: "POST" }, body);
        // Somewhere on the way of the request through this process.
        for (let i = 0; i < turns; i++) await turn();
        for (const socket of backend.sockets) if (backend.heads.length === before) socket.resetAndDestroy();
        const stream = await exchange;
        expect([turns, stream.reset?.reason ?? text(stream)]).toEqual([turns, "ok"]);
      }
    }
    expect(backend.heads.length).toBe(24);
    expect(endpointsOf(node.backends).map(({ failures }) => failures.failures)).toEqual([0]);
  });
});

describe("a request whose body has not begun", () => {
  test("has no endpoint and no connection, and goes by the plan of the moment when it does", async () => {
    const [first, second] = [await raw((socket) => socket.write(OK)), await raw((socket) => socket.write(OK))];
    await join([first.port]);
    const id = connection.open({ method: "POST" }, undefined, false);
    await connection.exchange({ service: "default/none" });
    expect(node.held).toEqual({ streams: 1, servers: 1, bytes: 0, inFlight: [0] });
    expect(first.sockets.size).toBe(0);
    node.backends.update(web([second.port]));
    connection.session.write(id, new TextEncoder().encode("late"), true);
    connection.flush();
    const stream = connection.stream(id);
    await complete(stream);
    expect(text(stream)).toBe("ok");
    expect([first.heads.length, second.heads.length]).toEqual([0, 1]);
  });

  test.each([
    ["ends without a byte", undefined, "content-length: 0", "ok"],
    ["ends without a byte of three", "3", "", Reset.UNSENDABLE],
  ])("and %s", async (_name, declared, head, expected) => {
    const backend = await raw((socket) => socket.write(OK));
    await join([backend.port]);
    const headers = ["host", "web.test", ...(declared === undefined ? [] : ["content-length", declared])];
    const id = connection.open({ method: "PUT", headers }, undefined, false);
    await connection.exchange({ service: "default/none" });
    connection.session.write(id, new Uint8Array(0), true);
    connection.flush();
    const stream = connection.stream(id);
    await complete(stream);
    expect(stream.reset?.code ?? text(stream)).toBe(expected);
    expect(backend.heads.join("")).toContain(head);
  });

  test("a client that leaves before it is forgotten", async () => {
    const backend = await raw((socket) => socket.write(OK));
    await join([backend.port]);
    const id = connection.open({ method: "POST" }, undefined, false);
    connection.session.reset(id, Reset.CANCELLED, "gone");
    await connection.exchange({ service: "default/none" });
    expect(node.held).toEqual({ ...nothing, inFlight: [0] });
  });
});

describe("waiting", () => {
  const short = { connect: 2_000, head: 1_000, idle: 60_000 };

  test.each([false, true])("too long for a head is final: WebSocket %s", async (websocket) => {
    const silent = [await raw(() => {}), await raw(() => {})];
    await join(
      silent.map(({ port }) => port),
      short,
    );
    const stream = connection.stream(connection.open({ websocket }));
    await complete(stream);
    expect(stream.reset?.code).toBe(Reset.TIMEOUT);
    expect(silent.reduce((sum, { heads }) => sum + heads.length, 0)).toBe(1);
    await expect.poll(() => node.held).toEqual({ ...nothing, inFlight: [0, 0] });
  });

  test("a handshake may take as long as any answer", async () => {
    const asked = Promise.withResolvers<Socket>();
    const slow = await raw((socket) => asked.resolve(socket));
    await join([slow.port]);
    const dialled = clientSockets();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const stream = connection.stream(connection.open({ websocket: true }));
    const socket = await asked.promise;
    vi.advanceTimersByTime(899_000);
    // Node.js' own limit on a socket, which `ws` can set, is on no clock that a test can move.
    expect(dialled.map(({ remotePort, timeout }) => [remotePort, timeout ?? 0])).toEqual([[slow.port, 0]]);
    socket.write("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    await complete(stream);
    expect([stream.head?.status, slow.heads.length]).toEqual([403, 1]);
  });
});

test("after abuse of every kind nothing is held", { timeout: 120_000 }, async () => {
  // By the target: what the backend does, and when.
  const acts: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    hang: () => {},
    cut: (request) => request.socket.destroy(),
    head: (_request, response) => response.writeHead(200).flushHeaders(),
    half: (_request, response) => {
      response.writeHead(200, { "content-length": "1000000" });
      response.write(randomBytes(1000), () => response.socket?.destroy());
    },
    early: (_request, response) => void response.writeHead(413, { connection: "close" }).end("no"),
    big: (_request, response) => void response.end(randomBytes(3_000_000)),
    read: (request, response) => void request.resume().on("end", () => response.end("ok")),
    refuse: (_request, response) => void response.writeHead(403).end("no"),
  };
  const server = createServer((request, response) => {
    response.on("error", () => {});
    acts[request.url?.slice(1) ?? ""]?.(request, response);
  });
  server.on("upgrade", (request: IncomingMessage, socket: Socket) => {
    socket.on("error", () => {});
    if (request.url === "/cut") socket.destroy();
    if (request.url === "/half") socket.write("HTTP/1.1 101 Sw");
    if (request.url === "/refuse") socket.end("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  const { port } = server.address() as AddressInfo;
  await join([port]);

  const sockets = clientSockets();
  const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  // When the client leaves.
  const moments: readonly ((stream: Received) => Promise<unknown>)[] = [
    async () => {},
    () => turn(),
    () => after(3),
    () => after(30),
    (stream) => Promise.race([connection.until(() => stream.head !== undefined), after(50)]),
    (stream) => Promise.race([complete(stream), after(50)]),
  ];
  const kinds = [
    { method: "PUT", size: 10 },
    { method: "PUT", size: 3_000_000 },
    { method: "GET", size: 0 },
    { method: "GET", size: 0, websocket: true },
  ];
  const abuse = async (target: string, { size, ...head }: (typeof kinds)[number], moment: (typeof moments)[number]) => {
    const id = connection.open({ ...head, target: `/${target}` }, undefined, size === 0);
    if (size > 0) void upload(id, size);
    await moment(connection.stream(id));
    connection.session.reset(id, Reset.CANCELLED, "gone");
    connection.flush();
  };
  for (let round = 0; round < 3; round++) {
    for (const target of Object.keys(acts))
      await Promise.all(kinds.flatMap((kind) => moments.map((moment) => abuse(target, kind, moment))));
  }
  await expect.poll(() => node.held, { timeout: 10_000 }).toEqual({ ...nothing, inFlight: [0] });
  // Sockets are kept for the next request; without the endpoint, none is.
  node.backends.update(web([]));
  await expect.poll(() => sockets.filter((socket) => socket.remotePort === port && !socket.destroyed).length).toBe(0);
  expect(sockets.length).toBeGreaterThan(100);
});
