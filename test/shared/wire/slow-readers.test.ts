// Who may hold how much: windows, WebSocket messages larger than them, stalled readers, budgets that connections share.
import { describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import type { Budget, SessionEvent } from "../../../src/shared/wire/session.ts";
import { other } from "./link.ts";
import { raw } from "./oracle.ts";
import { KIB, MIB, head, type Of, Pair, idOf, sizeOf } from "./pair.ts";

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
    expect(pair.of("edge", "reset")).toMatchObject([{ id, code: Reset.TOO_BIG }]);
    expect(pair.of("node", "reset")).toMatchObject([{ id, code: Reset.TOO_BIG }]);
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
    expect(pair.of("edge", "reset")).toMatchObject([{ id: greedy, code: Reset.STALLED }]);
    expect(pair.of("node", "reset")).toMatchObject([{ id: greedy, code: Reset.STALLED }]);
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
    expect(evicted).toMatchObject([{ type: "reset", code: Reset.STALLED }]);
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
