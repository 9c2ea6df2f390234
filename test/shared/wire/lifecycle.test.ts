// How connections begin and end, and streams with them: HELLO, GOAWAY, RESET, and frames that cross one.
import { describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { encodeResponseHead, Reset } from "../../../src/shared/wire/messages.ts";
import { Session } from "../../../src/shared/wire/session.ts";
import { edgeHello, nodeHello } from "./link.ts";
import { decodeFrames, raw } from "./oracle.ts";
import { KIB, MIB, head, ok, Pair } from "./pair.ts";

describe("HELLO", () => {
  test("commands before the peer's HELLO keep the order: HELLO first", () => {
    const edge = new Session({ role: "edge", hello: edgeHello });
    const node = new Session({ role: "node", hello: nodeHello });
    node.ping();
    node.report({ endpoints: [] });
    expect(edge.canOpen).toBe(false);
    expect(edge.receive(node.take(64 * KIB) as Uint8Array).map((event) => event.type)).toEqual(["hello", "report"]);
    expect(edge.canOpen).toBe(true);
    expect(node.receive(edge.take(64 * KIB) as Uint8Array).map((event) => event.type)).toEqual(["hello", "pong"]);
    expect(node.peer).toEqual(edgeHello);
    expect(edge.peer).toEqual(nodeHello);
  });

  test("the versions need one in common; unknown capabilities and fields are ignored", () => {
    const edge = new Session({ role: "edge", hello: edgeHello });
    const hello = { ...nodeHello, versions: [7, 1], capabilities: ["teleport"], colour: "red" };
    expect(edge.receive(raw(0, Type.HELLO, hello)).map((event) => event.type)).toEqual(["hello"]);
  });

  test("a node that does not say that it answers probes is sent none", () => {
    const edge = new Session({ role: "edge", hello: edgeHello });
    edge.receive(raw(0, Type.HELLO, { ...nodeHello, capabilities: ["teleport"] }));
    expect([edge.canOpen, edge.canProbe]).toEqual([true, false]);
    expect(() => edge.openProbe({})).toThrow();
  });

  test.each(["edge", "node"] as const)("none in common: the %s refuses for good, naming both lists", (side) => {
    const own = { ...(side === "edge" ? edgeHello : nodeHello), versions: [3, 2] };
    const session = new Session({ role: side, hello: own });
    session.take(64 * KIB);
    const theirs = { ...(side === "edge" ? nodeHello : edgeHello), versions: [9, 8] };
    const events = session.receive(raw(0, Type.HELLO, theirs));
    expect(events).toMatchObject([{ type: "fatal", code: limits.CLOSE_REVOKED }]);
    const [goAway] = decodeFrames(session.take(64 * KIB) as Uint8Array);
    expect(goAway?.flags).toBe(Type.GOAWAY);
    const said: unknown = JSON.parse(Buffer.from(goAway?.payload ?? []).toString());
    expect(said).toMatchObject({ permanent: true });
    expect(JSON.stringify(said)).toMatch(/unsupported-version.*3, 2.*9, 8/);
    expect(session.canOpen).toBe(false);
    // The other side hears why, before it has had a HELLO.
    const peer = new Session({ role: side === "edge" ? "node" : "edge", hello: theirs });
    if (side === "edge")
      expect(peer.receive(raw(0, Type.GOAWAY, said))).toMatchObject([{ type: "goaway", goAway: { permanent: true } }]);
  });
});

describe("GOAWAY", () => {
  test("open streams finish; those that were not sent yet are handed back; no new ones", () => {
    const pair = new Pair();
    const running = pair.answered();
    pair.node.goAway("upgrade", false);
    const notSent = pair.edge.openStream(head, undefined, true);
    pair.flow([]);
    // It was taken in the same flow before GOAWAY arrived: sent, so it is served.
    expect(pair.of("node", "open").map((event) => event.id)).toContain(notSent);
    pair.node.respond(notSent, ok, undefined, true);
    pair.node.write(running, new Uint8Array(KIB), true);
    pair.edge.write(running, new Uint8Array(0), true);
    pair.flow();
    expect(pair.of("edge", "goaway")).toMatchObject([{ goAway: { reason: "upgrade", permanent: false } }]);
    expect(pair.edge.canOpen).toBe(false);
    expect(() => pair.edge.openStream(head, undefined, true)).toThrow();
    expect([pair.edge.open, pair.node.open]).toEqual([0, 0]);
  });

  test("the PONG behind a GOAWAY proves that no OPEN is on its way", () => {
    const pair = new Pair();
    pair.node.goAway("upgrade", false);
    pair.node.ping();
    // Its socket is full: this one is still here when the GOAWAY arrives.
    const waiting = pair.edge.openStream(head, undefined, true);
    pair.give("edge", pair.take("node") as Uint8Array);
    expect(pair.of("edge", "reset")).toMatchObject([{ id: waiting, code: Reset.NOT_SENT }]);
    pair.flow();
    expect(pair.events.node).toMatchObject([{ type: "pong" }]);
    expect([pair.edge.open, pair.node.open]).toEqual([0, 0]);
  });

  test("an edge that said GOAWAY opens nothing more", () => {
    const pair = new Pair();
    pair.edge.goAway("token revoked", true);
    expect(pair.edge.canOpen).toBe(false);
    pair.flow();
    expect(pair.of("node", "goaway")).toMatchObject([{ goAway: { permanent: true } }]);
  });

  test("a reason of any length arrives", () => {
    const pair = new Pair();
    pair.node.goAway("r".repeat(10_000), false);
    pair.flow();
    expect(pair.of("edge", "fatal")).toEqual([]);
    expect(pair.of("edge", "goaway")).toHaveLength(1);
  });
});

describe("resets", () => {
  test("a stream reset before its OPEN was taken: the node never hears of it", () => {
    const pair = new Pair();
    const id = pair.edge.openStream(head, new Uint8Array(KIB), true);
    pair.edge.reset(id, Reset.CANCELLED, "gone");
    expect(pair.take("edge")).toBeUndefined();
    const next = pair.answered();
    expect(next).toBe(id + 1);
    expect(pair.of("node", "open").map((event) => event.id)).toEqual([next]);
    expect(pair.edge.open).toBe(1);
  });

  test("frames that cross a reset are ignored, and their bytes given back", () => {
    const pair = new Pair();
    const id = pair.answered();
    // Far more than the connection's credit, in streams that are reset while their bytes are on the way.
    for (let i = 0; i < (2 * limits.CONNECTION_WINDOW) / limits.STREAM_WINDOW; i++) {
      const crossed = pair.answered();
      pair.node.write(crossed, new Uint8Array(limits.STREAM_WINDOW), false);
      pair.forget();
      const message = pair.take("node", 128 * KIB) as Uint8Array;
      pair.edge.reset(crossed, Reset.CANCELLED, "");
      expect(pair.give("edge", message)).toEqual([]);
      expect(pair.edge.held).toBe(0);
      pair.flow();
    }
    pair.node.write(id, new Uint8Array(MIB), true);
    pair.flow();
    expect(pair.bytes("edge", id)).toBe(MIB);
    expect(pair.edge.open).toBe(1);
  });

  test("consumed, written, responded after a reset: no-ops", () => {
    const pair = new Pair();
    const id = pair.answered();
    pair.node.write(id, new Uint8Array(KIB), false);
    pair.flow([]);
    pair.edge.reset(id, Reset.CANCELLED, "");
    pair.edge.consumed(id, KIB);
    expect(pair.edge.held).toBe(0);
    pair.flow();
    pair.forget();
    expect(pair.node.write(id, new Uint8Array(KIB), true)).toBe(true);
    pair.node.respond(id, ok, undefined, true);
    pair.node.sendMessage(id, "x");
    pair.node.sendClose(id, 1000, "");
    pair.node.reset(id, Reset.BROKE, "");
    expect(pair.take("node")).toBeUndefined();
  });

  test("a reset wakes a paused producer on either side", () => {
    for (const [from, by] of [
      ["node", "node"],
      ["node", "edge"],
      ["edge", "edge"],
      ["edge", "node"],
    ] as const) {
      const pair = new Pair();
      const id = pair.answered();
      expect(pair.sessions[from].write(id, new Uint8Array(MIB), false)).toBe(false);
      pair.sessions[by].reset(id, Reset.BROKE, "");
      pair.flow();
      expect(pair.sessions[from].takeDrained()).toEqual([id]);
    }
  });

  test("too many streams: refused with overloaded, never dialled", () => {
    const pair = new Pair();
    for (let i = 0; i < limits.STREAMS_MAX; i++) pair.edge.openStream(head, undefined, true);
    expect(pair.edge.canOpen).toBe(false);
    pair.flow();
    // The edge forgot one that the node still serves: only the node knows that there is no room.
    pair.edge.reset(1, Reset.CANCELLED, "");
    const message = pair.take("edge") as Uint8Array;
    const id = pair.edge.openStream(head, undefined, true);
    pair.give("node", pair.take("edge") as Uint8Array);
    pair.flow();
    expect(pair.of("edge", "reset")).toMatchObject([{ id, code: Reset.OVERLOADED }]);
    expect(pair.give("node", message)).toMatchObject([{ type: "reset", id: 1 }]);
  });

  test("a head that no frame can hold: the request throws here, the answer becomes too-big there", () => {
    const pair = new Pair();
    const long = ["x-long", "x".repeat(limits.HEAD_MAX)];
    expect(() => pair.edge.openStream({ ...head, headers: long }, undefined, true)).toThrow(RangeError);
    expect(pair.edge.open).toBe(0);
    const id = pair.edge.openStream(head, undefined, true);
    pair.flow();
    pair.node.respond(id, { status: 200, headers: long }, undefined, true);
    pair.flow();
    expect(pair.of("edge", "reset")).toMatchObject([{ id, code: Reset.TOO_BIG }]);
    expect([pair.edge.open, pair.node.open]).toEqual([0, 0]);
  });

  test("what an answer's head says for the log alone is left out where there is no room for it", () => {
    const pair = new Pair();
    const id = pair.edge.openStream({ ...head, traced: true }, undefined, true);
    pair.flow();
    const room = limits.HEAD_MAX - encodeResponseHead({ status: 200, headers: ["x-long", ""] }).length;
    const by = { endpoint: "10.0.0.1:80", sentAfterMs: 1, answeredAfterMs: 2 };
    pair.node.respond(id, { status: 200, headers: ["x-long", "x".repeat(room)], by }, undefined, true);
    pair.flow();
    expect(pair.of("edge", "head")).toMatchObject([{ id, head: { status: 200 } }]);
    expect(pair.of("edge", "head")[0]?.head.by).toBeUndefined();
  });
});

test("a refused WebSocket goes on as HTTP", () => {
  const pair = new Pair();
  const id = pair.edge.openStream({ ...head, websocket: true }, undefined, false);
  pair.flow();
  pair.node.respond(id, { status: 403, headers: [] }, new Uint8Array(10), true);
  pair.flow();
  expect(pair.of("edge", "head")).toMatchObject([{ id, head: { status: 403 }, end: true }]);
  pair.edge.write(id, new Uint8Array(0), true);
  pair.flow();
  expect(pair.of("node", "data")).toMatchObject([{ id, end: true }]);
  expect([pair.edge.open, pair.node.open]).toEqual([0, 0]);
});
