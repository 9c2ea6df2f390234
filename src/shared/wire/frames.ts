// The codec between the bytes of a message and frames. It knows lengths and types; streams and their order are session.ts's.
// Payloads of decoded frames are views into the message: whoever keeps one keeps the whole message in memory.
import { CLOSE_REASON_MAX, DATA_MAX, HEAD_MAX, MESSAGE_MAX, REASON_MAX } from "./limits.ts";

export const HEADER = 8;
export const END = 0x80;
export const MORE = 0x40;
const TYPE_MASK = 0x3f;

export const Type = {
  HELLO: 0x01,
  GOAWAY: 0x02,
  PING: 0x03,
  PONG: 0x04,
  RESUME: 0x05,
  REPORT: 0x06,
  CREDIT: 0x07,
  OPEN: 0x10,
  HEAD: 0x11,
  DATA: 0x12,
  RESET: 0x13,
  TEXT: 0x14,
  BINARY: 0x15,
  CLOSE: 0x16,
} as const;
export type Type = (typeof Type)[keyof typeof Type];

export interface Frame {
  readonly stream: number;
  readonly type: Type;
  readonly end: boolean;
  readonly more: boolean;
  readonly payload: Uint8Array;
}

/** A peer broke the protocol. Thrown by decoding and parsing only; the session turns it into one fatal event. */
export class Violation extends Error {}

/** Longest payload of each type; a type not listed is unknown. */
const maxPayload: Readonly<Record<number, number>> = {
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
  [Type.RESET]: 1 + REASON_MAX,
  [Type.TEXT]: DATA_MAX,
  [Type.BINARY]: DATA_MAX,
  [Type.CLOSE]: 2 + CLOSE_REASON_MAX,
};
/** Types that belong to the connection; CREDIT belongs to both. */
const isConnectionType = (type: number): boolean => type <= Type.REPORT;

/**
 * Gives the frames of a message to `take`, one after the other, until it returns false. A frame is decoded when its turn has come, so
 * those behind the last one cost nothing. Throws Violation at the first frame that is truncated, too long, unknown or on the wrong
 * stream. (A generator would read better, but it costs three times as much, and this runs for every message.)
 */
export function decode(message: Uint8Array, take: (frame: Frame) => boolean): void {
  if (message.length > MESSAGE_MAX) throw new Violation(`message of ${message.length} bytes exceeds ${MESSAGE_MAX}`);
  if (message.length === 0) throw new Violation("empty message");
  for (let at = 0; at < message.length; ) {
    if (message.length - at < HEADER) throw new Violation("truncated frame header");
    const stream = readU32(message, at);
    const flags = message[at + 4] as number;
    const length =
      ((message[at + 5] as number) << 16) | ((message[at + 6] as number) << 8) | (message[at + 7] as number);
    const type = flags & TYPE_MASK;
    const longest = maxPayload[type];
    if (longest === undefined) throw new Violation(`unknown frame type 0x${type.toString(16)}`);
    if (length > longest)
      throw new Violation(`frame type 0x${type.toString(16)} of ${length} bytes exceeds ${longest}`);
    if (type !== Type.CREDIT && isConnectionType(type) !== (stream === 0))
      throw new Violation(`frame type 0x${type.toString(16)} on stream ${stream}`);
    const end = (flags & END) !== 0;
    const more = (flags & MORE) !== 0;
    if (end && type !== Type.OPEN && type !== Type.HEAD && type !== Type.DATA)
      throw new Violation(`END on frame type 0x${type.toString(16)}`);
    if (more && type !== Type.TEXT && type !== Type.BINARY)
      throw new Violation(`MORE on frame type 0x${type.toString(16)}`);
    const start = at + HEADER;
    if (message.length - start < length) throw new Violation("truncated frame payload");
    const payload = message.subarray(start, start + length);
    if (!take({ stream, type: type as Type, end, more, payload })) return;
    at = start + length;
  }
}

/** Writes one frame into `into` at `at`; returns the offset behind it. The caller has made room and kept the limits. */
export function write(into: Uint8Array, at: number, stream: number, flags: number, payload: Uint8Array): number {
  writeU32(into, at, stream);
  into[at + 4] = flags;
  into[at + 5] = payload.length >>> 16;
  into[at + 6] = payload.length >>> 8;
  into[at + 7] = payload.length;
  into.set(payload, at + HEADER);
  return at + HEADER + payload.length;
}

/** One frame by itself. */
export function encode(stream: number, type: Type, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER + payload.length);
  write(bytes, 0, stream, type, payload);
  return bytes;
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
