// The naive model of the session's promises: what each side was told to send, and what the other has got so far. Every event is
// checked against it as it comes. It knows nothing of frames, windows or turns.
import { expect } from "vitest";
import { encodeText, Reset } from "../../../src/shared/wire/messages.ts";
import type { SessionEvent } from "../../../src/shared/wire/session.ts";
import { other, type Side } from "./link.ts";

/** One direction of a stream. */
class Half {
  readonly key: number;
  /** Body bytes. */
  sent = 0;
  got = 0;
  /** WebSocket messages, in order. */
  readonly messages: (string | Uint8Array)[] = [];
  gotMessages = 0;
  /** END or CLOSE. */
  ended = false;
  gotEnd = false;

  constructor(key: number) {
    this.key = key;
  }

  get complete(): boolean {
    return this.got === this.sent && this.gotMessages === this.messages.length && this.gotEnd === this.ended;
  }
}

export type Kind = "http" | "websocket" | "probe";

export class ModelStream {
  readonly id: number;
  readonly websocket: boolean;
  readonly probe: boolean;
  /** What a probe asked for. */
  service: string | undefined;
  /** Bytes that a side sends: "edge" is the request. */
  readonly half: Record<Side, Half>;
  /** "new": not heard of. "over": reset, or lost with the edge's memory. */
  readonly life: Record<Side, "new" | "open" | "over"> = { edge: "open", node: "new" };
  /** The node has answered; the edge has heard it. */
  answered: number | undefined;
  heard = false;
  /** Received and not yet consumed. */
  readonly unconsumed: Record<Side, number> = { edge: 0, node: 0 };
  /** A write returned false and no drained has come. */
  readonly paused: Record<Side, boolean> = { edge: false, node: false };

  constructor(id: number, kind: Kind, key: number) {
    this.id = id;
    this.websocket = kind === "websocket";
    this.probe = kind === "probe";
    this.half = { edge: new Half(key), node: new Half(key + 7919) };
  }

  /** Whether this side may send messages (WebSocket), or body bytes, now. */
  maySend(side: Side, what: "message" | "body"): boolean {
    if (this.life[side] !== "open" || this.half[side].ended) return false;
    if (side === "node" && this.answered === undefined) return false;
    // A body goes up with the request; on what was asked as a WebSocket only after its refusal.
    if (!this.websocket) return what === "body";
    if (side === "edge" && !this.heard) return false;
    return (this.answered === 101) === (what === "message");
  }
}

export class Model {
  readonly streams = new Map<number, ModelStream>();
  readonly goneAway: Record<Side, boolean> = { edge: false, node: false };
  #key = 0;

  opened(id: number, kind: Kind): ModelStream {
    expect(this.streams.has(id), `id ${id} used twice`).toBe(false);
    const stream = new ModelStream(id, kind, ++this.#key * 104729);
    this.streams.set(id, stream);
    return stream;
  }

  /** The next `length` bytes of a half's body. */
  body(half: Half, length: number): Uint8Array {
    const bytes = content(half.key, half.sent, length);
    half.sent += length;
    return bytes;
  }

  edgeLost(): void {
    for (const stream of this.streams.values()) stream.life.edge = "over";
  }

  live(side: Side): ModelStream[] {
    return [...this.streams.values()].filter((stream) => stream.life[side] === "open");
  }

  drained(side: Side, id: number): void {
    const stream = this.streams.get(id);
    expect(stream?.paused[side], `${side}: drained names stream ${id}, which nobody waits for`).toBe(true);
    if (stream !== undefined) stream.paused[side] = false;
  }

  on(side: Side, event: SessionEvent): void {
    switch (event.type) {
      case "hello":
      case "pong":
      case "report":
        return;
      case "goaway":
        this.goneAway[side] = true;
        return;
      case "resumed":
        expect(side).toBe("node");
        return;
      case "fatal":
        throw new Error(`${side}: fatal ${event.code} ${event.reason}`);
    }
    const stream = this.streams.get(event.id);
    if (stream === undefined) throw new Error(`${side}: ${event.type} for stream ${event.id}, which nobody opened`);
    const half = stream.half[other(side)];
    if (event.type === "open" || event.type === "probe") {
      expect(stream.life.node).toBe("new");
      expect(event.type === "probe").toBe(stream.probe);
      if (event.type === "open") expect(event.head.websocket).toBe(stream.websocket);
      stream.life.node = "open";
    }
    expect(stream.life[side], `${side}: ${event.type} on stream ${event.id} after its end`).toBe("open");
    switch (event.type) {
      case "head":
        expect(stream.heard).toBe(false);
        expect(event.head.status).toBe(stream.answered);
        stream.heard = true;
        this.#gotBody(side, stream, event.body, event.end);
        return;
      case "open":
        this.#gotBody(side, stream, event.body, event.end);
        return;
      case "probe":
        expect(event.question).toEqual({ service: stream.service });
        this.#gotBody(side, stream, undefined, true);
        return;
      case "data":
        this.#gotBody(side, stream, event.bytes, event.end);
        return;
      case "message": {
        expect(half.gotEnd).toBe(false);
        const sent = half.messages[half.gotMessages++];
        if (typeof sent === "string") expect(event.data === sent, "text differs").toBe(true);
        else expect(same(event.data as Uint8Array, sent as Uint8Array), "message differs").toBe(true);
        expect(event.size).toBeGreaterThan(typeof sent === "string" ? encodeText(sent).length : (sent?.length ?? 0));
        stream.unconsumed[side] += event.size;
        return;
      }
      case "close":
        expect(half.ended && !half.gotEnd && half.gotMessages === half.messages.length).toBe(true);
        expect(event).toMatchObject({ code: 1007 + (stream.id % 8), reason: `bye ${stream.id}` });
        half.gotEnd = true;
        return;
      case "reset":
        // A side gives up on its own only a reader that stalls, and what it had not sent when its peer went away.
        if (event.code !== Reset.STALLED && !(event.code === Reset.NOT_SENT && this.goneAway[side]))
          expect(stream.life[other(side)], `${side}: reset that nobody sent`).toBe("over");
        stream.life[side] = "over";
        stream.unconsumed[side] = 0;
    }
  }

  #gotBody(side: Side, stream: ModelStream, bytes: Uint8Array | undefined, end: boolean): void {
    const half = stream.half[other(side)];
    expect(half.gotEnd).toBe(false);
    if (bytes !== undefined) {
      expect(same(bytes, content(half.key, half.got, bytes.length)), "body differs").toBe(true);
      half.got += bytes.length;
      stream.unconsumed[side] += bytes.length;
    }
    expect(half.got).toBeLessThanOrEqual(half.sent);
    if (!end) return;
    expect(half.ended, "an end that nobody sent").toBe(true);
    expect(half.got, "an end before all bytes").toBe(half.sent);
    half.gotEnd = true;
  }
}

// Bytes that tell their place: a random block of prime length, read round and round from a place that the key gives.
const BLOCK = 65_521;
const block = Uint8Array.from({ length: BLOCK }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 24);

export function content(key: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const from = (key + offset + at) % BLOCK;
    const part = block.subarray(from, Math.min(BLOCK, from + length - at));
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
