// The session's promises one by one, on two joined sessions where order is steered by hand: who goes first, who may hold how
// much, what a restart, a GOAWAY, a RESET in flight mean, and how few frames it takes.
import { describe, expect, test } from "vitest";
import { Type } from "../../src/wire/frames.ts";
import * as limits from "../../src/wire/limits.ts";
import { type Hello, type RequestHead, Reset } from "../../src/wire/messages.ts";
import { type Budget, Session, type SessionEvent } from "../../src/wire/session.ts";
import { edgeHello, nodeHello, other, type Side } from "./link.ts";
import { decodeFrames, END, raw } from "./oracle.ts";

const KIB = 1024;
const MIB = 1024 * 1024;
const head: RequestHead = {
  websocket: false,
  service: "default/web",
  port: 80,
  client: "192.0.2.1",
  method: "GET",
  target: "/",
  headers: ["host", "web"],
};
const ok = { status: 200, headers: ["content-type", "text/plain"] };
const upgraded = { status: 101, headers: [] };

type Of<T extends SessionEvent["type"]> = Extract<SessionEvent, { type: T }>;

/** Two sessions after their HELLOs, and every event that each side has had. */
class Pair {
  readonly sessions: Record<Side, Session>;
  readonly events: Record<Side, SessionEvent[]> = { edge: [], node: [] };
  readonly frames: Record<Side, { stream: number; type: number; size: number }[]> = { edge: [], node: [] };
  readonly messages: Record<Side, number> = { edge: 0, node: 0 };

  constructor(budgets: Partial<Record<Side, Budget>> = {}, onEvicted?: (side: Side, event: SessionEvent) => void) {
    const options = (side: Side) => ({
      ...(budgets[side] === undefined ? {} : { budget: budgets[side] }),
      ...(onEvicted === undefined ? {} : { onEvicted: (event: SessionEvent) => onEvicted(side, event) }),
    });
    this.sessions = {
      edge: new Session({ role: "edge", hello: edgeHello, ...options("edge") }),
      node: new Session({ role: "node", hello: nodeHello, ...options("node") }),
    };
    this.flow();
    this.forget();
  }

  get edge(): Session {
    return this.sessions.edge;
  }
  get node(): Session {
    return this.sessions.node;
  }

  forget(): void {
    for (const side of ["edge", "node"] as const) {
      this.events[side].length = 0;
      this.frames[side].length = 0;
      this.messages[side] = 0;
    }
  }

  /** One message of `from`, not delivered. */
  take(from: Side, maxBytes = 64 * KIB): Uint8Array | undefined {
    const message = this.sessions[from].take(maxBytes);
    if (message === undefined) return undefined;
    this.messages[from]++;
    for (const { stream, flags, payload } of decodeFrames(message))
      this.frames[from].push({ stream, type: flags & 0x3f, size: payload.length });
    return message;
  }

  give(to: Side, message: Uint8Array): SessionEvent[] {
    const events = this.sessions[to].receive(message);
    this.events[to].push(...events);
    return events;
  }

  /** All that can move, moves. `read`: which side's consumers take everything at once. */
  flow(read: readonly Side[] = ["edge", "node"]): void {
    let rounds = 0;
    for (let moved = true; moved; rounds++) {
      if (rounds > 100_000) throw new Error("it flows for ever");
      moved = false;
      for (const from of ["edge", "node"] as const) {
        const message = this.take(from);
        if (message === undefined) continue;
        moved = true;
        const to = other(from);
        for (const event of this.give(to, message))
          if (read.includes(to)) this.sessions[to].consumed(idOf(event), sizeOf(event));
      }
    }
  }

  of<T extends SessionEvent["type"]>(side: Side, type: T): Of<T>[] {
    return this.events[side].filter((event): event is Of<T> => event.type === type);
  }

  /** A stream that the node has answered with 200, or 101. */
  answered(websocket = false): number {
    const id = this.edge.openStream({ ...head, websocket }, undefined, false);
    this.flow();
    this.node.respond(id, websocket ? upgraded : ok, undefined, false);
    this.flow();
    return id;
  }

  /** Bytes of body and messages that a side has received, by stream. */
  bytes(side: Side, id: number): number {
    return this.events[side].reduce((sum, event) => sum + (idOf(event) === id ? sizeOf(event) : 0), 0);
  }
}

const idOf = (event: SessionEvent): number => ("id" in event ? event.id : 0);
function sizeOf(event: SessionEvent): number {
  if (event.type === "data") return event.bytes.length;
  if (event.type === "message") return event.size;
  return event.type === "open" || event.type === "head" ? (event.body?.length ?? 0) : 0;
}

describe("how few frames", () => {
  test("a small exchange is one message and one event each way", () => {
    const pair = new Pair();
    for (let i = 0; i < 100; i++) {
      const id = pair.edge.openStream(head, undefined, true);
      pair.flow();
      pair.node.respond(id, ok, new Uint8Array(KIB), true);
      pair.flow();
    }
    expect(pair.messages).toEqual({ edge: 100, node: 100 });
    expect(pair.frames.edge.map((frame) => frame.type)).toEqual(Array(100).fill(Type.OPEN));
    expect(pair.frames.node).toHaveLength(200);
    expect(pair.events.edge).toHaveLength(100);
    expect(pair.events.node).toHaveLength(100);
    expect(pair.of("edge", "head").every((event) => event.end && event.body?.length === KIB)).toBe(true);
    expect([pair.edge.open, pair.node.open]).toEqual([0, 0]);
  });

  test.each([
    ["down", "node"],
    ["up", "edge"],
  ] as const)("a bulk body %s costs at most six CREDIT frames a MiB", (_name, from) => {
    const pair = new Pair();
    const id = pair.answered();
    pair.forget();
    for (let i = 0; i < 64; i++) {
      pair.sessions[from].write(id, new Uint8Array(MIB), i === 63);
      pair.flow();
    }
    expect(pair.bytes(other(from), id)).toBe(64 * MIB);
    const credits = pair.frames[other(from)].filter((frame) => frame.type === Type.CREDIT).length;
    expect(credits / 64).toBeLessThanOrEqual(6);
    expect(pair.frames[other(from)]).toHaveLength(credits);
  });
});

describe("turns", () => {
  /** Bytes taken before the first frame of `id`. */
  function bytesBefore(pair: Pair, from: Side, id: number): number {
    pair.forget();
    while (!pair.frames[from].some((frame) => frame.stream === id)) if (pair.take(from) === undefined) return Infinity;
    const first = pair.frames[from].findIndex((frame) => frame.stream === id);
    return pair.frames[from].slice(0, first).reduce((sum, frame) => sum + frame.size, 0);
  }

  test.each([1, 4])("a small answer goes out after at most one frame of each of %i bulk streams", (bulks) => {
    const pair = new Pair();
    const small = pair.edge.openStream(head, undefined, true);
    for (let i = 0; i < bulks; i++) {
      const id = pair.answered();
      // A reader that keeps up, and so has a large window.
      for (let j = 0; j < 4; j++) {
        pair.node.write(id, new Uint8Array(MIB), false);
        pair.flow();
      }
      pair.node.write(id, new Uint8Array(4 * MIB), false);
    }
    pair.take("node");
    pair.node.respond(small, ok, new Uint8Array(KIB), true);
    expect(bytesBefore(pair, "node", small)).toBeLessThanOrEqual(bulks * limits.DATA_MAX);
  });

  test("a new request goes out after at most one frame of a bulk upload", () => {
    const pair = new Pair();
    const bulk = pair.answered();
    pair.edge.write(bulk, new Uint8Array(4 * MIB), false);
    const small = pair.edge.openStream(head, undefined, true);
    expect(bytesBefore(pair, "edge", small)).toBeLessThanOrEqual(limits.DATA_MAX);
  });

  test("PONG, RESET and CREDIT go ahead of all data", () => {
    const pair = new Pair();
    const [bulk, gone] = [pair.answered(), pair.answered()];
    pair.node.write(bulk, new Uint8Array(MIB), false);
    pair.edge.ping();
    pair.give("node", pair.take("edge") as Uint8Array);
    pair.node.reset(gone, Reset.BROKE, "");
    pair.forget();
    pair.take("node", 1);
    pair.take("node", 1);
    expect(pair.frames.node.map((frame) => frame.type)).toEqual([Type.PONG, Type.RESET]);
  });

  test("a message never exceeds the limit, whatever is asked for and whatever waits", () => {
    const pair = new Pair();
    const ids = Array.from({ length: 8 }, () => pair.answered());
    const endpoints = Array.from({ length: 200 }, () => ({ endpoint: "e".repeat(600), reason: "r" }));
    for (const id of ids) {
      pair.node.write(id, new Uint8Array(MIB), false);
      pair.node.report({ endpoints });
    }
    for (let message = pair.take("node", 16 * MIB); message !== undefined; message = pair.take("node", 16 * MIB)) {
      expect(message.length).toBeLessThanOrEqual(limits.MESSAGE_MAX);
      expect(pair.give("edge", message).filter((event) => event.type === "fatal")).toEqual([]);
    }
  });
});

describe("slow readers", () => {
  test("an unread body stops at its window; its producer is told when it may go on", () => {
    const pair = new Pair();
    const id = pair.answered();
    expect(pair.node.write(id, new Uint8Array(MIB), false)).toBe(false);
    pair.flow([]);
    expect(pair.bytes("edge", id)).toBe(limits.STREAM_WINDOW);
    expect(pair.edge.held).toBe(limits.STREAM_WINDOW);
    expect(pair.node.takeDrained()).toEqual([]);
    pair.edge.consumed(id, limits.STREAM_WINDOW);
    pair.flow();
    expect(pair.bytes("edge", id)).toBe(MIB);
    expect(pair.node.takeDrained()).toEqual([id]);
    expect(pair.node.takeDrained()).toEqual([]);
    expect(pair.edge.held).toBe(0);
  });

  test("a window grows to 512 KiB for a reader that keeps up, and no further", () => {
    const pair = new Pair();
    const id = pair.answered();
    for (let i = 0; i < 16; i++) {
      pair.node.write(id, new Uint8Array(MIB), false);
      pair.flow();
    }
    pair.forget();
    pair.node.write(id, new Uint8Array(16 * MIB), false);
    pair.flow([]);
    expect(pair.bytes("edge", id)).toBe(limits.STREAM_WINDOW_MAX);
  });

  test.each([
    [0.3, limits.STREAM_WINDOW],
    [0.6, limits.STREAM_WINDOW_MIN],
  ])("with %d of the budget held, a window shrinks to %i bytes, and still moves", (share, window) => {
    const budget: Budget = { held: 0, limit: 8 * MIB };
    const pair = new Pair({ edge: budget });
    const id = pair.answered();
    for (let i = 0; i < 8; i++) {
      pair.node.write(id, new Uint8Array(MIB), false);
      pair.flow();
    }
    budget.held = budget.limit * share;
    pair.node.write(id, new Uint8Array(8 * MIB), false);
    // The large window is used up once; then the small one holds.
    for (const most of [limits.STREAM_WINDOW_MAX, window, window]) {
      pair.forget();
      pair.flow([]);
      expect(pair.bytes("edge", id)).toBeGreaterThan(0);
      expect(pair.bytes("edge", id)).toBeLessThanOrEqual(most);
      pair.edge.consumed(id, pair.bytes("edge", id));
    }
  });

  test("unread WebSocket messages larger than the window stop too, and one at a time they all pass", () => {
    const pair = new Pair();
    const id = pair.answered(true);
    for (let i = 0; i < 40; i++) pair.node.sendMessage(id, new Uint8Array(200 * KIB));
    pair.flow([]);
    expect(pair.edge.held).toBeLessThanOrEqual(200 * KIB + limits.STREAM_WINDOW_MAX);
    let read = 0;
    while (read < pair.of("edge", "message").length) {
      pair.edge.consumed(id, (pair.of("edge", "message")[read++] as Of<"message">).size);
      pair.flow([]);
    }
    expect(read).toBe(40);
    expect(pair.edge.held).toBe(0);
  });

  test("empty WebSocket messages are held back as well", () => {
    const pair = new Pair();
    const id = pair.answered(true);
    for (let i = 0; i < 10_000; i++) pair.node.sendMessage(id, "");
    expect(pair.node.queued(id)).toBeGreaterThan(limits.STREAM_QUEUE_MAX);
    pair.flow([]);
    expect(pair.of("edge", "message").length).toBeLessThan(2000);
    pair.edge.consumed(id, pair.bytes("edge", id));
    pair.flow();
    expect(pair.of("edge", "message")).toHaveLength(10_000);
  });

  test("a WebSocket message of the largest size passes each way, unread before it is whole", () => {
    for (const from of ["edge", "node"] as const) {
      const pair = new Pair();
      const id = pair.answered(true);
      pair.sessions[from].sendMessage(id, new Uint8Array(limits.WEBSOCKET_MESSAGE_MAX).fill(7));
      pair.sessions[from].sendMessage(id, "after");
      pair.flow();
      const to = other(from);
      expect(pair.of(to, "reset")).toEqual([]);
      const [large, small] = pair.of(to, "message");
      expect(large?.data).toHaveLength(limits.WEBSOCKET_MESSAGE_MAX);
      expect(typeof large?.data !== "string" && large?.data.every((byte) => byte === 7)).toBe(true);
      expect(small?.data).toBe("after");
      expect(pair.sessions[to].held).toBe(0);
    }
  });

  test("a WebSocket message of one byte more resets its stream (too-big), and nothing else", () => {
    const pair = new Pair();
    const [id, neighbour] = [pair.answered(true), pair.answered(true)];
    pair.node.sendMessage(id, new Uint8Array(limits.WEBSOCKET_MESSAGE_MAX + 1));
    pair.flow();
    expect(pair.of("edge", "reset")).toMatchObject([{ id, code: Reset.TOO_BIG, local: true }]);
    expect(pair.of("node", "reset")).toMatchObject([{ id, code: Reset.TOO_BIG, local: false }]);
    expect(pair.edge.held).toBe(0);
    pair.node.sendMessage(neighbour, "alive");
    pair.flow();
    expect(pair.of("edge", "message")).toMatchObject([{ id: neighbour, data: "alive" }]);
  });

  test("many stalled readers: others keep flowing; past three quarters the one that holds most goes", () => {
    const pair = new Pair({ edge: { held: 0, limit: 4 * MIB } });
    const quick = pair.answered();
    const greedy = pair.answered();
    // Its reader keeps up at first and so is granted a large window; then it stalls.
    pair.node.write(greedy, new Uint8Array(512 * KIB), false);
    pair.flow();
    pair.node.write(greedy, new Uint8Array(512 * KIB), false);
    pair.flow([]);
    pair.forget();
    const stalled: number[] = [];
    while (pair.of("edge", "reset").length === 0) {
      stalled.push(pair.answered());
      pair.node.write(stalled.at(-1) as number, new Uint8Array(MIB), false);
      pair.flow([]);
      expect(stalled.length).toBeLessThan(100);
      pair.node.write(quick, new Uint8Array(10), false);
      const before = pair.bytes("edge", quick);
      pair.flow([]);
      expect(pair.bytes("edge", quick)).toBe(before + 10);
      pair.edge.consumed(quick, 10);
    }
    expect(pair.of("edge", "reset")).toMatchObject([{ id: greedy, code: Reset.STALLED, local: true }]);
    expect(pair.of("node", "reset")).toMatchObject([{ id: greedy, code: Reset.STALLED, local: false }]);
    expect(pair.edge.held).toBeLessThanOrEqual(3 * MIB);
    // Those that are left still come through when they are read.
    for (const id of stalled) pair.edge.consumed(id, pair.bytes("edge", id));
    pair.flow();
    for (const id of stalled) expect(pair.bytes("edge", id)).toBe(MIB);
  });

  test("a connection has a limit of its own, however large the budget", () => {
    const pair = new Pair({ edge: { held: 0, limit: 1024 * MIB } });
    const ids = Array.from({ length: limits.CONNECTION_WINDOW / limits.STREAM_WINDOW }, () => pair.answered());
    for (const id of ids) pair.node.write(id, new Uint8Array(limits.STREAM_WINDOW), false);
    pair.flow([]);
    expect(pair.edge.held).toBe(limits.CONNECTION_WINDOW * 0.75);
    expect(pair.of("edge", "reset")).toHaveLength(ids.length / 4);
  });

  test("streams that wait for the connection's credit go on with it, each byte once", () => {
    const pair = new Pair();
    const ids = Array.from({ length: 2 * (limits.CONNECTION_WINDOW / limits.STREAM_WINDOW) }, () =>
      pair.edge.openStream(head, new Uint8Array(40 * KIB), false),
    );
    const onTheWay: Uint8Array[] = [];
    for (let message = pair.take("edge"); message !== undefined; message = pair.take("edge")) onTheWay.push(message);
    // While they wait, they get more to send.
    for (const id of ids) {
      pair.edge.write(id, new Uint8Array(KIB), false);
      expect(pair.take("edge")).toBeUndefined();
      pair.edge.write(id, new Uint8Array(KIB), true);
    }
    for (const message of onTheWay)
      for (const event of pair.give("node", message)) pair.node.consumed(idOf(event), sizeOf(event));
    pair.flow();
    for (const id of ids) expect(pair.bytes("node", id)).toBe(42 * KIB);
    expect(pair.node.held).toBe(0);
  });

  test("one budget, two connections: what one holds is not paid by the other's streams", () => {
    const budget: Budget = { held: 0, limit: 2 * MIB };
    const evicted: SessionEvent[] = [];
    const greedy = new Pair({ edge: budget }, (_side, event) => evicted.push(event));
    const ids = Array.from({ length: 24 }, () => greedy.answered());
    for (const id of ids) greedy.node.write(id, new Uint8Array(MIB), false);
    greedy.flow([]);
    expect(budget.held).toBe(1.5 * MIB);

    const modest = new Pair({ edge: budget });
    const id = modest.answered();
    for (let i = 0; i < 50; i++) {
      modest.node.write(id, new Uint8Array(20 * KIB), i === 49);
      modest.flow();
    }
    expect(modest.of("edge", "reset")).toEqual([]);
    expect(modest.bytes("edge", id)).toBe(1000 * KIB);
    expect(evicted).toMatchObject([{ type: "reset", code: Reset.STALLED, local: true }]);
    // The node hears of it as well.
    greedy.flow([]);
    expect(greedy.of("node", "reset")).toMatchObject([{ id: idOf(evicted[0] as SessionEvent), code: Reset.STALLED }]);
    greedy.edge.abandon();
    modest.edge.abandon();
    expect(budget.held).toBe(0);
  });

  test("what a violation left behind goes back to the budget", () => {
    const budget: Budget = { held: 0, limit: MIB };
    const pair = new Pair({ edge: budget });
    const id = pair.answered();
    pair.node.write(id, new Uint8Array(KIB), true);
    pair.flow([]);
    expect(budget.held).toBe(KIB);
    pair.give("edge", raw(id, Type.DATA, "after the end"));
    expect(pair.of("edge", "fatal")).toHaveLength(1);
    expect(budget.held).toBe(0);
    pair.edge.abandon();
    expect(budget.held).toBe(0);
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
});

describe("restart of the edge", () => {
  const restart = (pair: Pair, state = pair.edge.save()) => {
    pair.sessions.edge = new Session({ role: "edge", hello: edgeHello, restore: state });
  };

  test("idle: goes on with higher ids, after one RESUME each way", () => {
    const pair = new Pair();
    const before = pair.answered();
    pair.edge.reset(before, Reset.CANCELLED, "");
    pair.flow();
    restart(pair);
    pair.forget();
    expect(pair.edge.canOpen).toBe(true);
    const id = pair.edge.openStream(head, undefined, true);
    expect(id).toBeGreaterThan(before);
    pair.flow();
    expect(pair.frames.edge.map((frame) => frame.type)).toEqual([Type.RESUME, Type.OPEN]);
    expect(pair.events.node).toMatchObject([{ type: "resumed" }, { type: "open", id }]);
    pair.node.respond(id, ok, undefined, true);
    pair.flow();
    expect(pair.of("edge", "head")).toMatchObject([{ id, end: true }]);
    expect([pair.edge.open, pair.node.open]).toEqual([0, 0]);
  });

  test("with streams open: the node's are reset, what was on the way is ignored, windows start anew", () => {
    const pair = new Pair();
    const bulk = pair.answered();
    const state = pair.edge.save();
    pair.node.write(bulk, new Uint8Array(MIB), false);
    const onTheWay = pair.take("node") as Uint8Array;
    pair.forget();
    restart(pair, state);
    const id = pair.edge.openStream(head, undefined, false);
    expect(pair.give("edge", onTheWay)).toEqual([]);
    expect(pair.edge.held).toBe(0);
    pair.flow();
    expect(pair.events.node).toMatchObject([
      { type: "reset", id: bulk, code: Reset.CANCELLED, local: false },
      { type: "resumed" },
      { type: "open", id },
    ]);
    expect(pair.node.takeDrained()).toEqual([bulk]);
    pair.node.respond(id, ok, new Uint8Array(2 * MIB), true);
    pair.flow();
    expect(pair.bytes("edge", id)).toBe(2 * MIB);
  });

  test("bytes that were on their way before the restart earn no credit in the new time", () => {
    const pair = new Pair();
    const ids = Array.from({ length: 128 }, () => pair.answered());
    const state = pair.edge.save();
    for (const id of ids) pair.node.write(id, new Uint8Array(limits.STREAM_WINDOW), false);
    const onTheWay: Uint8Array[] = [];
    for (let message = pair.take("node"); message !== undefined; message = pair.take("node")) onTheWay.push(message);
    restart(pair, state);
    pair.forget();
    for (const message of onTheWay) expect(pair.give("edge", message)).toEqual([]);
    pair.flow();
    expect(pair.frames.edge.map((frame) => frame.type)).toEqual([Type.RESUME]);
  });

  test("credit that was on its way before the restart is not counted", () => {
    const pair = new Pair();
    const state = pair.edge.save();
    // The node owes the connection a quarter of its window.
    for (let i = 0; i < 8; i++) {
      const id = pair.answered();
      pair.edge.write(id, new Uint8Array(limits.CONNECTION_WINDOW / 32), true);
      for (let turns = 0; pair.edge.queued(id) > 0; turns++) {
        expect(turns).toBeLessThan(1000);
        const message = pair.take("edge");
        if (message !== undefined) {
          for (const event of pair.give("node", message)) pair.node.consumed(idOf(event), sizeOf(event));
        }
        const grants = pair.take("node");
        if (grants === undefined) continue;
        const credit = decodeFrames(grants).filter((frame) => frame.stream === 0);
        if (credit.length > 0) {
          restart(pair, state);
          pair.give("edge", grants);
          expectWholeWindow(pair);
          return;
        }
        pair.give("edge", grants);
      }
    }
    expect.unreachable("the node never gave credit to the connection");
  });

  /** The edge sends just one window of data to readers that take nothing. */
  function expectWholeWindow(pair: Pair): void {
    pair.flow();
    for (let i = 0; i < limits.CONNECTION_WINDOW / limits.STREAM_WINDOW + 8; i++)
      pair.edge.openStream(head, new Uint8Array(limits.STREAM_WINDOW), true);
    pair.forget();
    while (pair.take("edge") !== undefined);
    const sent = pair.frames.edge.reduce((sum, frame) => sum + (frame.type === Type.DATA ? frame.size : 0), 0);
    expect(sent).toBe(limits.CONNECTION_WINDOW);
  }

  test("ids are never used twice, however often and whenever the edge is lost", () => {
    const pair = new Pair();
    let state = pair.edge.save();
    let saves = 0;
    const used = new Set<number>();
    for (const opens of [0, 1, limits.STREAM_ID_BLOCK - 1, limits.STREAM_ID_BLOCK, limits.STREAM_ID_BLOCK + 1, 0, 3]) {
      for (let i = 0; i < opens; i++) {
        const id = pair.edge.openStream(head, undefined, true);
        expect(used.has(id), `id ${id} again`).toBe(false);
        used.add(id);
        if (pair.edge.unsaved) {
          state = pair.edge.save();
          saves++;
        }
        if (i % 100 === 0) pair.flow();
        pair.edge.reset(id, Reset.CANCELLED, "");
      }
      restart(pair, state);
      pair.flow();
    }
    expect(pair.of("node", "fatal")).toEqual([]);
    // Each is a write of the socket's attachment: one in 1,024 streams, and one after a loss.
    expect(saves).toBeLessThanOrEqual(10);
  });

  test("the state fits a socket's attachment, even with the longest HELLO", () => {
    const hello: Hello = {
      versions: Array(16).fill(1000),
      capabilities: Array(32).fill("c".repeat(64)),
      software: "s".repeat(128),
      node: "n".repeat(253),
      instance: "i".repeat(128),
      started: Number.MAX_SAFE_INTEGER,
    };
    const edge = new Session({ role: "edge", hello: edgeHello });
    edge.receive(raw(0, Type.HELLO, { ...hello, versions: [1, ...hello.versions.slice(1)] }));
    const state = edge.save();
    expect(structuredClone(state)).toEqual(state);
    expect(JSON.stringify(state).length).toBeLessThan(8 * KIB);
  });

  test("GOAWAY is remembered", () => {
    const pair = new Pair();
    pair.node.goAway("upgrade", false);
    pair.flow();
    restart(pair);
    expect(pair.edge.goneAway).toBe(true);
    expect(pair.edge.canOpen).toBe(false);
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
    expect(pair.of("edge", "reset")).toMatchObject([{ id: waiting, code: Reset.NOT_SENT, local: true }]);
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
  expect(END).toBe(0x80);
});
