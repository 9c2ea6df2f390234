// Clients that leave at every point, by FIN and by RST, many at once: nothing of theirs stays, no process ends, no tunnel
// breaks, and a stranger's requests go on meanwhile as if they were not there.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isAlive } from "../e2e/emulation.ts";
import { Backend, type Behaviour, response } from "./backend.ts";
import { type EdgeProgram, fdsOf, inFlight, startEdge, statusAt } from "./programs.ts";
import { valuesOf, Wire } from "./wire.ts";
import { type Report, stallMs, type Witness, witness } from "./witness.ts";

const BACKENDS = ["127.52.2.1", "127.52.2.2"];
const TIMES = 12;
/** What somebody holds who is gone comes free when TCP asks for him, after half a minute. A busy machine makes seconds. */
const HELD_MS = 10_000;

/** Streams for as long as anybody listens. */
const streams: Behaviour = {
  early: true,
  answer(socket) {
    socket.write(response("HTTP/1.1 200 OK\nContent-Type: text/event-stream"));
    const timer = setInterval(() => socket.write("data: tick\n\n"), 20);
    socket.once("close", () => clearInterval(timer));
  },
};
/** As much as is taken. */
const floods: Behaviour = {
  answer(socket) {
    socket.write(response("HTTP/1.1 200 OK\nContent-Length: 1000000000"));
    const block = Buffer.alloc(64 * 1024);
    const more = () => {
      while (!socket.destroyed && socket.write(block));
    };
    socket.on("drain", more);
    more();
  },
};
const silent: Behaviour = { answer: () => {} };
const greets: Behaviour = {
  answer(socket) {
    socket.write(
      response(
        "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
      ),
    );
    socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
  },
};

const LENGTH = "Content-Length: 300000\r\n";
const CHUNKED = "Transfer-Encoding: chunked\r\n";
const chunk = (bytes: number) => `${bytes.toString(16)}\r\n${"c".repeat(bytes)}\r\n`;
const UPGRADE =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

interface Point {
  readonly name: string;
  readonly backend?: Behaviour;
  /** {H} and {R} as in the table. */
  readonly bytes: string;
  /** What the client still sees before it leaves. */
  readonly until?: "seen" | "head" | "body";
}

const head = (method: string, headers = "") => `${method} /leave HTTP/1.1\r\nHost: {H}\r\n{R}\r\n${headers}\r\n`;
const points: readonly Point[] = [
  { name: "before a byte", bytes: "" },
  { name: "in the request line", bytes: "GET /lea" },
  { name: "in the head", bytes: "POST /leave HTTP/1.1\r\nHost: {H}\r\nContent-Le" },
  { name: "after the head of an upload", bytes: head("POST", LENGTH) },
  { name: "after the head of a chunked upload", bytes: head("POST", CHUNKED) },
  { name: "in an upload", bytes: `${head("POST", LENGTH)}${"u".repeat(200_000)}`, until: "seen" },
  { name: "in a chunked upload", bytes: `${head("POST", CHUNKED)}${chunk(100_000)}${chunk(100_000)}`, until: "seen" },
  { name: "in a chunk", bytes: `${head("PUT", CHUNKED)}fffff\r\n${"x".repeat(70_000)}`, until: "seen" },
  { name: "in a chunk's size", bytes: `${head("POST", CHUNKED)}${chunk(10)}1`, until: "seen" },
  { name: "before the answer to a GET", bytes: head("GET"), backend: silent, until: "seen" },
  {
    name: "before the answer to a POST",
    bytes: `${head("POST", "Content-Length: 5\r\n")}hello`,
    backend: silent,
    until: "seen",
  },
  {
    name: "before the answer to a chunked POST",
    bytes: `${head("POST", CHUNKED)}${chunk(5)}0\r\n\r\n`,
    backend: silent,
    until: "seen",
  },
  { name: "in the answer to a GET", bytes: head("GET"), backend: streams, until: "body" },
  {
    name: "in the answer to a POST (S1)",
    bytes: `${head("POST", "Content-Length: 5\r\n")}hello`,
    backend: streams,
    until: "body",
  },
  {
    name: "in the answer to a chunked POST (S1)",
    bytes: `${head("POST", CHUNKED)}${chunk(5)}0\r\n\r\n`,
    backend: streams,
    until: "body",
  },
  { name: "in a large answer to a GET", bytes: head("GET"), backend: floods, until: "body" },
  {
    name: "in a large answer to a POST (S1)",
    bytes: `${head("POST", "Content-Length: 5\r\n")}hello`,
    backend: floods,
    until: "body",
  },
  {
    name: "in upload and answer at once (S8)",
    bytes: `${head("POST", CHUNKED)}${chunk(150_000)}`,
    backend: streams,
    until: "body",
  },
  { name: "before the answer to a HEAD", bytes: head("HEAD"), backend: silent, until: "seen" },
  {
    name: "with two more requests in the pipe",
    bytes: `${head("GET")}${head("GET")}${head("GET")}`,
    backend: silent,
    until: "seen",
  },
  { name: "in a WebSocket's handshake", bytes: head("GET", UPGRADE), backend: silent, until: "seen" },
  { name: "in a WebSocket", bytes: head("GET", UPGRADE), backend: greets, until: "head" },
  {
    name: "in a WebSocket's handshake that is refused",
    bytes: head("GET", UPGRADE),
    backend: { answer: (socket) => void socket.write(response("HTTP/1.1 403 No\nContent-Length: 1000\n", "no")) },
    until: "head",
  },
];

let backend: Backend;
let edge: EdgeProgram;
let bystander: Witness;
let servers: number[];
/** Of the listener proxy and workerd, and of the agents: open files before anybody left. */
let before: Map<number, number>;
let connections: number;
let undisturbed: Report;
let disturbed: Report | undefined;
beforeAll(async () => {
  backend = new Backend();
  await backend.listen(BACKENDS);
  bystander = await witness("127.52.2.3");
  const endpoints = { addresses: BACKENDS, port: backend.port };
  edge = await startEdge(
    [
      { name: "tun", transport: "tunnel", endpoints },
      { name: "dir", transport: "direct", endpoints },
      { name: "other", transport: "tunnel", endpoints: { addresses: ["127.52.2.3"], port: bystander.port } },
    ],
    { address: "127.50.2.1" },
  );
  servers = [...edge.servers(), ...edge.agents.values()];
  // Warm: pools have their connections.
  await Promise.all(
    transports.flatMap((service) => Array.from({ length: 16 }, async () => statusAt(edge.door(service)))),
  );
  before = new Map(servers.map((pid) => [pid, fdsOf(pid)]));
  connections = backend.connections;
  bystander.watch(edge.door("other"));
  // Among as many as will leave, who stay: what is late because the machine is busy shows here, too.
  for (const end = performance.now() + 2_000; performance.now() < end; )
    await Promise.all(
      transports.flatMap((service) => Array.from({ length: TIMES }, async () => statusAt(edge.door(service)))),
    );
  undisturbed = await bystander.report();
});
afterAll(async () => {
  bystander?.stop();
  await edge?.stop();
  backend?.close();
});

const transports = ["tun", "dir"];

async function leave(service: string, { bytes, until }: Point, id: string, how: "FIN" | "RST"): Promise<void> {
  const door = edge.door(service);
  using wire = await Wire.connect(door);
  wire.send(bytes.replaceAll("{H}", door.authority).replaceAll("{R}", `X-Row: ${id}`));
  if (until === "seen") await backend.until(() => backend.seen(id).length > 0, 5_000);
  if (until === "head") await wire.head(0, 5_000);
  if (until === "body") await wire.head(1, 5_000);
  if (how === "RST") return wire.reset();
  const closed = Promise.withResolvers<void>();
  wire.socket.once("close", () => closed.resolve());
  wire.socket.destroy();
  await closed.promise;
}

describe("clients leave", () => {
  test.for(points.map((point, index) => ({ ...point, index })))("$name", async ({ index, ...point }) => {
    backend.on(
      `l${index}`,
      point.backend ?? { answer: (socket) => void socket.write(response("HTTP/1.1 200 OK\nContent-Length: 2", "ok")) },
    );
    for (const service of transports)
      for (const how of ["FIN", "RST"] as const)
        await Promise.all(
          Array.from({ length: TIMES }, async (_, i) => leave(service, point, `l${index}.${service}.${how}.${i}`, how)),
        );
    expect(servers.filter((pid) => !isAlive(pid))).toEqual([]);
    for (const service of transports) expect([service, await statusAt(edge.door(service))]).toEqual([service, 200]);
  });
});

describe("afterwards", () => {
  test("streams are back, and tunnels are the same", async () => {
    // A FIN alone may be a half-close: that its sender is gone shows when TCP asks, after half a minute.
    await expect
      .poll(async () => [...(await inFlight(edge))], { timeout: 80_000, interval: 250 })
      .toEqual([
        ["n1", 0],
        ["n2", 0],
      ]);
    expect(edge.said()).not.toMatch(/This is a bug|TypeError|the agent failed|tunnel.*(closed|lost|ended)/i);
  });

  test("servers are rid of those connections", async () => {
    // A pool may keep some for the next.
    await expect
      .poll(() => backend.connections, { timeout: 80_000, interval: 250 })
      .toBeLessThanOrEqual(connections + 40);
  });

  test("open files are about as many as before", async () => {
    const grown = () => servers.map((pid) => [pid, Math.max(0, fdsOf(pid) - (before.get(pid) ?? 0) - 40)]);
    await expect.poll(grown, { timeout: 60_000, interval: 250 }).toEqual(servers.map((pid) => [pid, 0]));
  });

  test("uploads are not slower for it: what was held came back (S8)", async () => {
    backend.on("after", {
      answer: (socket, { bodyBytes }) =>
        void socket.write(response(`HTTP/1.1 200 OK\nContent-Length: ${String(bodyBytes).length}`, String(bodyBytes))),
    });
    const door = edge.door("tun");
    using wire = await Wire.connect(door);
    wire.send(
      `POST /after HTTP/1.1\r\nHost: ${door.authority}\r\nX-Row: after\r\n${CHUNKED}\r\n${chunk(100_000).repeat(20)}0\r\n\r\n`,
      "POST",
    );
    expect(String((await wire.answer())?.body)).toBe("2000000");
    expect(valuesOf(backend.seen("after")[0]?.fields ?? [], "x-row")).toEqual(["after"]);
  });

  test("somebody else did not notice", async () => {
    // Asked once: another try has to judge the same.
    disturbed ??= await bystander.report();
    const { requests, worstMs, mostMs, failures } = disturbed;
    expect(failures).toEqual([]);
    expect(requests).toBeGreaterThan(20);
    expect(worstMs).toBeLessThan(HELD_MS);
    expect(mostMs).toBeLessThan(stallMs(undisturbed));
  });
});
