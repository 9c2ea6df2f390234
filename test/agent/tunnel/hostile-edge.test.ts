// Whatever an edge sends, the agent's process lives: the stream that it concerns ends, or the connection does, and then the
// agent dials again and serves. A raw edge: frames by hand, nothing between the test and the socket.
// IP plan: 127.0.0.1:<free port> for everything.
import { createHash } from "node:crypto";
import { on, once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { Backends } from "../../../agent/endpoints/endpoints.ts";
import { createTunnel, type Tunnel } from "../../../agent/tunnel/index.ts";
import { decode, encode, END, type Frame, MORE, Type } from "../../../src/shared/wire/frames.ts";
import { encodeClose, encodeJson, encodeReset, parseReset, Reset } from "../../../src/shared/wire/messages.ts";
import { rawBackend, type RawBackend, web } from "./rig.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NOTHING = new Uint8Array(0);
const log: string[] = [];
let server: Server;
let dials: AsyncIterator<[WebSocket]>;
let backend: RawBackend;
let tunnel: Tunnel;
let release: () => void;

/** One accepted connection; frames that came, and its end. */
class RawEdge {
  readonly frames: Frame[] = [];
  readonly socket: WebSocket;
  closed = false;
  #wake: () => void = () => {};

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) decode(data, (frame) => this.frames.push(frame) > 0);
      this.#wake();
    });
    socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
    socket.on("error", () => {});
  }

  send(...frames: Uint8Array[]): void {
    this.socket.send(Buffer.concat(frames));
  }

  async until<T>(found: () => T | undefined | false): Promise<T> {
    for (;;) {
      const result = found();
      if (result !== undefined && result !== false) return result;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  of(stream: number, type: Type): Frame | undefined {
    return this.frames.find((frame) => frame.stream === stream && frame.type === type);
  }

  body(stream: number): string {
    return this.frames
      .filter((frame) => frame.stream === stream && frame.type === Type.DATA)
      .map(({ payload }) => Buffer.from(payload).toString())
      .join("");
  }
}

/** A frame with flags in its type. */
const flagged = (stream: number, type: number, payload: Uint8Array): Uint8Array =>
  encode(stream, type as Type, payload);

const hello = (parts: Record<string, unknown> = {}): Uint8Array =>
  encode(
    0,
    Type.HELLO,
    encodeJson({ versions: [1], capabilities: [], software: "hostile", shard: 0, shards: 1, ...parts }),
  );

/** OPEN by the specification's list; what `parts` says is not checked. */
function open(id: number, parts: Record<string, unknown> = {}, end = true): Uint8Array {
  const { kind, service, port, client, method, target, headers, sightings } = {
    kind: 0,
    service: "default/web",
    port: 80,
    client: "203.0.113.7",
    method: "GET",
    target: "/ok",
    headers: ["host", "web.test"],
    sightings: 2,
    ...parts,
  };
  const list = [kind, service, port, client, method, target, headers, sightings];
  return flagged(id, Type.OPEN | (end ? END : 0), encodeJson(list));
}

const accept = async (): Promise<RawEdge> => new RawEdge((await dials.next()).value[0]);

async function greeted(): Promise<RawEdge> {
  const edge = await accept();
  await edge.until(() => edge.of(0, Type.HELLO));
  edge.send(hello());
  return edge;
}

/** The agent still serves, on this connection or on the next. */
async function serves(edge: RawEdge, id = 9_000): Promise<void> {
  let now = edge;
  if (!edge.closed) {
    edge.send(open(id));
    await edge.until(() => edge.closed || edge.body(id) === "ok");
  }
  if (edge.closed) {
    now = await greeted();
    now.send(open(id));
    await now.until(() => now.body(id) === "ok");
  }
  expect(now.body(id)).toBe("ok");
}

beforeEach(async () => {
  log.length = 0;
  const held = Promise.withResolvers<void>();
  release = () => held.resolve();
  backend = await rawBackend((socket, head) => {
    if (head.includes(" /ok")) socket.write(OK);
    else if (head.includes(" /slow")) void held.promise.then(() => socket.write(OK));
    else if (head.includes(" /socket")) upgrade(socket, head);
  });
  server = createServer();
  const sockets = new WebSocketServer({ server });
  dials = on(sockets, "connection") as AsyncIterator<[WebSocket]>;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const backends = new Backends();
  backends.update(web([backend.port]));
  tunnel = createTunnel({
    edge: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    cluster: "home",
    token: () => "pst_home_secret",
    node: "n1",
    instance: "pod-1",
    software: "postern-agent test",
    backends,
    log: pino({ level: "debug" }, { write: (line: string) => void log.push(line) }),
    answerProbe: () => undefined,
    onState: () => {},
  });
  tunnel.dial();
});

afterEach(async () => {
  tunnel.close();
  release();
  backend.stop();
  server.closeAllConnections();
  server.close();
  await once(server, "close");
  // Peers' nonsense is no fault of the agent's.
  expect(log.filter((line) => line.includes("a fault in the agent"))).toEqual([]);
});

/** Completes a WebSocket handshake, and ignores all messages. */
function upgrade(socket: Socket, head: string): void {
  const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] ?? "";
  const digest = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(
    `HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${digest}\r\n\r\n`,
  );
}

const socketTo = (target: string): Uint8Array => open(5, { kind: 1, target }, false);
const text = (bytes = "hi"): Uint8Array => encode(5, Type.TEXT, Buffer.from(bytes));

describe("one stream's nonsense", () => {
  /** Frames of stream 5, after "hello" and a slow stream 3; `after`: not before this frame type came for it. */
  const rows: readonly (readonly [
    name: string,
    first: readonly Uint8Array[],
    after?: Type,
    then?: readonly Uint8Array[],
  ])[] = [
    ["TEXT before the 101", [socketTo("/silent"), text()]],
    ["BINARY before the 101", [socketTo("/silent"), encode(5, Type.BINARY, NOTHING)]],
    ["CLOSE before the 101", [socketTo("/silent"), encode(5, Type.CLOSE, encodeClose(1000, ""))]],
    ...[1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map(
      (code) =>
        [
          `CLOSE with code ${code}`,
          [socketTo("/socket")],
          Type.HEAD,
          [encode(5, Type.CLOSE, encodeClose(code, ""))],
        ] as const,
    ),
    [
      "CLOSE with a reason of 124 bytes",
      [socketTo("/socket")],
      Type.HEAD,
      [encode(5, Type.CLOSE, Buffer.from(`\x03\xe8${"r".repeat(124)}`, "latin1"))],
    ],
    ["CLOSE of one byte", [socketTo("/socket")], Type.HEAD, [encode(5, Type.CLOSE, Uint8Array.of(3))]],
    ["TEXT that is no UTF-8", [socketTo("/socket")], Type.HEAD, [encode(5, Type.TEXT, Uint8Array.of(0xff, 0xfe))]],
    ["TEXT after CLOSE", [socketTo("/socket")], Type.HEAD, [encode(5, Type.CLOSE, encodeClose(1000, "")), text()]],
    [
      "half a message, then CLOSE",
      [socketTo("/socket")],
      Type.HEAD,
      [flagged(5, Type.TEXT | MORE, Buffer.from("a")), encode(5, Type.CLOSE, encodeClose(1000, ""))],
    ],
    ["TEXT on HTTP", [open(5, { target: "/silent", method: "POST" }, false), text()]],
    ["DATA on a WebSocket", [socketTo("/silent"), encode(5, Type.DATA, Buffer.from("x"))]],
    ["HEAD", [open(5, { target: "/silent" }), encode(5, Type.HEAD, encodeJson([200, []]))]],
    ["DATA after END", [open(5, { target: "/silent" }), encode(5, Type.DATA, Buffer.from("x"))]],
    ["empty DATA", [open(5, { target: "/silent", method: "POST" }, false), encode(5, Type.DATA, NOTHING)]],
    [
      "more DATA than credit",
      [
        open(5, { target: "/silent", method: "POST" }, false),
        encode(5, Type.DATA, new Uint8Array(65_536)),
        encode(5, Type.DATA, new Uint8Array(65_536)),
      ],
    ],
    ["CREDIT of zero", [open(5), encode(5, Type.CREDIT, new Uint8Array(4))]],
    [
      "CREDIT without end",
      [open(5, { target: "/silent" }), encode(5, Type.CREDIT, Uint8Array.of(0x7f, 255, 255, 255))],
    ],
    ["the same stream again", [open(5), open(5)]],
    ["RESET of what was never opened", [encode(5, Type.RESET, encodeReset(Reset.DONE, ""))]],
    ["RESET without a code", [open(5, { target: "/silent" }), encode(5, Type.RESET, NOTHING)]],
    ["RESET with an unknown code", [open(5, { target: "/silent" }), encode(5, Type.RESET, Uint8Array.of(99))]],
    [
      "a body shorter than Content-Length",
      [open(5, { method: "POST", headers: ["host", "a", "content-length", "9"] })],
    ],
    [
      "a body longer than Content-Length",
      [
        open(5, { method: "POST", target: "/silent", headers: ["host", "a", "content-length", "1"] }, false),
        flagged(5, Type.DATA | END, Buffer.from("abc")),
      ],
    ],
    [
      "a body that ends too soon",
      [
        open(5, { method: "POST", target: "/silent", headers: ["host", "a", "content-length", "9"] }, false),
        encode(5, Type.DATA, Buffer.from("abc")),
        flagged(5, Type.DATA | END, NOTHING),
      ],
    ],
    ...[-1, 0, 0.5, 1e308].map((sightings) => [`${sightings} sightings`, [open(5, { sightings })]] as const),
    ["the service __proto__", [open(5, { service: "__proto__" })]],
    ["a client that is no address", [open(5, { client: "\0".repeat(10_000) })]],
    ["a client that is no text", [open(5, { client: {} })]],
    ["port 0", [open(5, { port: 0 })]],
    ["a method of two words", [open(5, { method: "GET /x" })]],
    ["the method CONNECT", [open(5, { method: "CONNECT" })]],
    ["a kind that is none", [open(5, { kind: 2 })]],
    ["headers that are no list", [open(5, { headers: {} })]],
    ["headers in odd number", [open(5, { headers: ["host"] })]],
    ["headers that are no text", [open(5, { headers: ["host", 1] })]],
    ["a head that is no JSON", [flagged(5, Type.OPEN | END, Buffer.from("[0,"))]],
    ["END on a WebSocket's OPEN", [open(5, { kind: 1 })]],
    [
      "a WebSocket message of 17 MiB",
      [socketTo("/socket")],
      Type.HEAD,
      [flagged(5, Type.BINARY | MORE, new Uint8Array(65_000))],
    ],
  ];

  test.each(rows.map((row) => ({ name: row[0], row })))("$name", async ({ row: [, first, after, then = []] }) => {
    const edge = await greeted();
    edge.send(open(3, { target: "/slow" }));
    edge.send(...first);
    if (after !== undefined) await edge.until(() => edge.closed || edge.of(5, after));
    if (then.length > 0 && !edge.closed) edge.send(...then);
    await serves(edge);
    release();
    // Whoever else was on this connection is served, unless it is lost.
    await edge.until(() => edge.closed || edge.body(3) === "ok");
  });

  const unsendable: readonly (readonly [name: string, parts: Record<string, unknown>])[] = [
    ["U+5929 in a value", { headers: ["host", "a", "user-agent", "天"] }],
    ["U+2028 in a value", { headers: ["host", "a", "x", "\u2028"] }],
    ["a lone surrogate in a value", { headers: ["host", "a", "x", "\ud800"] }],
    ["CR LF in a value", { headers: ["host", "a", "x", "a\r\nb: c"] }],
    ["NUL in a value", { headers: ["host", "a", "x", "a\0"] }],
    ["DEL in a value", { headers: ["host", "a", "x", "a\x7f"] }],
    ["an empty name", { headers: ["host", "a", "", "x"] }],
    ["a name with a space", { headers: ["host", "a", "a b", "x"] }],
    ["a name with LF", { headers: ["host", "a", "a\nb", "x"] }],
    ["a name that is not ASCII", { headers: ["host", "a", "ä", "x"] }],
    ["two Hosts", { headers: ["host", "a", "Host", "b"] }],
    ["an emoji in the target", { target: "/😀" }],
    ["a lone surrogate in the target", { target: "/\ud800" }],
  ];
  const http: typeof unsendable = [
    ["two lengths", { headers: ["host", "a", "content-length", "0", "Content-Length", "0"] }],
    ["a length of -1", { headers: ["host", "a", "content-length", "-1"] }],
    ["a length of 1e3", { headers: ["host", "a", "content-length", "1e3"] }],
    ["Transfer-Encoding", { headers: ["host", "a", "transfer-encoding", "chunked"] }],
    ["Upgrade", { headers: ["host", "a", "upgrade", "h2c"] }],
    ["Expect", { headers: ["host", "a", "expect", "100-continue"] }],
    ["Connection of no token", { headers: ["host", "a", "connection", "a b"] }],
    ["the target *", { target: "*", method: "OPTIONS" }],
  ];
  const kinds = [
    ...[...unsendable, ...http].map(([name, parts]) => [name, "HTTP", parts] as const),
    ...unsendable.map(([name, parts]) => [name, "WebSocket", { kind: 1, ...parts }] as const),
  ];

  test.each(kinds)("%s, %s: unsendable, on the same connection", async (_name, kind, parts) => {
    const edge = await greeted();
    // Three in a row would eject the endpoint.
    for (const id of [5, 7, 9]) {
      edge.send(open(id, parts, kind === "HTTP"));
      const reset = await edge.until(() => (edge.closed ? true : edge.of(id, Type.RESET)));
      expect(reset === true ? "closed" : parseReset(reset.payload).code).toBe(Reset.UNSENDABLE);
    }
    expect(backend.heads).toEqual([]);
    await serves(edge);
    expect(edge.closed).toBe(false);
    expect(log.filter((line) => line.includes("failed"))).toEqual([]);
  });
});

describe("the connection's nonsense", () => {
  const issues = { versions: [0, 0, 0, 0], capabilities: [1, 2, 3], software: 1, shard: -1, shards: 65 };
  test.each<[string, (edge: RawEdge) => void]>([
    ["HELLO with many faults", (edge) => edge.send(hello(issues))],
    ["HELLO that is no JSON", (edge) => edge.send(encode(0, Type.HELLO, Buffer.from("{")))],
    ["HELLO that is no UTF-8", (edge) => edge.send(encode(0, Type.HELLO, Uint8Array.of(0xff)))],
    ["a stream before HELLO", (edge) => edge.send(open(1))],
    ["REPORT", (edge) => edge.send(hello(), encode(0, Type.REPORT, encodeJson({ endpoints: [] })))],
    ["a second HELLO", (edge) => edge.send(hello(), hello())],
    [
      "GOAWAY of the wrong shape",
      (edge) => edge.send(hello(), encode(0, Type.GOAWAY, encodeJson({ reason: 1, permanent: "✖" }))),
    ],
    ["RESUME of 3 bytes", (edge) => edge.send(hello(), encode(0, Type.RESUME, new Uint8Array(3)))],
    ["an unknown type", (edge) => edge.send(hello(), flagged(0, 0x3f, NOTHING))],
    ["no frame at all", (edge) => edge.socket.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"))],
    ["an empty message", (edge) => edge.socket.send(NOTHING)],
    ["half a frame", (edge) => edge.send(hello().subarray(0, 11))],
    ["a message over 1 MiB", (edge) => edge.socket.send(Buffer.alloc(1024 * 1024 + 1))],
    ["a close without a handshake", (edge) => edge.socket.terminate()],
    ["a close with an odd code", (edge) => edge.socket.close(4999, "✖".repeat(41))],
  ])("%s: it is lost, and dialled again", async (_name, send) => {
    const edge = await accept();
    await edge.until(() => edge.of(0, Type.HELLO));
    send(edge);
    await edge.until(() => edge.closed);
    await serves(edge);
  });

  test("floods of PING, GOAWAY and text are survived, and not written down", async () => {
    const edge = await greeted();
    for (let i = 0; i < 5_000; i++) edge.socket.send("nonsense");
    edge.send(...Array.from({ length: 20_000 }, () => encode(0, Type.PING, NOTHING)));
    const goAway = encode(0, Type.GOAWAY, encodeJson({ reason: "go", permanent: false }));
    edge.send(...Array.from({ length: 5_000 }, () => goAway));
    await serves(edge);
    expect(log.length).toBeLessThan(20);
  });

  test("RESUME ends the streams of the time before, and the next are served", async () => {
    const edge = await greeted();
    edge.send(open(1, { target: "/slow" }), open(2, { kind: 1, target: "/silent" }, false));
    edge.send(encode(0, Type.RESUME, Uint8Array.of(0, 0, 4, 0)));
    await edge.until(() => edge.of(0, Type.RESUME));
    await serves(edge, 1_024);
    expect(edge.closed).toBe(false);
  });
});
