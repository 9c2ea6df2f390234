// The codec against the naive one of oracle.ts, and against bytes that no honest peer writes.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, END, type Frame, HEADER, MORE, Type, Violation, write } from "../../../src/shared/wire/frames.ts";
import { DATA_MAX, HEAD_MAX, MESSAGE_MAX } from "../../../src/shared/wire/limits.ts";
import { concat, decodeFrames, encodeFrames, type PlainFrame, raw } from "./oracle.ts";

const connectionTypes = [Type.HELLO, Type.GOAWAY, Type.PING, Type.PONG, Type.RESUME, Type.REPORT, Type.CREDIT];
const streamTypes = [Type.OPEN, Type.HEAD, Type.DATA, Type.RESET, Type.TEXT, Type.BINARY, Type.CLOSE, Type.CREDIT];
/** README.md's longest payloads. */
const longest: Record<number, number> = {
  [Type.HELLO]: HEAD_MAX,
  [Type.GOAWAY]: HEAD_MAX,
  [Type.PING]: 0,
  [Type.PONG]: 0,
  [Type.RESUME]: 4,
  [Type.REPORT]: HEAD_MAX,
  [Type.CREDIT]: 4,
  [Type.OPEN]: HEAD_MAX,
  [Type.HEAD]: HEAD_MAX,
  [Type.DATA]: DATA_MAX,
  [Type.RESET]: 257,
  [Type.TEXT]: DATA_MAX,
  [Type.BINARY]: DATA_MAX,
  [Type.CLOSE]: 125,
};

const frameOn = (stream: fc.Arbitrary<number>, types: readonly number[]): fc.Arbitrary<PlainFrame> =>
  fc.tuple(stream, fc.constantFrom(...types), fc.boolean(), fc.uint8Array({ maxLength: 300 })).map(
    ([id, type, flag, payload]): PlainFrame => ({
      stream: id,
      flags: type | (flag ? flagOf(type) : 0),
      payload: payload.subarray(0, longest[type]),
    }),
  );
const legalFrame = fc.oneof(
  frameOn(fc.constant(0), connectionTypes),
  frameOn(fc.integer({ min: 1, max: 0xffff_ffff }), streamTypes),
);

function flagOf(type: number): number {
  if (type === Type.OPEN || type === Type.HEAD || type === Type.DATA) return END;
  return type === Type.TEXT || type === Type.BINARY ? MORE : 0;
}

/** All frames of a message. */
const all = (message: Uint8Array): Frame[] => {
  const frames: Frame[] = [];
  decode(message, (frame) => frames.push(frame) > 0);
  return frames;
};
const plain = (frame: Frame): PlainFrame => ({
  stream: frame.stream,
  flags: frame.type | (frame.end ? END : 0) | (frame.more ? MORE : 0),
  payload: Uint8Array.from(frame.payload),
});

describe("codec and oracle agree", () => {
  test("what the oracle writes, decode reads", () => {
    fc.assert(
      fc.property(fc.array(legalFrame, { minLength: 1, maxLength: 20 }), (frames) => {
        expect(all(encodeFrames(frames)).map(plain)).toEqual(frames.map((f) => ({ ...f, payload: f.payload.slice() })));
      }),
    );
  });

  test("what write writes, the oracle reads", () => {
    fc.assert(
      fc.property(fc.array(legalFrame, { minLength: 1, maxLength: 20 }), (frames) => {
        const into = new Uint8Array(frames.reduce((sum, each) => sum + HEADER + each.payload.length, 0));
        let at = 0;
        for (const each of frames) at = write(into, at, each.stream, each.flags, each.payload);
        expect(at).toBe(into.length);
        expect(Buffer.compare(into, encodeFrames(frames))).toBe(0);
        expect(decodeFrames(into)).toEqual(frames);
      }),
    );
  });

  test("payloads at their longest", () => {
    for (const type of [...connectionTypes, ...streamTypes]) {
      const stream = type < Type.CREDIT ? 0 : 7;
      const payload = new Uint8Array(longest[type] as number).fill(type);
      expect(plain(all(raw(stream, type, payload))[0] as Frame)).toEqual({ stream, flags: type, payload });
    }
  });
});

describe("bytes of a stranger", () => {
  // Random headers that are nearly right reach deeper than random bytes alone.
  const nearly = fc
    .array(fc.tuple(fc.constantFrom(0, 1, 2, 0xffff_ffff), fc.nat(255), fc.nat(40), fc.nat(40)), { maxLength: 8 })
    .map((parts) =>
      concat(
        ...parts.map(([stream, flags, claimed, actual]) => {
          const bytes = raw(stream, flags, new Uint8Array(actual));
          bytes[7] = claimed;
          return bytes;
        }),
      ),
    );

  test("decode throws Violation or yields frames that lie within the message, whole and in order", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          nearly,
          legalFrame.map((f) => encodeFrames([f])),
        ),
        (bytes) => {
          // The message is a window into a larger buffer: a read outside would see 0xee.
          const around = new Uint8Array(bytes.length + 64).fill(0xee);
          around.set(bytes, 32);
          const message = around.subarray(32, 32 + bytes.length);
          let frames: Frame[];
          try {
            frames = all(message);
          } catch (error) {
            expect(error).toBeInstanceOf(Violation);
            return;
          }
          let at = message.byteOffset;
          for (const { payload } of frames) {
            expect(payload.buffer).toBe(message.buffer);
            expect(payload.byteOffset).toBe(at + HEADER);
            at = payload.byteOffset + payload.byteLength;
          }
          expect(at).toBe(message.byteOffset + message.byteLength);
        },
      ),
      { numRuns: 1000 },
    );
  });

  const whole = raw(1, Type.DATA, "abcdef");
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["nothing at all", new Uint8Array(0), /empty message/],
    ["header cut to one byte", whole.subarray(0, 1), /truncated frame header/],
    ["header cut to seven bytes", whole.subarray(0, 7), /truncated frame header/],
    ["second header cut", concat(whole, whole.subarray(0, 4)), /truncated frame header/],
    ["payload one byte short", whole.subarray(0, whole.length - 1), /truncated frame payload/],
    ["payload missing", whole.subarray(0, 8), /truncated frame payload/],
    [
      "length that reaches into nowhere",
      Uint8Array.of(0, 0, 0, 1, Type.HEAD, 3, 0xff, 0xff),
      /truncated frame payload/,
    ],
    ["length of 16 MiB", Uint8Array.of(0, 0, 0, 1, Type.DATA, 0xff, 0xff, 0xff), /exceeds 65536/],
    ["message over 1 MiB", new Uint8Array(MESSAGE_MAX + 1), /exceeds 1048576/],
    ...[Type.PING, Type.PONG, Type.RESUME, Type.CREDIT, Type.HELLO, Type.GOAWAY, Type.REPORT].map(
      (type) =>
        [
          `type ${type} one byte too long`,
          raw(0, type, new Uint8Array((longest[type] as number) + 1)),
          /exceeds/,
        ] as const,
    ),
    ...[Type.OPEN, Type.HEAD, Type.DATA, Type.RESET, Type.TEXT, Type.BINARY, Type.CLOSE].map(
      (type) =>
        [
          `type ${type} one byte too long`,
          raw(1, type, new Uint8Array((longest[type] as number) + 1)),
          /exceeds/,
        ] as const,
    ),
    ...[0x00, 0x08, 0x0f, 0x17, 0x3f].map(
      (type) => [`unknown type ${type}`, raw(1, type), /unknown frame type/] as const,
    ),
    ...[Type.HELLO, Type.GOAWAY, Type.PING, Type.PONG, Type.RESUME, Type.REPORT].map(
      (type) => [`type ${type} on a stream`, raw(5, type), /on stream 5/] as const,
    ),
    ...[Type.OPEN, Type.HEAD, Type.DATA, Type.RESET, Type.TEXT, Type.BINARY, Type.CLOSE].map(
      (type) => [`type ${type} on the connection`, raw(0, type), /on stream 0/] as const,
    ),
    ...[Type.RESET, Type.TEXT, Type.BINARY, Type.CLOSE, Type.CREDIT].map(
      (type) => [`END on type ${type}`, raw(1, type | END), /END on frame type/] as const,
    ),
    ["END on PING", raw(0, Type.PING | END), /END on frame type/],
    ...[Type.OPEN, Type.HEAD, Type.DATA, Type.RESET, Type.CLOSE, Type.CREDIT].map(
      (type) => [`MORE on type ${type}`, raw(1, type | MORE), /MORE on frame type/] as const,
    ),
    ["MORE on HELLO", raw(0, Type.HELLO | MORE), /MORE on frame type/],
  ];
  test.each(cases)("%s", (_name, message, reason) => {
    expect(() => all(message)).toThrow(Violation);
    expect(() => all(message)).toThrow(reason);
  });
});
