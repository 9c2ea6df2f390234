// A call that throws where a peer's bytes became calls ends its stream, or its connection, and no more.
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { Connection, type ServedStream, type Server } from "../../../agent/tunnel/connection.ts";
import { Faults } from "../../../agent/tunnel/faults.ts";
import { MESSAGE_MAX } from "../../../src/shared/wire/limits.ts";
import { type RequestHead, Reset } from "../../../src/shared/wire/messages.ts";
import { type EdgeConnection, TestEdge } from "./edge.ts";

let edge: TestEdge;
let node: Connection;
let connection: EdgeConnection;
let told: string[];
let resets: number;

const fail = (): never => {
  throw new Error("a bug");
};
const bytes = new Uint8Array(100);

/** By its target a server throws in the method of that name; "/ok" echoes the length of what it gets. */
function open(stream: ServedStream, { target }: RequestHead): Server {
  const at = target.slice(1);
  if (at === "open") fail();
  if (at === "fault") stream.fault(new Error("a bug"));
  if (at === "onDrained") {
    stream.respond({ status: 200, headers: [] });
    while (stream.write(new Uint8Array(65_536), false));
  }
  // Nothing may come before the 101.
  if (at === "onMessage" || at === "onClose") stream.respond({ status: 101, headers: [] });
  const server: Server = {
    onData: (data) => {
      stream.consumed(data.length);
      stream.respond({ status: 200, headers: [] });
      stream.write(Buffer.from(String(data.length)), true);
      stream.finished(true);
    },
    onMessage: () => {},
    onClose: () => {},
    onReset: () => {
      resets++;
      if (at === "onReset") fail();
    },
    onDrained: () => {},
  };
  return at in server && at !== "onReset" ? { ...server, [at]: fail } : server;
}

beforeEach(async () => {
  told = [];
  resets = 0;
  edge = new TestEdge();
  const url = await edge.start();
  const socket = new WebSocket(`ws://${url.host}/`, { perMessageDeflate: false, maxPayload: MESSAGE_MAX });
  node = new Connection(
    socket,
    { node: "n1", instance: "i", software: "test", started: 1 },
    { held: 0, limit: 1e9 },
    {
      onReady: () => {},
      onGoAway: (goAway) => void (goAway.reason === "throw" && fail()),
      onEnded: () => {},
      open,
      probe: fail,
      onFault: (_error, ended) => told.push(ended),
    },
  );
  connection = await edge.connection();
});

afterEach(() => edge.stop());

describe("a server that throws", () => {
  test.each<[string, (id: number) => void]>([
    ["open", () => {}],
    ["fault", () => {}],
    ["onData", (id) => void connection.session.write(id, bytes, true)],
    ["onMessage", (id) => void connection.session.sendMessage(id, "hi")],
    ["onClose", (id) => connection.session.sendClose(id, 1000, "")],
    ["onReset", (id) => connection.session.reset(id, Reset.CANCELLED, "")],
    ["onDrained", () => {}],
  ])("in %s: its stream is reset as broken, and the others go on", async (at, send) => {
    const other = connection.open({ target: "/ok" }, undefined, false);
    const id = connection.open(
      { target: `/${at}`, websocket: at === "onMessage" || at === "onClose" },
      undefined,
      false,
    );
    if (at === "onMessage" || at === "onClose") await connection.until(() => connection.stream(id).head !== undefined);
    send(id);
    connection.session.write(other, bytes, true);
    connection.flush();
    await connection.until(() => connection.stream(other).ended);
    if (at !== "onReset") {
      await connection.until(() => connection.stream(id).reset !== undefined);
      expect(connection.stream(id).reset?.code).toBe(Reset.BROKE);
    }
    await expect.poll(() => node.open).toEqual({ streams: 0, servers: 0 });
    expect(told).toEqual(["stream"]);
    // Whoever can hear it is told that the stream is over.
    expect(resets).toBe(at === "open" || at === "fault" ? 0 : 1);
    expect(Buffer.concat(connection.stream(other).body).toString()).toBe("100");
  });
});

test("what throws beside a stream costs the connection", async () => {
  connection.session.goAway("throw", false);
  connection.flush();
  await connection.until(() => connection.ended);
  expect(told).toEqual(["connection"]);
});

test("faults are counted, and told at most once in ten seconds", () => {
  vi.useFakeTimers({ now: 0 });
  try {
    const lines: { faults: number; msg: string; err: { message: string } }[] = [];
    const faults = new Faults(pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }));
    for (let i = 1; i <= 5; i++) faults.tell(new Error(`bug ${i}`), "stream");
    vi.setSystemTime(10_000);
    faults.tell(new Error("bug 6"), "connection");
    expect(lines.map(({ faults: count, err }) => [count, err.message])).toEqual([
      [1, "bug 1"],
      [6, "bug 6"],
    ]);
    expect(lines[1]?.msg).toContain("one connection");
    expect(faults.count).toBe(6);
  } finally {
    vi.useRealTimers();
  }
});
