// The edge loses its memory: what goes on, what is reset, what of the time before is ignored. README.md, Hibernation.
import { describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { type Hello, Reset } from "../../../src/shared/wire/messages.ts";
import { Session } from "../../../src/shared/wire/session.ts";
import { edgeHello } from "./link.ts";
import { decodeFrames, raw } from "./oracle.ts";
import { KIB, MIB, head, ok, Pair, idOf, sizeOf } from "./pair.ts";

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
      { type: "reset", id: bulk, code: Reset.CANCELLED },
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
