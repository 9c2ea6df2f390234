// A peer that sends too much of what is allowed, or anything at all: what it provokes is bounded, and nothing throws.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Type } from "../../../src/shared/wire/frames.ts";
import * as limits from "../../../src/shared/wire/limits.ts";
import { Reset, encodeRequestHead, encodeResponseHead } from "../../../src/shared/wire/messages.ts";
import type { Budget, SessionEvent } from "../../../src/shared/wire/session.ts";
import { seeded } from "./link.ts";
import { END, raw, concat, encodeFrames, MORE } from "./oracle.ts";
import { KIB, head } from "./pair.ts";
import { connected, flush, hello, nodeWithWebSocket, open, repeated, under } from "./peers.ts";

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
    session.respond(1, { status: websocket ? 101 : 200, headers: [] }, undefined, false);
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
    const session = nodeWithWebSocket();
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
