// Rows about WebSocket handshakes (RFC 6455): what the server answers reaches the client, and what is no handshake is a 502
// before any 101. Where one comes about, messages cross it.
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type Behaviour, response, type Seen } from "./backend.ts";
import { both, brief, check, either, field, type Row, sameAnswer, sameOr, same, told } from "./row.ts";
import { type Answer, utf8, valuesOf, type Wire } from "./wire.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const handshake = (...headers: string[]) =>
  `${["GET /ws HTTP/1.1", "Host: {H}", "{R}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${KEY}`, ...headers].join("\r\n")}\r\n\r\n`;

function accept({ fields }: Seen): string {
  const [key = ""] = valuesOf(fields, "sec-websocket-key");
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** A text frame from a server: not masked, shorter than 126 bytes. */
const frame = (text: string) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text, "latin1")]);
/** From a client: masked with zeros. */
const masked = (text: string) =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text, "latin1")]);

/** Switches protocols with these headers, greets, and sends back what it gets. */
function socketServer(more = "", { waitMs = 0, together = false } = {}): Behaviour {
  return {
    answer(socket: Socket, seen: Seen) {
      setTimeout(() => {
        const head = response(
          `HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: ${accept(seen)}${more}`,
        );
        if (together) socket.write(Buffer.concat([head, frame("hello")]));
        else socket.write(head, () => socket.write(frame("hello")));
        socket.on("data", (bytes) => {
          // One short frame a packet is all that these rows send.
          if (bytes.length < 6 || bytes[0] !== 0x81) return;
          const mask = bytes.subarray(2, 6);
          const text = Buffer.from(
            bytes.subarray(6, 6 + ((bytes[1] ?? 0) & 0x7f)).map((byte, i) => byte ^ (mask[i & 3] ?? 0)),
          );
          socket.write(frame(text.toString("latin1")));
        });
      }, waitMs);
    },
  };
}

/** Sends a message once it is greeted, and awaits its echo. */
const talk =
  (text: string, withinMs = 10_000) =>
  async (wire: Wire, send: (text: string) => void) => {
    send(text);
    const heard = (what: string, ms: number) => wire.until(() => wire.extra.includes(what) || wire.end !== "open", ms);
    const head = await wire.head(0, withinMs);
    if (head?.status !== 101) return;
    if (!(await heard("hello", 3_000))) return;
    wire.send(masked("are you there"));
    await heard("are you there", 3_000);
  };

const switched = (more?: (answer: Answer, plain: Answer) => string | undefined) =>
  check("it", ({ answers: [a], extra, end }, { answers: [p] }) => {
    if (a?.status !== 101) return `is ${a?.status} ${field(a, "x-postern-reason") ?? ""} and no 101`;
    if (
      field(a, "sec-websocket-accept") !==
      createHash("sha1").update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
    )
      return "has a wrong Sec-WebSocket-Accept";
    if (!extra.includes("hello") || !extra.includes("are you there"))
      return `carries no messages: ${brief(extra)}, connection ${end}`;
    return more?.(a, p as Answer);
  });
const protocolKept = switched((a, p) => {
  const [got, sent] = [field(a, "sec-websocket-protocol"), field(p, "sec-websocket-protocol")];
  return got === sent ? undefined : `selects ${got} and not ${sent}`;
});

const ws = (
  name: string,
  headers: readonly string[],
  backend: Behaviour,
  expect: Row["expect"],
  more: Partial<Row> = {},
): Row => ({
  name: `WebSocket ${name}`,
  request: "GET",
  script: talk(handshake(...headers)),
  backend,
  expect,
  ...more,
});
const answers = (head: string, body = "", end = false): Behaviour => ({
  answer: (socket) => void socket.write(response(`HTTP/1.1 ${head}`, body), () => end && socket.end()),
});

export const upgradeRows: readonly Row[] = [
  ws("without a subprotocol", [], socketServer(), protocolKept),
  ws("with one", ["Sec-WebSocket-Protocol: mqtt"], socketServer("\nSec-WebSocket-Protocol: mqtt"), protocolKept),
  ws(
    "with the last of three",
    ["Sec-WebSocket-Protocol: a, b,c"],
    socketServer("\nSec-WebSocket-Protocol: c"),
    protocolKept,
  ),
  ws(
    "with three on two lines",
    ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b, c"],
    socketServer("\nSec-WebSocket-Protocol: b"),
    protocolKept,
  ),
  ws(
    "with tokens of = and /",
    ["Sec-WebSocket-Protocol: v4.channel.k8s.io, base64url.bearer.abc/def=="],
    socketServer("\nSec-WebSocket-Protocol: v4.channel.k8s.io"),
    either(protocolKept, told(400)),
  ),
  ws(
    "offered a subprotocol, of which the server selects none (F11)",
    ["Sec-WebSocket-Protocol: binary"],
    socketServer(),
    protocolKept,
  ),
  ws(
    "offered one, of which the server selects another: passed on, or 502 (F11)",
    ["Sec-WebSocket-Protocol: binary"],
    socketServer("\nSec-WebSocket-Protocol: zzz"),
    either(protocolKept, told(502)),
  ),
  ws(
    "offered none, of which the server selects one: passed on, or 502 (F11)",
    [],
    socketServer("\nSec-WebSocket-Protocol: zzz"),
    either(protocolKept, told(502)),
  ),
  ws(
    "with extensions offered that the server leaves: ours may take them",
    ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"],
    socketServer(),
    check("it", ({ answers: [a], extra }) => {
      const compressed = field(a, "sec-websocket-extensions")?.startsWith("permessage-deflate") === true;
      return a?.status === 101 && extra.charCodeAt(0) === (compressed ? 0xc1 : 0x81)
        ? undefined
        : `is ${a?.status}, and its first message ${brief(extra)}`;
    }),
  ),
  ws("with a first message in the packet of the 101", [], socketServer("", { together: true }), protocolKept),
  ws(
    "with cookies, an origin and credentials",
    ["Cookie: a=1", "Cookie: b=2", "Origin: http://a.example", "Authorization: Basic dTpw"],
    socketServer(),
    both(
      protocolKept,
      check("the server", ({ seen: [seen] }) =>
        valuesOf(seen?.fields ?? [], "cookie").join("; ") === "a=1; b=2" &&
        valuesOf(seen?.fields ?? [], "origin")[0] === "http://a.example"
          ? undefined
          : "did not see them",
      ),
    ),
  ),
  ws(
    "with a header of UTF-8 (F1)",
    [`X-U: ${utf8("天气")}`],
    socketServer(),
    both(
      protocolKept,
      check("the server", ({ seen: [seen] }) =>
        valuesOf(seen?.fields ?? [], "x-u")[0] === utf8("天气")
          ? undefined
          : `saw ${brief(valuesOf(seen?.fields ?? [], "x-u")[0] ?? "")}`,
      ),
    ),
  ),
  ws(
    "with a header of Latin-1 (F1)",
    ["X-L: caf\xe9"],
    socketServer(),
    both(
      protocolKept,
      check("the server", ({ seen: [seen] }) =>
        valuesOf(seen?.fields ?? [], "x-l")[0] === "caf\xe9"
          ? undefined
          : `saw ${brief(valuesOf(seen?.fields ?? [], "x-l")[0] ?? "")}`,
      ),
    ),
    { except: { direct: { because: "fetch() writes text, as UTF-8", expect: either(protocolKept, told(400)) } } },
  ),
  ws(
    "whose handshake takes 12 s (F12)",
    [],
    socketServer("", { waitMs: 12_000 }),
    both(
      protocolKept,
      check("the server", ({ seen }) => (seen.length <= 2 ? undefined : `saw ${seen.length} handshakes`)),
    ),
    {
      script: talk(handshake(), 30_000),
      withinMs: 30_000,
    },
  ),
  ws(
    "answered in words: 401",
    [],
    answers('401 Unauthorized\nWWW-Authenticate: Basic realm="x"\nContent-Length: 2', "no"),
    sameAnswer,
  ),
  ws("answered in words: 302", [], answers("302 Found\nLocation: /login\nContent-Length: 0"), sameAnswer),
  ws("answered in words: 200", [], answers("200 OK\nContent-Length: 2", "ok"), sameAnswer),
  ws(
    "answered 426",
    [],
    answers("426 Upgrade Required\nSec-WebSocket-Version: 12\nContent-Length: 0"),
    check("it", ({ answers: [a] }) => (a?.status === 426 ? undefined : `is ${a?.status}`)),
  ),
  ...["000", "099", "199"].map((status) =>
    ws(`answered ${status}: 502 (S3)`, [], answers(`${status} X\nContent-Length: 0`, "", true), told(502), {
      withinMs: 20_000,
    }),
  ),
  ws(
    "answered 101 without Sec-WebSocket-Accept: 502 (S34)",
    [],
    answers("101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket"),
    told(502),
  ),
  ws(
    "answered 101 with a wrong one: 502 (S34)",
    [],
    answers(
      "101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ),
    told(502),
  ),
  ws(
    "answered 101 to h2c: 502 (S34)",
    [],
    answers("101 Switching Protocols\nConnection: Upgrade\nUpgrade: h2c"),
    told(502),
  ),
  ws("answered with garbage: 502", [], { answer: (socket) => void socket.end("SSH-2.0-x\r\n\r\n") }, told(502)),
  ws("cut before the answer: 502", [], { answer: (socket) => void socket.end() }, told(502)),
  ws("cut before the answer by RST: 502", [], { answer: (socket) => void socket.resetAndDestroy() }, told(502)),
  {
    name: "WebSocket without a key is refused, or passed on [6455 §4.2.1]",
    request:
      "GET /ws HTTP/1.1\r\nHost: {H}\r\n{R}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    expect: either(
      sameOr(400, 426),
      check("it", ({ answers: [a] }) =>
        a !== undefined && a.status >= 400 && a.status < 503 ? undefined : `is ${a?.status}`,
      ),
    ),
  },
  {
    name: "Upgrade: websocket without Connection is an ordinary request",
    request: "GET /x HTTP/1.1\r\nHost: {H}\r\n{R}\r\nUpgrade: websocket\r\n\r\n",
    expect: same,
  },
  {
    name: "WebSocket: a message sent before the 101 is not lost",
    request: "GET",
    script: async (wire, send) => {
      send(handshake());
      wire.send(masked("early bird"));
      await delay(20);
      await wire.until(() => wire.extra.includes("early bird") || wire.end !== "open", 3_000);
    },
    backend: socketServer("", { waitMs: 100 }),
    // A client must wait (RFC 6455 §4.1): nothing is promised but that nobody else suffers.
    expect: check("it", ({ answers: [a], end }) =>
      a?.status === 101 || (a !== undefined && a.status >= 400) || end !== "open" ? undefined : `is ${a?.status}`,
    ),
  },
];
