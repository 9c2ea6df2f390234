// What a stream's frame means: onStreamFrame() checks that it may come now, does the accounts, and tells the owner. It throws
// Violation for what a peer must not send, and never for anything else that a peer sends.
import { costOf } from "./accounts.ts";
import type { SessionEvent } from "./events.ts";
import { type Frame, Type, Violation } from "./frames.ts";
import * as limits from "./limits.ts";
import { decodeText, parseClose, parseOpen, parseReset, parseResponseHead, Reset } from "./messages.ts";
import { added } from "./outbox.ts";
import type { Stream } from "./stream.ts";
import type { Streams } from "./streams.ts";

export function onStreamFrame(streams: Streams, frame: Frame, events: SessionEvent[]): void {
  const { stream: id, type, payload } = frame;
  if (type === Type.OPEN) return onOpen(streams, frame, events);
  if (id >= streams.nextId) throw new Violation(`frame for stream ${id}, which was never opened`);
  const stream = streams.get(id);
  const cost = costOf(frame);
  streams.accounts.charge(cost);
  if (stream === undefined) {
    // The frame crossed our RESET: it is dropped, and its bytes are given back.
    streams.accounts.release(cost);
    return;
  }
  if (type === Type.RESET) {
    const { code, reason } = parseReset(payload);
    streams.forget(stream);
    events.push({ type: "reset", id, code, reason });
    return;
  }
  if (type === Type.CREDIT) {
    stream.credit = added(stream.credit, payload);
    return streams.outbox.enter(stream);
  }
  if (stream.received === "end") throw new Violation(`frame type 0x${type.toString(16)} after the end of stream ${id}`);
  if (type === Type.HEAD) return onHead(streams, stream, frame, events);
  if (stream.received === "nothing")
    throw new Violation(`frame type 0x${type.toString(16)} before the HEAD of stream ${id}`);
  if (type === Type.DATA) return onData(streams, stream, frame, events);
  if (stream.carries === "body") throw new Violation(`WebSocket frame on stream ${id}, which is none`);
  if (stream.carries === "handshake") throw new Violation(`WebSocket frame on stream ${id} before its 101`);
  if (type === Type.CLOSE) return onClose(streams, stream, frame, events);
  onMessagePart(streams, stream, frame, cost, events);
}

function onOpen(streams: Streams, { stream: id, payload, end }: Frame, events: SessionEvent[]): void {
  if (streams.edge) throw new Violation("OPEN from a node");
  if (id < streams.nextId || id > limits.STREAM_ID_MAX)
    throw new Violation(`OPEN of stream ${id} again or out of order`);
  const head = parseOpen(payload);
  const probe = "probe" in head;
  if (probe && !end) throw new Violation("a probe without END");
  if (!probe && head.websocket && end) throw new Violation("END on the OPEN of a WebSocket");
  if (streams.size >= limits.STREAMS_MAX) {
    streams.nextId = id + 1;
    return streams.outbox.sendReset(id, Reset.OVERLOADED, "too many streams");
  }
  const stream = streams.add(id, !probe && head.websocket);
  stream.gotHead(end);
  events.push(probe ? { type: "probe", id, question: head.probe } : { type: "open", id, head, end });
}

function onHead(streams: Streams, stream: Stream, { payload, end }: Frame, events: SessionEvent[]): void {
  if (!streams.edge) throw new Violation("HEAD from the edge");
  if (stream.received !== "nothing") throw new Violation(`a second HEAD on stream ${stream.id}`);
  const head = parseResponseHead(payload);
  // A status is its backend's word, which the node may have passed on unseen: the fault of one stream, not of the connection.
  if ((head.status < 200 || head.status > 599) && !(head.status === 101 && stream.carries === "handshake"))
    return streams.resetHere(stream, Reset.BROKE, `an answer of status ${head.status}`, events);
  if (head.status === 101 && end) throw new Violation("END on a WebSocket's 101");
  stream.answered(head.status);
  stream.gotHead(end);
  events.push({ type: "head", id: stream.id, head, end });
  if (end) streams.settle(stream);
}

function onData(streams: Streams, stream: Stream, { payload, end }: Frame, events: SessionEvent[]): void {
  if (stream.carries !== "body") throw new Violation(`DATA on stream ${stream.id}, which is a WebSocket`);
  if (payload.length === 0 && !end) throw new Violation("empty DATA");
  streams.accounts.hold(stream, payload.length);
  if (end) stream.gotEnd();
  // A head and the data right behind it are one event: a small answer costs its consumer one call.
  const last = events.at(-1);
  if (
    last !== undefined &&
    (last.type === "head" || last.type === "open") &&
    last.id === stream.id &&
    last.body === undefined
  ) {
    if (payload.length > 0) last.body = owned(payload);
    last.end = end;
  } else events.push({ type: "data", id: stream.id, bytes: owned(payload), end });
  streams.settle(stream);
  streams.evict(events);
}

function onClose(streams: Streams, stream: Stream, { payload }: Frame, events: SessionEvent[]): void {
  if (stream.partBytes > 0) throw new Violation("CLOSE within a WebSocket message");
  const { code, reason } = parseClose(payload);
  stream.gotEnd();
  events.push({ type: "close", id: stream.id, code, reason });
  streams.settle(stream);
}

/** TEXT or BINARY: a whole message, or the next part of one. */
function onMessagePart(streams: Streams, stream: Stream, frame: Frame, cost: number, events: SessionEvent[]): void {
  const { type, payload, more } = frame;
  const text = type === Type.TEXT;
  if (stream.partBytes > 0 && stream.partText !== text) throw new Violation("a WebSocket message changed its type");
  if (more && payload.length === 0) throw new Violation("empty part of a WebSocket message");
  streams.accounts.hold(stream, cost);
  if (stream.partBytes + payload.length > limits.WEBSOCKET_MESSAGE_MAX)
    return streams.resetHere(stream, Reset.TOO_BIG, "WebSocket message too big", events);
  if (more) {
    stream.partText = text;
    stream.addPart(payload, cost);
    streams.accounts.refillParts(stream);
  } else {
    const partial = stream.partBytes > 0;
    if (partial) stream.addPart(payload, cost);
    const size = partial ? stream.partHeld : cost;
    const bytes = partial ? stream.takeMessage() : payload;
    events.push({ type: "message", id: stream.id, data: text ? decodeText(bytes) : owned(bytes), size });
  }
  streams.evict(events);
}

/**
 * A view keeps all of its message in memory, so a small piece of a large one is copied: else a slow reader's 100 bytes, counted
 * as 100, could hold 64 KiB of what others were sent. (Not slice(): a Node.js Buffer's gives a view again.)
 */
function owned(payload: Uint8Array): Uint8Array {
  return payload.length * 4 < payload.buffer.byteLength ? new Uint8Array(payload) : payload;
}
