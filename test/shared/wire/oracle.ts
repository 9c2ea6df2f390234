// A second codec, deliberately naive and separate from src/shared/wire/frames.ts: DataView, one number after the other, no limits.
// Tests write hostile frames with it and judge the real codec and the real sessions by what it reads.

export interface PlainFrame {
  readonly stream: number;
  /** Type with its END and MORE bits, as on the wire. */
  readonly flags: number;
  readonly payload: Uint8Array;
}

export const END = 0x80;
export const MORE = 0x40;

export function encodeFrames(frames: readonly PlainFrame[]): Uint8Array {
  const bytes = new Uint8Array(frames.reduce((sum, each) => sum + 8 + each.payload.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { stream, flags, payload } of frames) {
    view.setUint32(at, stream, false);
    view.setUint8(at + 4, flags);
    view.setUint16(at + 5, Math.floor(payload.length / 256), false);
    view.setUint8(at + 7, payload.length % 256);
    for (const [index, byte] of payload.entries()) view.setUint8(at + 8 + index, byte);
    at += 8 + payload.length;
  }
  return bytes;
}

/** Only for whole messages that a session of ours wrote. */
export function decodeFrames(message: Uint8Array): PlainFrame[] {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const frames: PlainFrame[] = [];
  let at = 0;
  while (at < view.byteLength) {
    const length = view.getUint16(at + 5, false) * 256 + view.getUint8(at + 7);
    if (at + 8 + length > view.byteLength) throw new Error("oracle: truncated message");
    frames.push({
      stream: view.getUint32(at, false),
      flags: view.getUint8(at + 4),
      payload: message.subarray(at + 8, at + 8 + length),
    });
    at += 8 + length;
  }
  return frames;
}

/** One message of one frame. The payload: bytes as they are, a string as UTF-8, a number as u32, anything else as JSON. */
export function raw(stream: number, flags: number, payload: unknown = new Uint8Array(0)): Uint8Array {
  return encodeFrames([{ stream, flags, payload: payloadOf(payload) }]);
}

export function concat(...messages: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(messages.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const message of messages) {
    all.set(message, at);
    at += message.length;
  }
  return all;
}

function payloadOf(payload: unknown): Uint8Array {
  if (payload instanceof Uint8Array) return payload;
  if (typeof payload === "string") return new TextEncoder().encode(payload);
  if (typeof payload === "number") {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, payload, false);
    return bytes;
  }
  return new TextEncoder().encode(JSON.stringify(payload));
}
