// Whatever bytes a backend answers with: what the edge gets, how often backends saw the request, who is blamed; and then a
// good request works. Two endpoints, so that a repeat that nobody may make is seen.
// IP plan: 127.0.0.1:<free port> for everything.
import type { Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { TestEdge, type EdgeConnection, type Received } from "./edge.ts";
import { endpointsOf, Node, type RawBackend, rawBackend } from "./rig.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
let edge: TestEdge;
let node: Node;
let connection: EdgeConnection;
let first: RawBackend;
let second: RawBackend;
let answer: (socket: Socket, head: string) => void;

beforeEach(async () => {
  edge = new TestEdge();
  const reply = (socket: Socket, head: string): void =>
    void (head.includes(" /ok ") ? socket.write(OK) : answer(socket, head));
  [first, second] = [await rawBackend(reply), await rawBackend(reply)];
  node = new Node(await edge.start(), [first.port, second.port]);
  connection = await edge.connection();
});

afterEach(async () => {
  node.stop();
  first.stop();
  second.stop();
  await edge.stop();
});

const seen = (): number => [...first.heads, ...second.heads].filter((head) => !head.includes(" /ok ")).length;
const blamed = (): number => endpointsOf(node.backends).filter(({ failures }) => failures.failures > 0).length;

/** Status and body, or the RESET's name. */
function outcome({ head, body, reset, ended }: Received): string {
  const name = Object.entries(Reset).find(([, code]) => code === reset?.code)?.[0];
  const text = Buffer.concat(body).toString("latin1");
  if (head === undefined) return name ?? "nothing";
  return `${head.status} ${text.length > 20 ? text.length : text}${ended ? "" : ` ${name}`}`;
}

type Row = readonly [name: string, bytes: string, then: "keep" | "end" | "reset", expected: string, blame?: number];

const HEAD = "HTTP/1.1 200 OK\r\n";
const big = (bytes: number): string => `X-Big: ${"b".repeat(bytes)}\r\n`;

const rows: readonly Row[] = [
  ["100 first", `HTTP/1.1 100 Continue\r\n\r\n${OK}`, "keep", "200 ok"],
  ["100 with headers, twice", `${"HTTP/1.1 100 Go On\r\nX: y\r\n\r\n".repeat(2)}${OK}`, "keep", "200 ok"],
  [
    "102, 100, 103, 100",
    `HTTP/1.1 102 P\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n${OK}`,
    "keep",
    "200 ok",
  ],
  ["100s without end", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100), "keep", "BROKE", 1],
  ["103s without end", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1100), "keep", "BROKE", 1],
  ["a 100 of 64 KiB", `HTTP/1.1 100 Continue\r\nX: ${"x".repeat(65536)}\r\n\r\n${OK}`, "keep", "BROKE", 1],
  [
    "a 101 that nobody asked for",
    "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "keep",
    "BROKE",
    1,
  ],
  ["status 000", `HTTP/1.1 000 Zero\r\nContent-Length: 2\r\n\r\nok`, "keep", "BROKE"],
  ["status 099", `HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok`, "keep", "BROKE"],
  ["status 600", `HTTP/1.1 600 High\r\nContent-Length: 2\r\n\r\nok`, "keep", "BROKE"],
  ["status 999", `HTTP/1.1 999 High\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`, "keep", "BROKE"],
  ["status 1000", `HTTP/1.1 1000 No\r\n\r\n`, "keep", "BROKE", 1],
  ["two lengths", `${HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok`, "keep", "BROKE", 1],
  ["a length and chunks", `${HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok`, "keep", "BROKE", 1],
  ["a length that is none", `${HEAD}Content-Length: 2x\r\n\r\nok`, "keep", "BROKE", 1],
  ["a negative length", `${HEAD}Content-Length: -2\r\n\r\nok`, "keep", "BROKE", 1],
  ["NUL in a value", `${HEAD}X: a\0b\r\nContent-Length: 2\r\n\r\nok`, "keep", "BROKE", 1],
  ["a space before the colon", `${HEAD}X : a\r\nContent-Length: 2\r\n\r\nok`, "keep", "BROKE", 1],
  ["no HTTP", "SSH-2.0-OpenSSH_9.9\r\n", "keep", "BROKE", 1],
  ["HTTP/2", "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64", "keep", "BROKE", 1],
  ["half a head", `${HEAD}Content-Le`, "end", "BROKE", 1],
  ["half a head, and a reset", `${HEAD}Content-Le`, "reset", "BROKE", 1],
  ["a cut body", `${HEAD}Content-Length: 5\r\n\r\nok`, "end", "200 ok BROKE", 1],
  ["a cut body, and a reset", `${HEAD}Content-Length: 5\r\n\r\nok`, "reset", "200 ok BROKE", 1],
  ["a cut chunk", `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nok`, "end", "200 ok BROKE", 1],
  ["chunks without the last", `${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n`, "end", "200 ok BROKE", 1],
  ["a chunk size that is none", `${HEAD}Transfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n`, "keep", "200  BROKE", 1],
  ["a chunk too long", `${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n`, "keep", "200 ok BROKE", 1],
  [
    "chunk extensions and trailers",
    `${HEAD}Transfer-Encoding: chunked\r\n\r\n2;a=b;c="d"\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n`,
    "keep",
    "200 ok",
  ],
  ["until the end of the connection", `${HEAD}\r\nok`, "end", "200 ok"],
  ["the same, cut by a reset", `${HEAD}\r\nok`, "reset", "200 ok BROKE", 1],
  ["HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok", "end", "200 ok"],
  ["no reason phrase", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "keep", "200 ok"],
  ["a body of a 204", `HTTP/1.1 204 None\r\nContent-Length: 2\r\n\r\nok`, "keep", "204 "],
  ["a body of a 304", `HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\nok`, "keep", "304 "],
  ["a second answer", `${OK}${OK}`, "keep", "200 ok"],
  ["a head of 100 KiB", `${HEAD}${big(100 * 1024)}Content-Length: 2\r\n\r\nok`, "keep", "200 ok"],
  [
    "a head of 100 KiB of cookies",
    `${HEAD}${`Set-Cookie: a=${"c".repeat(300)}\r\n`.repeat(320)}Content-Length: 2\r\n\r\nok`,
    "keep",
    "200 ok",
  ],
  ["a head of 140 KiB", `${HEAD}${big(140 * 1024)}Content-Length: 2\r\n\r\nok`, "keep", "TOO_BIG"],
  ["a head that fits no frame", `${HEAD}${"a:\r\n".repeat(40_000)}Content-Length: 2\r\n\r\nok`, "keep", "TOO_BIG"],
  ["an endless body behind such a head", `${HEAD}${"a:\r\n".repeat(40_000)}\r\nok`, "keep", "TOO_BIG"],
];

describe.each(rows.map((row) => ({ name: row[0], row })))("$name", ({ row: [, bytes, then, expected, blame = 0] }) => {
  const play = (socket: Socket): void => {
    socket.write(Buffer.from(bytes, "latin1"), () => {
      if (then === "end") socket.end();
      // Not before the agent has read what there is: a reset takes it away.
      if (then === "reset") setTimeout(() => socket.resetAndDestroy(), 20);
    });
  };

  test.each(["GET", "POST"])("%s", async (method) => {
    answer = play;
    const got = await connection.exchange({ method, target: "/case" });
    expect({ outcome: outcome(got), seen: seen(), blamed: blamed() }).toEqual({
      outcome: expected,
      seen: 1,
      blamed: blame,
    });
    for (let i = 0; i < 4; i++) expect(outcome(await connection.exchange({ target: "/ok" }))).toBe("200 ok");
    expect(node.faults).toEqual([]);
    expect(node.held).toMatchObject({ streams: 0, servers: 0, bytes: 0, inFlight: [0, 0] });
  });
});

describe("a connection that ends without a byte", () => {
  const cases = [
    { method: "GET", sightings: 2, headers: [], times: 2 },
    { method: "DELETE", sightings: 2, headers: [], times: 2 },
    { method: "GET", sightings: 1, headers: [], times: 1 },
    { method: "GET", sightings: -1, headers: [], times: 1 },
    { method: "GET", sightings: 1e9, headers: [], times: 2 },
    { method: "POST", sightings: 2, headers: [], times: 1 },
    { method: "POST", sightings: 2, headers: ["Idempotency-Key", "k"], times: 2 },
  ];
  test.each(cases)("$method, $sightings sightings allowed, $headers: seen $times times", async (row) => {
    for (const then of ["end", "reset"] as const) {
      first.heads.length = second.heads.length = 0;
      answer = (socket) => void (then === "end" ? socket.end() : socket.resetAndDestroy());
      const got = await connection.exchange({
        method: row.method,
        target: "/case",
        sightings: row.sightings,
        headers: ["host", "web.test", ...row.headers],
      });
      expect({ outcome: outcome(got), seen: seen() }).toEqual({ outcome: "BROKE", seen: row.times });
      if (row.times === 2) expect([first, second].map(({ heads }) => heads.length)).toEqual([1, 1]);
    }
  });

  test("then the other endpoint answers: the answer is one", async () => {
    answer = (socket) => void (seen() === 1 ? socket.end() : socket.write(OK));
    expect(outcome(await connection.exchange({ target: "/case" }))).toBe("200 ok");
    expect(seen()).toBe(2);
  });
});

test("header values pass byte for byte, both ways", async () => {
  answer = (socket) =>
    void socket.write(
      Buffer.from(
        `${HEAD}X-Latin: caf\xe9\r\nX-Utf8: \xc3\xb6 \xe5\xa4\xa9\r\nX-All: ${all}\r\nContent-Length: 0\r\n\r\n`,
        "latin1",
      ),
    );
  const all = Array.from({ length: 128 }, (_, i) => String.fromCharCode(0x80 + i)).join("");
  const got = await connection.exchange({
    target: "/case\xc3\xb6",
    headers: ["host", "web.test", "User-Agent", "\xe5\xa4\xa9\xe6\xb0\x94/3.1", "X-L", "caf\xe9", "X-All", all],
  });
  const sent = [...first.heads, ...second.heads][0];
  expect(sent).toContain("GET /case\xc3\xb6 HTTP/1.1\r\n");
  expect(sent).toContain("\r\nUser-Agent: \xe5\xa4\xa9\xe6\xb0\x94/3.1\r\nX-L: caf\xe9\r\n");
  expect(sent).toContain(`X-All: ${all}`);
  expect(got.head?.headers.slice(0, 6)).toEqual([
    "X-Latin",
    "caf\xe9",
    "X-Utf8",
    "\xc3\xb6 \xe5\xa4\xa9",
    "X-All",
    all,
  ]);
});

describe("a WebSocket handshake", () => {
  const wsRows: readonly (readonly [
    name: string,
    bytes: string,
    then: "keep" | "end",
    expected: string,
    blame: number,
    times?: number,
  ])[] = [
    ["status 000", "HTTP/1.1 000 OK\r\n\r\n", "keep", "BROKE", 0],
    ["status 099", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", "keep", "BROKE", 0],
    ["status 600", "HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok", "keep", "BROKE", 0],
    ["a 101 without Accept", "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "keep", "BROKE", 1],
    ["a 101 to h2c", "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "keep", "BROKE", 1],
    ["a 101 without Connection", "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n", "keep", "BROKE", 0],
    ["a 101 without anything", "HTTP/1.1 101 S\r\n\r\n", "keep", "BROKE", 0],
    ["no HTTP", "SSH-2.0-OpenSSH\r\n", "keep", "BROKE", 1],
    ["half a head", "HTTP/1.1 101 Swi", "end", "BROKE", 1],
    ["nothing", "", "end", "BROKE", 2, 2],
    ["a refusal", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "keep", "403 no", 0],
    [
      "a refusal of 100 KiB of head",
      `HTTP/1.1 403 No\r\n${big(100 * 1024)}Content-Length: 2\r\n\r\nno`,
      "keep",
      "403 no",
      0,
    ],
    ["a refusal that is cut", "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nno", "end", "403 no BROKE", 0],
    ["a redirect", "HTTP/1.1 302 There\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "keep", "302 ", 0],
    [
      "100, then a refusal",
      "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
      "keep",
      "403 no",
      0,
    ],
  ];
  test.each(wsRows.map((row) => ({ name: row[0], row })))("$name", async ({ row }) => {
    const [, bytes, then, expected, blame, times = 1] = row;
    answer = (socket) => {
      if (bytes !== "") socket.write(Buffer.from(bytes, "latin1"));
      if (then === "end") socket.end();
    };
    const id = connection.open({ websocket: true, target: "/case" });
    const stream = connection.stream(id);
    await connection.until(() => stream.reset !== undefined || stream.ended);
    expect({ outcome: outcome(stream), seen: seen(), blamed: blamed() }).toEqual({
      outcome: expected,
      seen: times,
      blamed: blame,
    });
    // A refused WebSocket is over when the client's half is, too.
    if (stream.reset === undefined) connection.session.reset(id, Reset.DONE, "done");
    expect(outcome(await connection.exchange({ target: "/ok" }))).toBe("200 ok");
    await expect.poll(() => node.held).toMatchObject({ streams: 0, servers: 0, bytes: 0, inFlight: [0, 0] });
    expect(node.faults).toEqual([]);
  });
});
