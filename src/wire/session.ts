// The session: one connection's protocol state, without a socket ("sans-IO"). Bytes in give events; take() gives bytes out.
// The same class runs at the edge (role "edge": opens streams) and on the node (role "node": serves them).
// It never waits, never reads a clock, never throws for what a peer did: a violation is one `fatal` event, and then it is deaf.
// The caller owns the socket: it calls take() after every command and every receive() until nothing comes or the socket is full.
// What survives a lost memory: save(), nothing else.
import { decode, END, type Frame, HEADER, MORE, readU32, Type, Violation, write, writeU32 } from "./frames.ts";
import * as limits from "./limits.ts";
import {
  decodeText,
  encodeClose,
  encodeJson,
  encodeReport,
  encodeRequestHead,
  encodeReset,
  encodeResponseHead,
  encodeText,
  type GoAway,
  goAwaySchema,
  type Hello,
  helloSchema,
  parseClose,
  parseJson,
  parseRequestHead,
  parseReset,
  parseResponseHead,
  type Report,
  type RequestHead,
  Reset,
  type ResponseHead,
  reportSchema,
} from "./messages.ts";
import { Stream } from "./stream.ts";

/**
 * Bytes of `body` and `bytes` belong to the receiver, as views into the message; each of them is held against the stream until
 * consumed() says otherwise. So is each `message`, with its `size`: what it cost, a little more than its bytes.
 */
export type SessionEvent =
  | { readonly type: "hello"; readonly hello: Hello }
  | { readonly type: "goaway"; readonly goAway: GoAway }
  | { readonly type: "report"; readonly report: Report }
  /** Answers our PING: whatever the peer sent before it has arrived. */
  | { readonly type: "pong" }
  /** The peer lost its memory: all streams here have been reset (events before this one). */
  | { readonly type: "resumed" }
  | { readonly type: "open"; readonly id: number; readonly head: RequestHead; body?: Uint8Array; end: boolean }
  | { readonly type: "head"; readonly id: number; readonly head: ResponseHead; body?: Uint8Array; end: boolean }
  | { readonly type: "data"; readonly id: number; readonly bytes: Uint8Array; readonly end: boolean }
  | { readonly type: "message"; readonly id: number; readonly data: string | Uint8Array; readonly size: number }
  | { readonly type: "close"; readonly id: number; readonly code: number; readonly reason: string }
  /** `local`: this side did it (a stalled reader), the peer did not ask for it. */
  | {
      readonly type: "reset";
      readonly id: number;
      readonly code: Reset;
      readonly reason: string;
      readonly local: boolean;
    }
  /** Nothing more will come. Flush take(), then close the socket with `code`. */
  | { readonly type: "fatal"; readonly code: number; readonly reason: string };

/** What must outlive memory; fits a socket's attachment. */
export interface SessionState {
  readonly peer: Hello;
  readonly nextId: number;
  readonly goneAway: boolean;
}

/** Bytes held by all sessions of one owner; they share one object of this kind, and sign themselves in and out. */
export interface Budget {
  held: number;
  readonly limit: number;
  sessions?: Set<Session>;
}

export interface SessionOptions {
  readonly role: "edge" | "node";
  readonly hello: Hello;
  readonly budget?: Budget;
  /**
   * A stream here went (a `reset` event, stalled) because another session needed the memory: handle the event, then take().
   * Without this hook only the session that needs memory gives up streams.
   */
  readonly onEvicted?: (event: SessionEvent) => void;
  /** Edge only: goes on after a hibernation. */
  readonly restore?: SessionState;
}

const NOTHING = new Uint8Array(0);

export class Session {
  readonly #edge: boolean;
  readonly #hello: Hello;
  readonly #budget: Budget;
  readonly #onEvicted: ((event: SessionEvent) => void) | undefined;
  readonly #streams = new Map<number, Stream>();
  /** Frames of stream 0, encoded, in order. */
  #control: Uint8Array[] = [];
  /** Streams with something to send, in turn; those that only lack the connection's credit wait in #starved. */
  #ring: Stream[] = [];
  #starved: Stream[] = [];
  #grants: Stream[] = [];
  #drained: number[] = [];
  #credit = limits.CONNECTION_WINDOW;
  #peerCredit = limits.CONNECTION_WINDOW;
  #grant = 0;
  #held = 0;
  /** Edge: the next id to give. Node: the highest id seen, plus 1. */
  #nextId = 1;
  #savedId = 0;
  #peer: Hello | undefined;
  #dead = false;
  /** Restored edge: where its ids start, which its RESUME names. */
  #epoch = 0;
  /** Until the echo of our RESUME, stream frames and credit belong to the time before. */
  #resuming = false;
  #goneAway = false;
  /** Rises with every frame that arrives: liveness without a clock. */
  received = 0;

  constructor(options: SessionOptions) {
    this.#edge = options.role === "edge";
    this.#hello = options.hello;
    this.#budget = options.budget ?? { held: 0, limit: limits.BUDGET };
    this.#budget.sessions ??= new Set();
    this.#budget.sessions.add(this);
    this.#onEvicted = options.onEvicted;
    if (options.restore !== undefined) {
      this.#peer = options.restore.peer;
      this.#nextId = options.restore.nextId;
      this.#savedId = options.restore.nextId;
      this.#goneAway = options.restore.goneAway;
      this.#epoch = options.restore.nextId;
      this.#resuming = true;
      this.#pushControl(Type.RESUME, u32(this.#epoch));
    } else if (!this.#edge) {
      this.#pushControl(Type.HELLO, encodeJson(options.hello));
    }
  }

  /** The peer's HELLO, once there. */
  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** The peer (or this edge) said GOAWAY: open streams finish, new ones must go elsewhere. */
  get goneAway(): boolean {
    return this.#goneAway;
  }

  /** Streams that are not finished. */
  get open(): number {
    return this.#streams.size;
  }

  /** Edge: true where a stream may be opened now. */
  get canOpen(): boolean {
    return (
      this.#edge &&
      this.#peer !== undefined &&
      !this.#dead &&
      !this.#goneAway &&
      this.#streams.size < limits.STREAMS_MAX &&
      this.#nextId < limits.STREAM_ID_MAX
    );
  }

  /** Payload bytes that this stream still has to send. */
  queued(id: number): number {
    return this.#streams.get(id)?.queued ?? 0;
  }

  /** Bytes received and not yet consumed, over all streams. */
  get held(): number {
    return this.#held;
  }

  /** True once in so many streams, and after a restore: the owner then stores save(). */
  get unsaved(): boolean {
    return this.#edge && this.#nextId >= this.#savedId;
  }

  save(): SessionState {
    if (this.#peer === undefined) throw new Error("a session is saved only after its HELLO");
    this.#savedId = this.#nextId + limits.STREAM_ID_BLOCK;
    return { peer: this.#peer, nextId: this.#savedId, goneAway: this.#goneAway };
  }

  // ---- commands --------------------------------------------------------------------------------------------------

  /**
   * Edge: opens a stream; ask canOpen first. `body` may be the whole of it (`end`), or a beginning.
   * Throws RangeError for a head longer than any frame: one client's headers must not cost the connection.
   */
  openStream(head: RequestHead, body: Uint8Array | undefined, end: boolean): number {
    if (!this.canOpen) throw new Error("openStream without canOpen");
    const payload = encodeRequestHead(head);
    if (payload.length > limits.HEAD_MAX) throw new RangeError(`request head of ${payload.length} bytes`);
    const id = this.#nextId++;
    const stream = new Stream(id, head.websocket);
    this.#streams.set(id, stream);
    this.#pushHead(stream, Type.OPEN, payload, body, end);
    return id;
  }

  /**
   * Node: answers a stream. After a 101 messages follow, otherwise data. No-op where the stream is gone. A head longer than
   * any frame becomes a reset, and the stream is gone.
   */
  respond(id: number, head: ResponseHead, body: Uint8Array | undefined, end: boolean): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return;
    const payload = encodeResponseHead(head);
    if (payload.length > limits.HEAD_MAX) return this.reset(id, Reset.TOO_BIG, "response head too big");
    if (head.status !== 101) stream.websocket = false;
    this.#pushHead(stream, Type.HEAD, payload, body, end);
  }

  /** Queues body bytes. False: pause until takeDrained() names this stream. No-op (true) where the stream is gone. */
  write(id: number, bytes: Uint8Array, end: boolean): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return true;
    if (bytes.length > 0 || end)
      stream.push({ flags: Type.DATA, endFlag: end ? END : 0, moreFlag: 0, costs: true, extra: 0, payload: bytes });
    stream.sendClosed = end;
    this.#enter(stream);
    return this.#room(stream);
  }

  /** Queues one WebSocket message, a string or bytes of either type; the result as for write(). */
  sendMessage(id: number, data: string | Uint8Array, text = typeof data === "string"): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return true;
    stream.push({
      flags: text ? Type.TEXT : Type.BINARY,
      endFlag: 0,
      moreFlag: MORE,
      costs: true,
      extra: limits.MESSAGE_COST,
      payload: typeof data === "string" ? encodeText(data) : data,
    });
    this.#enter(stream);
    return this.#room(stream);
  }

  /** Closes this side's half of a WebSocket stream. */
  sendClose(id: number, code: number, reason: string): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return;
    stream.push({
      flags: Type.CLOSE,
      endFlag: 0,
      moreFlag: 0,
      costs: false,
      extra: 0,
      payload: encodeClose(code, reason),
    });
    stream.sendClosed = true;
    this.#enter(stream);
  }

  /** Ends both halves at once; what was queued is dropped. No-op where the stream is gone. */
  reset(id: number, code: Reset, reason: string): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#forget(stream);
    // Where its OPEN was still queued, the peer never hears of the stream at all.
    if (!this.#edge || stream.announced) this.#control.push(frame(id, Type.RESET, encodeReset(code, reason)));
  }

  /** The consumer took so many bytes of this stream: the peer gets credit for them. */
  consumed(id: number, bytes: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || bytes === 0) return;
    stream.held -= bytes;
    this.#release(bytes);
    if (stream.recvClosed) return this.#settle(stream);
    if (stream.owed < stream.window / 2) return;
    // Half a window was consumed: the reader keeps up, so it may have more, as far as memory allows.
    stream.window = Math.min(stream.window * 2, this.#windowLimit());
    this.#owe(stream, stream.owed);
  }

  /** Says that no new streams should come (node), or that none will (edge). */
  goAway(reason: string, permanent: boolean): void {
    if (this.#edge) this.#goneAway = true;
    this.#pushControl(Type.GOAWAY, encodeJson({ reason: reason.slice(0, 256), permanent } satisfies GoAway));
  }

  ping(): void {
    this.#pushControl(Type.PING, NOTHING);
  }

  report(report: Report): void {
    this.#pushControl(Type.REPORT, encodeReport(report));
  }

  /** Streams whose producers may go on; each call empties the list. */
  takeDrained(): readonly number[] {
    if (this.#drained.length === 0) return [];
    const drained = this.#drained;
    this.#drained = [];
    return drained;
  }

  // ---- bytes out -------------------------------------------------------------------------------------------------

  /**
   * The next message: connection frames first, then one frame of each stream in turn, until it has `atMost` bytes or more
   * (at most one frame more), or undefined where nothing can be sent now.
   */
  take(atMost: number): Uint8Array | undefined {
    // Half of what a message may be leaves room for the one frame more, and for credit.
    const maxBytes = Math.min(atMost, limits.MESSAGE_MAX / 2);
    const single =
      this.#control.length === 1 && this.#ring.length === 0 && this.#grants.length === 0 && this.#grant === 0;
    if (single) return this.#control.pop();
    const parts: Part[] = [];
    let size = this.#takeControl(parts, maxBytes);
    while (size < maxBytes && this.#ring.length > 0) {
      const stream = this.#ring.shift() as Stream;
      stream.ringed = false;
      if (!stream.sendable(this.#credit)) {
        // Still marked as listed: each write() would list it again.
        stream.ringed = stream.sendable(Infinity);
        if (stream.ringed) this.#starved.push(stream);
        continue;
      }
      const { flags, payload, cost } = stream.next(this.#credit);
      this.#credit -= cost;
      parts.push({ stream: stream.id, flags, payload });
      size += HEADER + payload.length;
      if (stream.paused && stream.queued <= limits.STREAM_QUEUE_MAX / 2) {
        stream.paused = false;
        this.#drained.push(stream.id);
      }
      if (stream.empty) this.#settle(stream);
      else this.#enter(stream);
    }
    if (parts.length === 0) return undefined;
    const message = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      if (part.flags !== RAW) at = write(message, at, part.stream, part.flags, part.payload);
      else {
        message.set(part.payload, at);
        at += part.payload.length;
      }
    }
    return message;
  }

  #takeControl(parts: Part[], maxBytes: number): number {
    let size = 0;
    let taken = 0;
    while (taken < this.#control.length && size < maxBytes) {
      const payload = this.#control[taken++] as Uint8Array;
      parts.push({ stream: 0, flags: RAW, payload });
      size += payload.length;
    }
    this.#control.splice(0, taken);
    if (this.#grant > 0) {
      parts.push({ stream: 0, flags: Type.CREDIT, payload: u32(this.#grant) });
      this.#peerCredit += this.#grant;
      this.#grant = 0;
      size += HEADER + 4;
    }
    for (const stream of this.#grants) {
      if (stream.grant === 0) continue;
      parts.push({ stream: stream.id, flags: Type.CREDIT, payload: u32(stream.grant) });
      stream.peerCredit += stream.grant;
      stream.grant = 0;
      size += HEADER + 4;
    }
    this.#grants.length = 0;
    return size;
  }

  // ---- bytes in --------------------------------------------------------------------------------------------------

  /** What a message means. After a `fatal` event nothing is heard any more. */
  receive(message: Uint8Array): SessionEvent[] {
    const events: SessionEvent[] = [];
    if (this.#dead) return events;
    try {
      for (const each of decode(message)) {
        this.received++;
        if (each.stream === 0) this.#onConnectionFrame(each, events);
        else this.#onStreamFrame(each, events);
        if (this.#dead) break;
        if (this.#control.length > limits.CONTROL_MAX) throw new Violation("the peer provokes answers and reads none");
      }
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.#die(events, limits.CLOSE_VIOLATION, `protocol violation: ${error.message}`, false);
    }
    return events;
  }

  #onConnectionFrame({ type, payload }: Frame, events: SessionEvent[]): void {
    if (this.#peer === undefined && type !== Type.HELLO && !(type === Type.GOAWAY && !this.#edge))
      throw new Violation("a frame before HELLO");
    switch (type) {
      case Type.HELLO:
        return this.#onHello(parseJson("HELLO", helloSchema, payload), events);
      case Type.GOAWAY:
        events.push({ type: "goaway", goAway: parseJson("GOAWAY", goAwaySchema, payload) });
        return this.#onGoAway(events);
      case Type.PING:
        // One PONG answers all PINGs that came since the last flush: a flood cannot grow the queue.
        if (!this.#control.includes(PONG)) this.#control.splice(this.#opening(), 0, PONG);
        return;
      case Type.PONG:
        events.push({ type: "pong" });
        return;
      case Type.RESUME:
        return this.#onResume(payload, events);
      case Type.REPORT:
        if (!this.#edge) throw new Violation("REPORT from the edge");
        events.push({ type: "report", report: parseJson("REPORT", reportSchema, payload) });
        return;
      case Type.CREDIT:
        if (this.#resuming) return;
        this.#credit = added(this.#credit, payload);
        this.#ring.push(...this.#starved);
        this.#starved.length = 0;
        return;
    }
  }

  #onHello(hello: Hello, events: SessionEvent[]): void {
    if (this.#peer !== undefined) throw new Violation("a second HELLO");
    const common = hello.versions.filter((version) => this.#hello.versions.includes(version));
    if (common.length === 0) {
      const reason = `unsupported-version: this side speaks ${this.#hello.versions.join(", ")}, the other ${hello.versions.join(", ")}`;
      return this.#die(events, limits.CLOSE_REVOKED, reason, true);
    }
    if (this.#edge && (hello.node === undefined || hello.instance === undefined || hello.started === undefined))
      throw new Violation("HELLO of a node lacks node, instance or started");
    this.#peer = hello;
    if (this.#edge) this.#pushControl(Type.HELLO, encodeJson(this.#hello));
    events.push({ type: "hello", hello });
  }

  #onGoAway(events: SessionEvent[]): void {
    this.#goneAway = true;
    if (!this.#edge) return;
    // What was not sent yet is new to the peer: it goes elsewhere. So a PONG behind a GOAWAY proves that no OPEN follows.
    for (const stream of [...this.#streams.values()]) {
      if (stream.announced) continue;
      this.#forget(stream);
      const reason = "the node goes away";
      events.push({ type: "reset", id: stream.id, code: Reset.NOT_SENT, reason, local: true });
    }
  }

  #onResume(payload: Uint8Array, events: SessionEvent[]): void {
    if (payload.length !== 4) throw new Violation("RESUME is not 4 bytes");
    const epoch = readU32(payload, 0);
    if (this.#edge) {
      // A lower one answers a memory before this one, which was lost too: 5 → lost → 9, and the echo of 5 arrives first.
      if (this.#epoch === 0 || epoch > this.#epoch) throw new Violation("RESUME that answers nothing");
      if (epoch === this.#epoch) this.#resuming = false;
      return;
    }
    for (const stream of [...this.#streams.values()]) {
      this.#forget(stream);
      events.push({ type: "reset", id: stream.id, code: Reset.CANCELLED, reason: "the edge restarted", local: false });
    }
    // What was queued for the time before must not be sent after the echo; and of several RESUMEs the last one counts.
    this.#control = this.#control.filter((each) => readU32(each, 0) === 0 && each[4] !== Type.RESUME);
    this.#starved.length = 0;
    this.#credit = limits.CONNECTION_WINDOW;
    this.#peerCredit = limits.CONNECTION_WINDOW;
    this.#grant = 0;
    this.#pushControl(Type.RESUME, payload);
    events.push({ type: "resumed" });
  }

  #onStreamFrame(each: Frame, events: SessionEvent[]): void {
    if (this.#peer === undefined) throw new Violation("a stream before HELLO");
    if (this.#resuming) return;
    const { stream: id, type, payload } = each;
    if (type === Type.OPEN) return this.#onOpen(each, events);
    if (id >= this.#nextId) throw new Violation(`frame for stream ${id}, which was never opened`);
    const stream = this.#streams.get(id);
    const cost = costOf(each);
    this.#charge(cost);
    if (stream === undefined) {
      // It crossed our RESET: forget it, and give its bytes back.
      this.#release(cost);
      return;
    }
    if (type === Type.RESET) {
      const { code, reason } = parseReset(payload);
      this.#forget(stream);
      events.push({ type: "reset", id, code, reason, local: false });
      return;
    }
    if (type === Type.CREDIT) {
      stream.credit = added(stream.credit, payload);
      this.#enter(stream);
      return;
    }
    if (stream.recvClosed) throw new Violation(`frame type 0x${type.toString(16)} after the end of stream ${id}`);
    if (type === Type.HEAD) return this.#onHead(stream, each, events);
    if (this.#edge && !stream.headSeen)
      throw new Violation(`frame type 0x${type.toString(16)} before the HEAD of stream ${id}`);
    if (type === Type.DATA) return this.#onData(stream, each, events);
    this.#onWebSocketFrame(stream, each, events);
  }

  #onOpen({ stream: id, payload, end }: Frame, events: SessionEvent[]): void {
    if (this.#edge) throw new Violation("OPEN from a node");
    if (id < this.#nextId || id > limits.STREAM_ID_MAX)
      throw new Violation(`OPEN of stream ${id} again or out of order`);
    const head = parseRequestHead(payload);
    if (head.websocket && end) throw new Violation("END on the OPEN of a WebSocket");
    this.#nextId = id + 1;
    if (this.#streams.size >= limits.STREAMS_MAX) {
      this.#control.push(frame(id, Type.RESET, encodeReset(Reset.OVERLOADED, "too many streams")));
      return;
    }
    const stream = new Stream(id, head.websocket);
    stream.recvClosed = end;
    stream.headSeen = true;
    this.#streams.set(id, stream);
    events.push({ type: "open", id, head, end });
  }

  #onHead(stream: Stream, { payload, end }: Frame, events: SessionEvent[]): void {
    if (!this.#edge) throw new Violation("HEAD from the edge");
    if (stream.headSeen) throw new Violation(`a second HEAD on stream ${stream.id}`);
    const head = parseResponseHead(payload);
    // Whatever its backend says, a node answers finally (200 to 999), or agrees to what was asked for.
    if (head.status < 200 && !(head.status === 101 && stream.websocket))
      throw new Violation(`status ${head.status} on stream ${stream.id}`);
    if (head.status === 101 && end) throw new Violation("END on a WebSocket's 101");
    if (head.status !== 101) stream.websocket = false;
    stream.headSeen = true;
    stream.recvClosed = end;
    events.push({ type: "head", id: stream.id, head, end });
    if (end) this.#settle(stream);
  }

  #onData(stream: Stream, { payload, end }: Frame, events: SessionEvent[]): void {
    if (stream.websocket) throw new Violation(`DATA on stream ${stream.id}, which is a WebSocket`);
    if (payload.length === 0 && !end) throw new Violation("empty DATA");
    this.#hold(stream, payload.length);
    stream.recvClosed = end;
    // A head and the data right behind it are one event: a small answer costs its consumer one call.
    const last = events.at(-1);
    if (
      last !== undefined &&
      (last.type === "head" || last.type === "open") &&
      last.id === stream.id &&
      last.body === undefined
    ) {
      if (payload.length > 0) last.body = payload;
      last.end = end;
    } else events.push({ type: "data", id: stream.id, bytes: payload, end });
    this.#settle(stream);
    this.#evict(events);
  }

  #onWebSocketFrame(stream: Stream, each: Frame, events: SessionEvent[]): void {
    const { type, payload, more } = each;
    if (!stream.websocket) throw new Violation(`WebSocket frame on stream ${stream.id}, which is none`);
    if (type === Type.CLOSE) {
      if (stream.partBytes > 0) throw new Violation("CLOSE within a WebSocket message");
      const { code, reason } = parseClose(payload);
      stream.recvClosed = true;
      events.push({ type: "close", id: stream.id, code, reason });
      this.#settle(stream);
      return;
    }
    const text = type === Type.TEXT;
    if (stream.partBytes > 0 && stream.partText !== text) throw new Violation("a WebSocket message changed its type");
    if (more && payload.length === 0) throw new Violation("empty part of a WebSocket message");
    const cost = costOf(each);
    this.#hold(stream, cost);
    if (!more && stream.partBytes === 0) {
      events.push({ type: "message", id: stream.id, data: text ? decodeText(payload) : payload, size: cost });
      return this.#evict(events);
    }
    if (stream.partBytes + payload.length > limits.WEBSOCKET_MESSAGE_MAX)
      return this.#resetHere(stream, Reset.TOO_BIG, "WebSocket message too big", events);
    stream.partText = text;
    stream.addPart(payload, cost);
    if (more) {
      if (stream.owed >= stream.window / 2) this.#owe(stream, stream.owed);
      return this.#evict(events);
    }
    const size = stream.partHeld;
    const bytes = stream.takeMessage();
    events.push({ type: "message", id: stream.id, data: text ? decodeText(bytes) : bytes, size });
    this.#evict(events);
  }

  /** A reset that nobody asked for: both sides are told. */
  #resetHere(stream: Stream, code: Reset, reason: string, events: SessionEvent[]): void {
    this.reset(stream.id, code, reason);
    events.push({ type: "reset", id: stream.id, code, reason, local: true });
  }

  // ---- accounts --------------------------------------------------------------------------------------------------

  /** The peer spends the connection's credit. */
  #charge(bytes: number): void {
    this.#peerCredit -= bytes;
    if (this.#peerCredit < 0) throw new Violation("more data than the connection's credit");
    this.#held += bytes;
    this.#budget.held += bytes;
  }

  /** Bytes are no longer held: the connection's credit goes back, in large steps. */
  #release(bytes: number): void {
    this.#held -= bytes;
    this.#budget.held -= bytes;
    const owed = limits.CONNECTION_WINDOW - this.#peerCredit - this.#held;
    this.#grant = owed >= limits.CONNECTION_WINDOW / 4 ? owed : this.#grant;
  }

  #owe(stream: Stream, credit: number): void {
    if (credit <= 0) return;
    if (stream.grant === 0) this.#grants.push(stream);
    stream.grant += credit;
  }

  #hold(stream: Stream, bytes: number): void {
    stream.peerCredit -= bytes;
    if (stream.peerCredit < 0) throw new Violation(`more data than the credit of stream ${stream.id}`);
    stream.held += bytes;
  }

  #pressure(): number {
    return Math.max(this.#held / limits.CONNECTION_WINDOW, this.#budget.held / this.#budget.limit);
  }

  #windowLimit(): number {
    const pressure = this.#pressure();
    if (pressure < 0.25) return limits.STREAM_WINDOW_MAX;
    return pressure < 0.5 ? limits.STREAM_WINDOW : limits.STREAM_WINDOW_MIN;
  }

  /**
   * At three quarters the stream that holds most goes: of this connection, or of all that share the budget. So slow readers
   * never use up what the others need, and nobody pays for them.
   */
  #evict(events: SessionEvent[]): void {
    while (this.#held > limits.CONNECTION_WINDOW * 0.75) {
      const worst = this.#greediest();
      if (worst === undefined) break;
      this.#stall(worst, events);
    }
    while (this.#budget.held > this.#budget.limit * 0.75) {
      let worst = this.#greediest();
      let owner: Session | undefined;
      for (const session of this.#budget.sessions ?? []) {
        if (session.#onEvicted === undefined) continue;
        const stream = session.#greediest();
        if (stream === undefined || stream.held <= (worst?.held ?? 0)) continue;
        worst = stream;
        owner = session;
      }
      if (worst === undefined) return;
      if (owner === undefined) this.#stall(worst, events);
      else {
        const theirs: SessionEvent[] = [];
        owner.#stall(worst, theirs);
        for (const event of theirs) owner.#onEvicted?.(event);
      }
    }
  }

  #stall(stream: Stream, events: SessionEvent[]): void {
    this.#resetHere(stream, Reset.STALLED, "the reader is too slow and holds too much memory", events);
  }

  #greediest(): Stream | undefined {
    let worst: Stream | undefined;
    for (const stream of this.#streams.values()) if (stream.held > (worst?.held ?? 0)) worst = stream;
    return worst;
  }

  #pushHead(stream: Stream, type: Type, payload: Uint8Array, body: Uint8Array | undefined, end: boolean): void {
    const hasBody = body !== undefined && body.length > 0;
    stream.push({ flags: type, endFlag: end && !hasBody ? END : 0, moreFlag: 0, costs: false, extra: 0, payload });
    if (hasBody)
      stream.push({ flags: Type.DATA, endFlag: end ? END : 0, moreFlag: 0, costs: true, extra: 0, payload: body });
    stream.sendClosed = end;
    this.#enter(stream);
  }

  #pushControl(type: Type, payload: Uint8Array): void {
    this.#control.push(frame(0, type, payload));
  }

  #room(stream: Stream): boolean {
    // Once paused, paused until takeDrained() says so: else a producer could wait for a notice that never comes.
    if (stream.queued > limits.STREAM_QUEUE_MAX) stream.paused = true;
    return !stream.paused;
  }

  /** How many frames nothing may precede: a HELLO or RESUME that still waits. */
  #opening(): number {
    const type = this.#control[0]?.[4];
    return type === Type.HELLO || type === Type.RESUME ? 1 : 0;
  }

  #enter(stream: Stream): void {
    if (stream.ringed || stream.empty) return;
    stream.ringed = true;
    this.#ring.push(stream);
  }

  #settle(stream: Stream): void {
    if (stream.finished) this.#streams.delete(stream.id);
  }

  #forget(stream: Stream): void {
    this.#streams.delete(stream.id);
    stream.drop();
    stream.grant = 0;
    stream.recvClosed = true;
    if (stream.paused) this.#drained.push(stream.id);
    const held = stream.held;
    stream.held = 0;
    if (held > 0) this.#release(held);
  }

  #die(events: SessionEvent[], code: number, why: string, permanent: boolean): void {
    const reason = why.slice(0, limits.REASON_MAX);
    this.goAway(reason, permanent);
    for (const stream of [...this.#streams.values()]) {
      this.#forget(stream);
      const sent = stream.announced || !this.#edge;
      events.push({ type: "reset", id: stream.id, code: sent ? Reset.BROKE : Reset.NOT_SENT, reason, local: true });
    }
    this.abandon();
    events.push({ type: "fatal", code, reason });
  }

  /** The socket is gone: what was held is given back to the budget. Commands are no-ops afterwards. */
  abandon(): void {
    this.#dead = true;
    this.#budget.sessions?.delete(this);
    this.#budget.held -= this.#held;
    this.#held = 0;
    this.#grant = 0;
    this.#streams.clear();
  }
}

/** flags of a part that is an encoded frame already. */
const RAW = -1;
interface Part {
  readonly stream: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

function frame(stream: number, type: Type, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER + payload.length);
  write(bytes, 0, stream, type, payload);
  return bytes;
}
const PONG = frame(0, Type.PONG, NOTHING);

/** Credit that a frame costs. */
function costOf({ type, payload }: Frame): number {
  if (type === Type.DATA) return payload.length;
  return type === Type.TEXT || type === Type.BINARY ? payload.length + limits.MESSAGE_COST : 0;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, value);
  return bytes;
}

function added(credit: number, payload: Uint8Array): number {
  if (payload.length !== 4) throw new Violation("CREDIT is not 4 bytes");
  const more = readU32(payload, 0);
  if (more === 0 || credit + more > 0x7fff_ffff) throw new Violation("CREDIT of zero or too much");
  return credit + more;
}
