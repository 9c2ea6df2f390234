// A peer that breaks the protocol: in each state, one script of bytes after which the session must give exactly one fatal
// event, the last one, and then be deaf. Never an exception.
import { describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { Reset, encodeClose } from "../../../src/shared/wire/messages.ts";
import { Session, type SessionEvent } from "../../../src/shared/wire/session.ts";
import { edgeHello } from "./link.ts";
import { decodeFrames, END, raw, concat, MORE } from "./oracle.ts";
import { KIB, head } from "./pair.ts";
import { answer, connected, data, edgeWithStreams, flush, fresh, hello, nodeWithWebSocket, open } from "./peers.ts";

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

  // Probes.
  ["a probe without END", connected("node"), /a probe without END/, raw(1, Type.OPEN, [2, ""])],
  ["a probe of a number", connected("node"), /names no Service/, raw(1, Type.OPEN | END, [2, 80])],
  ["a probe of a node", connected("edge"), /OPEN from a node/, raw(1, Type.OPEN | END, [2, ""])],

  // The connection.
  ["second HELLO to an edge", connected("edge"), /second HELLO/, hello.edge],
  ["second HELLO to a node", connected("node"), /second HELLO/, hello.node],
  ["two HELLOs in one message", fresh("edge"), /second HELLO/, concat(hello.edge, hello.edge)],
  ["REPORT from the edge", connected("node"), /REPORT from the edge/, raw(0, Type.REPORT, { endpoints: [] })],
  ["REPORT that is no report", connected("edge"), /REPORT/, raw(0, Type.REPORT, { endpoints: 3 })],
  ["GOAWAY that is no goaway", connected("edge"), /GOAWAY/, raw(0, Type.GOAWAY, [])],
  [
    "GOAWAY, permanent, twice",
    connected("edge"),
    /one GOAWAY after the other/,
    raw(0, Type.GOAWAY, { reason: "", permanent: true }),
    raw(0, Type.GOAWAY, { reason: "", permanent: true }),
  ],
  [
    "GOAWAY without end",
    connected("edge"),
    /one GOAWAY after the other/,
    ...Array.from({ length: limits.GOAWAYS_MAX + 1 }, () => raw(0, Type.GOAWAY, { reason: "", permanent: false })),
  ],
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
  ["END on a WebSocket's 101", edgeWithStreams, /END on a WebSocket's 101/, answer(2, END, 101)],
  ["RESET without a code", edgeWithStreams, /RESET without a code/, raw(1, Type.RESET)],

  // Flow control.
  ["more than a stream's credit", connected("node"), /credit of stream 1/, open(1), window(1), data(1, 1)],
  [
    "more than a stream's credit, in TEXT",
    nodeWithWebSocket,
    /credit of stream 1/,
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
    nodeWithWebSocket,
    /after the end/,
    raw(1, Type.CLOSE, encodeClose(1000, "")),
    raw(1, Type.TEXT, "x"),
  ],
  [
    "CLOSE twice",
    nodeWithWebSocket,
    /after the end/,
    raw(1, Type.CLOSE, encodeClose(1000, "")),
    raw(1, Type.CLOSE, encodeClose(1000, "")),
  ],
  ["CLOSE without a code", nodeWithWebSocket, /CLOSE without a code/, raw(1, Type.CLOSE)],
  [
    "CLOSE with a code that nobody may send",
    nodeWithWebSocket,
    /nobody may send/,
    raw(1, Type.CLOSE, encodeClose(1005, "")),
  ],
  ["TEXT before the 101", connected("node"), /before its 101/, open(1, 0, true), raw(1, Type.TEXT, "x")],
  [
    "CLOSE before the 101",
    connected("node"),
    /before its 101/,
    open(1, 0, true),
    raw(1, Type.CLOSE, encodeClose(1000, "")),
  ],
  [
    "CLOSE within a message",
    nodeWithWebSocket,
    /CLOSE within/,
    raw(1, Type.TEXT | MORE, "x"),
    raw(1, Type.CLOSE, encodeClose(1000, "")),
  ],
  [
    "a message that changes its type",
    nodeWithWebSocket,
    /changed its type/,
    raw(1, Type.TEXT | MORE, "x"),
    raw(1, Type.BINARY, "x"),
  ],
  ["an empty part", nodeWithWebSocket, /empty part/, raw(1, Type.TEXT | MORE)],
  ["TEXT that is not UTF-8", nodeWithWebSocket, /not UTF-8/, raw(1, Type.TEXT, Uint8Array.of(0xff))],
  [
    "TEXT in parts that is not UTF-8",
    nodeWithWebSocket,
    /not UTF-8/,
    raw(1, Type.TEXT | MORE, Uint8Array.of(0xe2, 0x82)),
    raw(1, Type.TEXT, "x"),
  ],
];

for (const [name, session, reason, ...script] of crimes)
  test(name, () => {
    expect(dies(session(), script)).toMatch(reason);
  });

describe("a head whose content is wrong is the fault of its stream alone", () => {
  test.each([-1, 0, 99, 100, 103, 199, 600, 999, 1000, 1e9])("status %d", (status) => {
    const session = edgeWithStreams();
    expect(session.receive(concat(answer(1, 0, status), data(1, 5)))).toEqual([
      { type: "reset", id: 1, code: Reset.BROKE, reason: `an answer of status ${status}` },
    ]);
    expect([session.open, session.held]).toEqual([1, 0]);
    expect(flush(session).flatMap(decodeFrames)).toMatchObject([{ stream: 1, flags: Type.RESET }]);
    expect(session.receive(answer(2, 0, 101))).toMatchObject([{ type: "head", id: 2 }]);
  });

  test("101 to what is no WebSocket", () => {
    expect(edgeWithStreams().receive(answer(1, 0, 101))).toMatchObject([{ type: "reset", id: 1, code: Reset.BROKE }]);
  });
});

describe("streams that end with the connection", () => {
  test("are reset first; one whose OPEN never left may go elsewhere", () => {
    const session = edgeWithStreams();
    session.openStream(head, undefined, true);
    expect(session.receive(raw(0, Type.PING, new Uint8Array(0)).subarray(0, 3))).toMatchObject([
      { type: "reset", id: 1, code: Reset.BROKE },
      { type: "reset", id: 2, code: Reset.BROKE },
      { type: "reset", id: 3, code: Reset.NOT_SENT },
      { type: "fatal" },
    ]);
  });

  test("what came before the violation in the same message counts", () => {
    const session = edgeWithStreams();
    const events = session.receive(concat(answer(1), data(1, 5, END), data(1, 5)));
    expect(events.map((event) => event.type)).toEqual(["head", "reset", "reset", "fatal"]);
  });
});
