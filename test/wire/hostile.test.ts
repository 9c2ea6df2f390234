// A peer that breaks the protocol: in each state, one script of bytes after which the session must give exactly one fatal
// event, the last one, and then be deaf. Never an exception. And random bytes and frames on both roles.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Type } from "../../src/wire/frames.ts";
import * as limits from "../../src/wire/limits.ts";
import {
  encodeClose,
  encodeRequestHead,
  encodeResponseHead,
  type RequestHead,
  Reset,
} from "../../src/wire/messages.ts";
import { type Budget, Session, type SessionEvent } from "../../src/wire/session.ts";
import { edgeHello, nodeHello, seeded, type Side } from "./link.ts";
import { concat, decodeFrames, END, encodeFrames, MORE, raw } from "./oracle.ts";

const KIB = 1024;
const head: RequestHead = {
  websocket: false,
  service: "default/web",
  port: 80,
  client: "192.0.2.1",
  method: "POST",
  target: "/",
  headers: ["host", "web"],
};
const open = (id: number, flags = 0, websocket = false) =>
  raw(id, Type.OPEN | flags, encodeRequestHead({ ...head, websocket }));
const answer = (id: number, flags = 0, status = 200) =>
  raw(id, Type.HEAD | flags, encodeResponseHead({ status, headers: [] }));
const data = (id: number, size: number, flags = 0) => raw(id, Type.DATA | flags, new Uint8Array(size));
const hello: Record<Side, Uint8Array> = {
  // What the peer of this role says.
  edge: raw(0, Type.HELLO, nodeHello),
  node: raw(0, Type.HELLO, edgeHello),
};

/** The session of a role, under test, with all that it ever had to say. */
function under(side: Side, budget?: Budget): Session {
  return new Session({
    role: side,
    hello: side === "edge" ? edgeHello : nodeHello,
    ...(budget === undefined ? {} : { budget }),
  });
}

const repeated = (times: number, flags: number, size: number): Uint8Array =>
  encodeFrames(Array.from({ length: times }, () => ({ stream: 0, flags, payload: new Uint8Array(size) })));

const flush = (session: Session): Uint8Array[] => {
  const messages: Uint8Array[] = [];
  for (let each = session.take(64 * KIB); each !== undefined; each = session.take(64 * KIB)) messages.push(each);
  return messages;
};

/** An edge that is connected and has opened streams 1 (HTTP) and 2 (WebSocket). */
function edgeWithStreams(): Session {
  const session = under("edge");
  session.receive(hello.edge);
  session.openStream(head, undefined, false);
  session.openStream({ ...head, websocket: true }, undefined, false);
  flush(session);
  return session;
}

const fresh = (side: Side) => () => under(side);
const connected = (side: Side) => () => {
  const session = under(side);
  session.receive(hello[side]);
  flush(session);
  return session;
};

function dies(session: Session, script: readonly Uint8Array[]): string {
  const events: SessionEvent[] = [];
  for (const [index, message] of script.entries()) {
    events.push(...session.receive(message));
    // Only the last message of a script is the crime.
    if (index < script.length - 1) expect(events.filter((event) => event.type === "fatal")).toEqual([]);
  }
  const fatal = events.at(-1);
  if (fatal?.type !== "fatal") throw new Error(`not fatal: ${JSON.stringify(events.slice(-3))}`);
  expect(events.filter((event) => event.type === "fatal")).toHaveLength(1);
  expect(fatal.code).toBe(limits.CLOSE_VIOLATION);
  // Deaf: nothing is heard any more, and nothing is said but why.
  expect(session.receive(hello.edge)).toEqual([]);
  expect(session.receive(new Uint8Array(3))).toEqual([]);
  expect([session.open, session.held, session.canOpen]).toEqual([0, 0, false]);
  const frames = flush(session).flatMap(decodeFrames);
  expect(frames.at(-1)?.flags).toBe(Type.GOAWAY);
  expect(frames.filter((frame) => frame.stream !== 0)).toEqual([]);
  expect(session.receive(hello.edge)).toEqual([]);
  session.abandon();
  return fatal.reason;
}

type Crime = readonly [name: string, session: () => Session, reason: RegExp, ...script: Uint8Array[]];
const window = (id: number) => data(id, limits.STREAM_WINDOW);
const crimes: readonly Crime[] = [
  // Before HELLO.
  ["PING before HELLO", fresh("edge"), /before HELLO/, raw(0, Type.PING)],
  [
    "GOAWAY of a node before HELLO",
    fresh("edge"),
    /before HELLO/,
    raw(0, Type.GOAWAY, { reason: "", permanent: true }),
  ],
  ["CREDIT before HELLO", fresh("node"), /before HELLO/, raw(0, Type.CREDIT, 1)],
  ["REPORT before HELLO", fresh("edge"), /before HELLO/, raw(0, Type.REPORT, { endpoints: [] })],
  ["OPEN before HELLO", fresh("node"), /before HELLO/, open(1)],
  ["stream frame before HELLO", fresh("edge"), /before HELLO/, data(1, 1)],
  ["HELLO that is not JSON", fresh("edge"), /HELLO is not JSON/, raw(0, Type.HELLO, "{")],
  ["HELLO without versions", fresh("node"), /HELLO/, raw(0, Type.HELLO, { capabilities: [], software: "" })],
  ["HELLO of a node without its name", fresh("edge"), /lacks node/, raw(0, Type.HELLO, edgeHello)],
  ["an empty message", fresh("edge"), /empty message/, new Uint8Array(0)],

  // The connection.
  ["second HELLO to an edge", connected("edge"), /second HELLO/, hello.edge],
  ["second HELLO to a node", connected("node"), /second HELLO/, hello.node],
  ["two HELLOs in one message", fresh("edge"), /second HELLO/, concat(hello.edge, hello.edge)],
  ["REPORT from the edge", connected("node"), /REPORT from the edge/, raw(0, Type.REPORT, { endpoints: [] })],
  ["REPORT that is no report", connected("edge"), /REPORT/, raw(0, Type.REPORT, { endpoints: 3 })],
  ["GOAWAY that is no goaway", connected("edge"), /GOAWAY/, raw(0, Type.GOAWAY, [])],
  ["RESUME unasked", connected("edge"), /answers nothing/, raw(0, Type.RESUME, 1)],
  ["RESUME without its number", connected("node"), /RESUME is not 4 bytes/, raw(0, Type.RESUME)],
  ["CREDIT of zero", connected("edge"), /CREDIT of zero/, raw(0, Type.CREDIT, 0)],
  ["CREDIT of 3 bytes", connected("edge"), /not 4 bytes/, raw(0, Type.CREDIT, new Uint8Array(3))],
  ["CREDIT past the limit", connected("edge"), /too much/, raw(0, Type.CREDIT, 0x7fff_ffff)],
  [
    "CREDIT past the limit in two",
    connected("node"),
    /too much/,
    raw(0, Type.CREDIT, 0x7e00_0000),
    raw(0, Type.CREDIT, 0x0100_0000),
  ],
  [
    "a truncated message after a whole frame",
    connected("node"),
    /truncated/,
    concat(raw(0, Type.PING), new Uint8Array(5)),
  ],

  // Ids.
  ["OPEN from a node", connected("edge"), /OPEN from a node/, open(1)],
  ["OPEN replayed", connected("node"), /again or out of order/, open(1, END), open(1, END)],
  ["OPEN of a lower id", connected("node"), /again or out of order/, open(9, END), open(8, END)],
  ["OPEN replayed after its RESET", connected("node"), /again/, open(1), raw(1, Type.RESET, Uint8Array.of(1)), open(1)],
  ["OPEN past the id space", connected("node"), /again or out of order/, open(limits.STREAM_ID_MAX + 1)],
  ["data for an id never opened", connected("node"), /never opened/, open(1), data(2, 1)],
  ["RESET for an id never opened", connected("edge"), /never opened/, raw(1, Type.RESET, Uint8Array.of(1))],
  ["CREDIT for an id never opened", edgeWithStreams, /never opened/, raw(3, Type.CREDIT, 1)],
  ["OPEN whose head is no head", connected("node"), /request head/, raw(1, Type.OPEN, "[]")],
  ["END on the OPEN of a WebSocket", connected("node"), /END on the OPEN/, open(1, END, true)],

  // The order within a stream.
  ["HEAD from the edge", connected("node"), /HEAD from the edge/, open(1), answer(1)],
  ["DATA before HEAD", edgeWithStreams, /before the HEAD/, data(1, 1)],
  ["TEXT before HEAD", edgeWithStreams, /before the HEAD/, raw(2, Type.TEXT, "x")],
  ["CLOSE before HEAD", edgeWithStreams, /before the HEAD/, raw(2, Type.CLOSE, encodeClose(1000, ""))],
  ["second HEAD", edgeWithStreams, /second HEAD/, answer(1), answer(1)],
  ["HEAD whose head is no head", edgeWithStreams, /response head/, raw(1, Type.HEAD, "{}")],
  ["HEAD after END", edgeWithStreams, /after the end/, answer(1, END), answer(1)],
  ["DATA after END of HEAD", edgeWithStreams, /after the end/, answer(1, END), data(1, 1)],
  ["DATA after END", edgeWithStreams, /after the end/, answer(1), data(1, 1, END), data(1, 1)],
  ["DATA after END of OPEN", connected("node"), /after the end/, open(1, END), data(1, 1)],
  ["END twice", connected("node"), /after the end/, open(1), data(1, 0, END), data(1, 0, END)],
  ["empty DATA without END", connected("node"), /empty DATA/, open(1), data(1, 0)],
  ["an interim status", edgeWithStreams, /status 103/, answer(1, 0, 103)],
  ["101 to what is no WebSocket", edgeWithStreams, /status 101/, answer(1, 0, 101)],
  ["END on a WebSocket's 101", edgeWithStreams, /END on a WebSocket's 101/, answer(2, END, 101)],
  ["RESET without a code", edgeWithStreams, /RESET without a code/, raw(1, Type.RESET)],

  // Flow control.
  ["more than a stream's credit", connected("node"), /credit of stream 1/, open(1), window(1), data(1, 1)],
  [
    "more than a stream's credit, in TEXT",
    connected("node"),
    /credit of stream 1/,
    open(1, 0, true),
    raw(1, Type.TEXT, new Uint8Array(64 * KIB - 63)),
  ],
  [
    "more than the connection's credit, on streams that are reset",
    connected("node"),
    /connection's credit/,
    concat(open(1), raw(1, Type.RESET, Uint8Array.of(1))),
    // Ignored, but it costs until the session has said otherwise.
    ...Array.from({ length: limits.CONNECTION_WINDOW / limits.DATA_MAX }, () => window(1)),
    data(1, 1),
  ],
  ["CREDIT of a stream past the limit", edgeWithStreams, /too much/, raw(1, Type.CREDIT, 0x7fff_ffff)],
  ["CREDIT of zero to a stream", edgeWithStreams, /CREDIT of zero/, raw(1, Type.CREDIT, 0)],

  // WebSockets.
  ["TEXT on an HTTP stream", edgeWithStreams, /WebSocket frame/, answer(1), raw(1, Type.TEXT, "x")],
  ["BINARY on an HTTP stream", connected("node"), /WebSocket frame/, open(1), raw(1, Type.BINARY, "x")],
  ["CLOSE on an HTTP stream", connected("node"), /WebSocket frame/, open(1), raw(1, Type.CLOSE, encodeClose(1000, ""))],
  ["BINARY on a refused WebSocket", edgeWithStreams, /WebSocket frame/, answer(2, 0, 403), raw(2, Type.BINARY, "x")],
  ["DATA on a WebSocket", edgeWithStreams, /is a WebSocket/, answer(2, 0, 101), data(2, 1)],
  ["DATA to a WebSocket", connected("node"), /is a WebSocket/, open(1, 0, true), data(1, 0, END)],
  [
    "TEXT after CLOSE",
    connected("node"),
    /after the end/,
    open(1, 0, true),
    raw(1, Type.CLOSE, encodeClose(1000, "")),
    raw(1, Type.TEXT, "x"),
  ],
  [
    "CLOSE twice",
    connected("node"),
    /after the end/,
    open(1, 0, true),
    raw(1, Type.CLOSE, encodeClose(1000, "")),
    raw(1, Type.CLOSE, encodeClose(1000, "")),
  ],
  ["CLOSE without a code", connected("node"), /CLOSE without a code/, open(1, 0, true), raw(1, Type.CLOSE)],
  [
    "CLOSE within a message",
    connected("node"),
    /CLOSE within/,
    open(1, 0, true),
    raw(1, Type.TEXT | MORE, "x"),
    raw(1, Type.CLOSE, encodeClose(1000, "")),
  ],
  [
    "a message that changes its type",
    connected("node"),
    /changed its type/,
    open(1, 0, true),
    raw(1, Type.TEXT | MORE, "x"),
    raw(1, Type.BINARY, "x"),
  ],
  ["an empty part", connected("node"), /empty part/, open(1, 0, true), raw(1, Type.TEXT | MORE)],
  ["TEXT that is not UTF-8", connected("node"), /not UTF-8/, open(1, 0, true), raw(1, Type.TEXT, Uint8Array.of(0xff))],
  [
    "TEXT in parts that is not UTF-8",
    connected("node"),
    /not UTF-8/,
    open(1, 0, true),
    raw(1, Type.TEXT | MORE, Uint8Array.of(0xe2, 0x82)),
    raw(1, Type.TEXT, "x"),
  ],
];

for (const [name, session, reason, ...script] of crimes)
  test(name, () => {
    expect(dies(session(), script)).toMatch(reason);
  });

describe("streams that end with the connection", () => {
  test("are reset first; one whose OPEN never left may go elsewhere", () => {
    const session = edgeWithStreams();
    session.openStream(head, undefined, true);
    expect(session.receive(raw(0, Type.PING, new Uint8Array(0)).subarray(0, 3))).toMatchObject([
      { type: "reset", id: 1, code: Reset.BROKE, local: true },
      { type: "reset", id: 2, code: Reset.BROKE, local: true },
      { type: "reset", id: 3, code: Reset.NOT_SENT, local: true },
      { type: "fatal" },
    ]);
  });

  test("what came before the violation in the same message counts", () => {
    const session = edgeWithStreams();
    const events = session.receive(concat(answer(1), data(1, 5, END), data(1, 5)));
    expect(events.map((event) => event.type)).toEqual(["head", "reset", "reset", "fatal"]);
  });
});

describe("floods: what a peer provokes is bounded", () => {
  test("PINGs are answered by one PONG a flush", () => {
    const session = connected("node")();
    const pings = repeated(10_000, Type.PING, 0);
    for (let i = 0; i < 20; i++) session.receive(pings);
    expect(flush(session).map((message) => message.length)).toEqual([8]);
  });

  test("RESUMEs are answered by one RESUME a flush", () => {
    const session = connected("node")();
    const resumes = repeated(10_000, Type.RESUME, 4);
    for (let i = 0; i < 5; i++) session.receive(resumes);
    expect(flush(session).map((message) => message.length)).toEqual([12]);
  });

  test("OPENs over the limit, each of which would be answered by a RESET, end the connection", () => {
    const session = connected("node")();
    let id = 0;
    let fatal: SessionEvent | undefined;
    while (fatal === undefined && id < limits.STREAMS_MAX + 2 * limits.CONTROL_MAX)
      fatal = session.receive(open(++id)).find((event) => event.type === "fatal");
    expect(fatal).toMatchObject({ reason: expect.stringMatching(/reads none/) as unknown });
    expect(flush(session).reduce((sum, message) => sum + message.length, 0)).toBeLessThan(4 * 1024 * KIB);
  });

  test("a violation's reason is short, however much was wrong", () => {
    const session = connected("edge")();
    const endpoints = Array.from({ length: 1000 }, () => ({ endpoint: 1, reason: 2 }));
    const events = session.receive(raw(0, Type.REPORT, { endpoints }));
    expect(events).toMatchObject([{ type: "fatal" }]);
    expect((events[0] as { reason: string }).reason.length).toBeLessThanOrEqual(256);
  });

  test.each([
    ["body", Type.DATA, false],
    ["message", Type.BINARY, true],
  ] as const)("a small %s keeps no large message alive; a large one is not copied", (_name, type, websocket) => {
    const session = connected("node")();
    session.receive(open(1, 0, websocket));
    const bytesOf = (event: SessionEvent | undefined): unknown =>
      event?.type === "data" ? event.bytes : event?.type === "message" ? event.data : undefined;
    for (const [size, copied] of [
      [100, true],
      [50_000, false],
    ] as const) {
      // As Node.js has it: the message is a Buffer.
      const message = Buffer.from(concat(repeated(1000, Type.PING, 0), raw(1, type, new Uint8Array(size))));
      const bytes = bytesOf(session.receive(message)[0]) as Uint8Array;
      expect(bytes).toHaveLength(size);
      expect(bytes.buffer === message.buffer).toBe(!copied);
      session.consumed(1, size);
    }
  });

  test("small parts of a WebSocket message keep no large buffers alive", () => {
    const session = connected("node")();
    session.receive(open(1, 0, true));
    // One byte beside 60 KiB of frames that cost nothing: a view would keep them all.
    const message = concat(repeated(7000, Type.PING, 0), raw(1, Type.BINARY | MORE, new Uint8Array(1)));
    session.receive(message);
    const [event] = session.receive(raw(1, Type.BINARY, new Uint8Array(1)));
    expect(event?.type === "message" && typeof event.data !== "string" && event.data.buffer.byteLength).toBe(2);
  });
});

describe("fuzz: no exception, at most one fatal and it is the last, nothing held afterwards", () => {
  const bytes = fc.uint8Array({ maxLength: 64 });
  const types = [...Object.values(Type), 0x00, 0x3f];
  const payloads = fc.oneof(
    bytes,
    fc.constantFrom(
      encodeRequestHead(head),
      encodeRequestHead({ ...head, websocket: true }),
      encodeResponseHead({ status: 200, headers: [] }),
      encodeResponseHead({ status: 101, headers: [] }),
      Uint8Array.of(0, 0, 0, 1),
      Uint8Array.of(3, 232),
      new Uint8Array(0),
    ),
  );
  const frames = fc.array(
    fc.record({
      stream: fc.constantFrom(0, 0, 1, 1, 2, 2, 3, 4, 0xffff_ffff),
      flags: fc
        .tuple(fc.constantFrom(...types), fc.constantFrom(0, 0, 0, END, MORE))
        .map(([type, flag]) => type | flag),
      payload: payloads,
    }),
    { minLength: 1, maxLength: 12 },
  );

  test.each(["edge", "node"] as const)("%s", (side) => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(bytes, frames.map(encodeFrames)), { maxLength: 12 }),
        fc.integer(),
        (script, seed) => {
          const random = seeded(seed);
          const budget: Budget = { held: 0, limit: limits.BUDGET };
          const session = under(side, budget);
          if (random() < 0.9) session.receive(hello[side]);
          for (let i = 0; i < 4 && session.canOpen; i++)
            session.openStream({ ...head, websocket: i % 2 === 1 }, undefined, false);
          flush(session);
          let dead = false;
          for (const message of script) {
            const events = session.receive(message);
            if (dead) expect(events).toEqual([]);
            const fatal = events.findIndex((event) => event.type === "fatal");
            dead ||= fatal >= 0;
            if (fatal >= 0) expect(fatal).toBe(events.length - 1);
            expect(budget.held).toBe(session.held);
            if (dead) expect(session.held).toBe(0);
            // Whoever serves the streams does something too.
            for (const event of events) {
              if (event.type === "open" && random() < 0.7)
                session.respond(event.id, { status: event.head.websocket ? 101 : 200, headers: [] }, undefined, false);
              if (event.type === "data") session.consumed(event.id, event.bytes.length);
              if ("id" in event && random() < 0.1) session.reset(event.id, Reset.CANCELLED, "");
            }
            if (random() < 0.5) flush(session);
          }
          session.abandon();
          expect(budget.held).toBe(0);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
