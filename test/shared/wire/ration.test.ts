// What a peer may make a session do unasked, by the clock that the test sets: floods end the connection after so many frames,
// and what answers carry costs nothing.
import { describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { Ration } from "../../../src/shared/wire/ration.ts";
import { Session } from "../../../src/shared/wire/session.ts";
import { edgeHello } from "./link.ts";
import { concat, encodeFrames, END, raw } from "./oracle.ts";
import { head } from "./pair.ts";
import { answer, data, flush, hello } from "./peers.ts";

function edge(ration?: Ration): Session {
  const session = new Session({ role: "edge", hello: edgeHello, ...(ration === undefined ? {} : { ration }) });
  session.receive(hello.edge, 0);
  session.openStream(head, undefined, true);
  session.openStream(head, undefined, true);
  session.receive(concat(answer(1), answer(2, END)), 0);
  flush(session);
  return session;
}
/** How many messages are heard at this moment before the connection ends; `most` where it does not. */
function heard(session: Session, message: Uint8Array, most: number, now = 0): number {
  for (let i = 0; i < most; i++) {
    if (session.receive(message, now).some((event) => event.type === "fatal")) return i;
    flush(session);
  }
  return most;
}
const many = (count: number, stream: number, flags: number, payload = new Uint8Array(0)): Uint8Array =>
  encodeFrames(Array.from({ length: count }, () => ({ stream, flags, payload })));
const u32 = Uint8Array.of(0, 0, 0, 1);

describe("a flood ends the connection before it costs more than its burst", () => {
  test.each([
    ["PING", many(100_000, 0, Type.PING)],
    ["PONG", many(100_000, 0, Type.PONG)],
    ["CREDIT of the connection", many(80_000, 0, Type.CREDIT, u32)],
    ["CREDIT of a stream", many(80_000, 1, Type.CREDIT, u32)],
    ["RESET of a stream that is over", many(80_000, 2, Type.RESET, Uint8Array.of(1))],
    ["DATA for a stream that is over", many(80_000, 2, Type.DATA, Uint8Array.of(1))],
  ])("%s in one message: what is behind the last frame that was paid for is not looked at", (_name, message) => {
    const reason = (bytes: Uint8Array) =>
      edge()
        .receive(bytes, 0)
        .find((event) => event.type === "fatal")?.reason;
    const half = Uint8Array.of(0, 0, 0);
    expect(reason(half)).toMatch(/truncated/);
    expect(reason(concat(message, half))).toMatch(/small frames/);
  });

  test.each([
    ["PING", raw(0, Type.PING)],
    ["CREDIT", raw(1, Type.CREDIT, u32)],
    ["RESET of a stream that is over", raw(2, Type.RESET, Uint8Array.of(1))],
    ["one byte of a body", data(1, 1)],
  ])("messages of one %s", (_name, message) => {
    const most = limits.WORK_BURST / limits.WORK_MESSAGE;
    const count = heard(edge(), message, 2 * most);
    expect(count).toBeLessThanOrEqual(most);
    expect(count).toBeGreaterThan(0.9 * most);
  });

  test("REPORTs by their size", () => {
    const report = { endpoints: Array.from({ length: 1000 }, () => ({ endpoint: "e".repeat(200), reason: "" })) };
    expect(heard(edge(), raw(0, Type.REPORT, report), 100)).toBeLessThan(5);
  });

  test("several connections of one object have twice as much together", () => {
    const shared = new Ration(undefined, 2);
    const sessions = Array.from({ length: 10 }, () => edge(shared));
    const pings = many(1_000, 0, Type.PING);
    const all = sessions.reduce((sum, session) => sum + heard(session, pings, 100), 0);
    expect(all).toBeLessThanOrEqual((2 * limits.WORK_BURST) / 1_000);
  });
});

describe("what anybody needs goes on for ever", () => {
  test("answers, as many as are asked for", () => {
    const session = edge();
    for (let i = 0; i < 100_000; i++) {
      const id = session.openStream(head, undefined, true);
      session.receive(concat(answer(id), data(id, 5, END)), 0);
      session.consumed(id, 5);
      flush(session);
    }
    expect(session.canOpen).toBe(true);
  });

  test("bodies in pieces of some size", () => {
    const session = edge();
    const piece = data(1, limits.TINY);
    for (let i = 0; i < 100_000; i++) {
      session.receive(piece, 0);
      session.consumed(1, limits.TINY);
      flush(session);
    }
    expect(session.canOpen).toBe(true);
  });

  test("tiny pieces and PINGs, some thousand a second", () => {
    const session = edge();
    const message = concat(data(1, 1), raw(0, Type.PING));
    for (let second = 1; second < 60; second++) {
      expect(heard(session, message, 2_000, second * 1000)).toBe(2_000);
      session.consumed(1, 2_000);
    }
  });

  test("a node's session counts nothing: no clock is given", () => {
    const session = new Session({ role: "node", hello: edgeHello });
    session.receive(hello.node);
    for (let i = 0; i < 20_000; i++) session.receive(raw(0, Type.PING));
    expect(session.peer).toBeDefined();
    expect(session.receive(raw(0, Type.PING))).toEqual([]);
  });
});

test("a clock that goes back gives nothing", () => {
  const ration = new Ration();
  expect(ration.take(limits.WORK_BURST, 1_000)).toBe(true);
  expect(ration.take(1, 500)).toBe(false);
  expect(ration.take(1, 1_010)).toBe(true);
});
