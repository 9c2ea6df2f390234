// How few frames an exchange takes, and who goes first when several have something to send.
import { describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { other, type Side } from "./link.ts";
import { KIB, MIB, head, ok, Pair } from "./pair.ts";

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

  test("small answers that leave together are still one event each", () => {
    const pair = new Pair();
    const ids = Array.from({ length: 20 }, () => pair.edge.openStream(head, new Uint8Array(10), true));
    pair.flow();
    expect(pair.events.node).toHaveLength(20);
    for (const id of ids) pair.node.respond(id, ok, new Uint8Array(KIB), true);
    pair.flow();
    expect(pair.messages).toEqual({ edge: 1, node: 1 });
    expect(pair.events.edge).toHaveLength(20);
    expect(pair.of("edge", "head").every((event) => event.end && event.body?.length === KIB)).toBe(true);
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
