// The session: one connection's protocol state, without a socket ("sans-IO"). Bytes in give events; take() gives bytes out.
// The same class runs at the edge (role "edge": opens streams) and on the node (role "node": serves them).
// It never waits, never reads a clock, and never throws for what a peer did: a violation becomes one `fatal` event, and whatever
// comes after it is ignored.
// The caller owns the socket: it calls take() after every command and every receive() until nothing comes or the socket is full.
// When the object loses its memory, only what save() gave survives.
import type { SessionEvent, SessionOptions, SessionState } from "./events.ts";
import { decode, type Frame, readU32, Type, Violation } from "./frames.ts";
import { onStreamFrame } from "./incoming.ts";
import * as limits from "./limits.ts";
import {
  CAN_PROBE,
  encodeJson,
  encodeProbe,
  encodeReport,
  encodeRequestHead,
  encodeResponseHead,
  type GoAway,
  goAwaySchema,
  type Hello,
  helloSchema,
  parseJson,
  type ProbeQuestion,
  type Report,
  type RequestHead,
  Reset,
  type ResponseHead,
  reportSchema,
} from "./messages.ts";
import { type Outbox, u32 } from "./outbox.ts";
import { Ration } from "./ration.ts";
import { Streams } from "./streams.ts";

export type { Budget } from "./accounts.ts";
export type { SessionEvent, SessionOptions, SessionState } from "./events.ts";

export class Session {
  readonly #edge: boolean;
  readonly #hello: Hello;
  readonly #streams: Streams;
  readonly #outbox: Outbox;
  readonly #ration: Ration;
  #savedId = 0;
  #peer: Hello | undefined;
  #dead = false;
  /** At a restored edge: the first stream id of its new time, which its RESUME names. 0 elsewhere. */
  #epoch = 0;
  /** Until the echo of our RESUME comes, stream frames and credit belong to the time before, and are ignored. */
  #resuming = false;
  #goneAway = false;
  /** GOAWAYs of the peer, and whether one of them was permanent. */
  #goAways = 0;
  #goneForGood = false;

  constructor(options: SessionOptions) {
    this.#edge = options.role === "edge";
    this.#hello = options.hello;
    const budget = options.budget ?? { held: 0, limit: limits.BUDGET };
    this.#streams = new Streams(this.#edge, budget, options.onEvicted);
    this.#outbox = this.#streams.outbox;
    this.#ration = new Ration(options.ration);
    if (options.restore !== undefined) {
      this.#peer = options.restore.peer;
      this.#goneAway = options.restore.goneAway;
      this.#epoch = options.restore.nextId;
      this.#savedId = this.#epoch;
      this.#streams.nextId = this.#epoch;
      this.#resuming = true;
      this.#outbox.send(Type.RESUME, u32(this.#epoch));
    } else if (!this.#edge) this.#outbox.send(Type.HELLO, encodeJson(options.hello));
  }

  /** The peer's HELLO, once it has come. */
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
      !this.exhausted
    );
  }

  /** Edge: true where the node answers probes. */
  get canProbe(): boolean {
    return this.#peer?.capabilities.includes(CAN_PROBE) === true;
  }

  /** Edge: no ids are left for further streams, so the connection has to be renewed. */
  get exhausted(): boolean {
    return this.#streams.nextId >= limits.STREAM_ID_MAX;
  }

  /** Edge: no byte of this stream has been taken, so its peer cannot know of it. */
  isUnsent(id: number): boolean {
    return this.#streams.get(id)?.announced === false;
  }

  /** Payload bytes that this stream still has to send. */
  queued(id: number): number {
    return this.#streams.get(id)?.queued ?? 0;
  }

  /** Bytes received and not yet consumed, over all streams. */
  get held(): number {
    return this.#streams.accounts.held;
  }

  /** Edge: true once in STREAM_ID_BLOCK streams, and after a restore. The owner then stores save(). */
  get unsaved(): boolean {
    return this.#edge && this.#streams.nextId >= this.#savedId;
  }

  save(): SessionState {
    if (this.#peer === undefined) throw new Error("a session is saved only after its HELLO");
    this.#savedId = this.#streams.nextId + limits.STREAM_ID_BLOCK;
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
    return this.#open(payload, head.websocket, body, end);
  }

  /** Edge: asks the node about itself; ask canOpen and canProbe first. The answer is a head of 200 and a body of JSON. */
  openProbe(question: ProbeQuestion): number {
    if (!this.canOpen || !this.canProbe) throw new Error("openProbe without canOpen and canProbe");
    return this.#open(encodeProbe(question), false, undefined, true);
  }

  #open(payload: Uint8Array, websocket: boolean, body: Uint8Array | undefined, end: boolean): number {
    const stream = this.#streams.add(this.#streams.nextId, websocket);
    stream.pushHead(Type.OPEN, payload, body, end);
    this.#outbox.enter(stream);
    return stream.id;
  }

  /**
   * Node: answers a stream. After a 101 messages follow, otherwise data. No-op where the stream is gone. A head longer than
   * any frame becomes a reset, and the stream is gone.
   */
  respond(id: number, head: ResponseHead, body: Uint8Array | undefined, end: boolean): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return;
    let payload = encodeResponseHead(head);
    // What is said for the log alone must not cost the answer.
    if (payload.length > limits.HEAD_MAX && head.by !== undefined)
      payload = encodeResponseHead({ status: head.status, headers: head.headers });
    if (payload.length > limits.HEAD_MAX) return this.reset(id, Reset.TOO_BIG, "response head too big");
    stream.answered(head.status);
    stream.pushHead(Type.HEAD, payload, body, end);
    this.#outbox.enter(stream);
  }

  /** Queues body bytes. False: pause until takeDrained() names this stream. No-op (true) where the stream is gone. */
  write(id: number, bytes: Uint8Array, end: boolean): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return true;
    stream.pushData(bytes, end);
    this.#outbox.enter(stream);
    return stream.room();
  }

  /** Queues one WebSocket message, a string or bytes of either type. The result means what write()'s does. */
  sendMessage(id: number, data: string | Uint8Array, text = typeof data === "string"): boolean {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return true;
    const before = stream.queuedMessages;
    stream.pushMessage(data, text);
    // Nothing pauses a client that sends messages, so at the edge what waits for the node counts as held.
    if (this.#edge) this.#streams.accounts.queue(stream.queuedMessages - before);
    this.#outbox.enter(stream);
    return stream.room();
  }

  /** Closes this side's half of a WebSocket stream. */
  sendClose(id: number, code: number, reason: string): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.sendClosed) return;
    stream.pushClose(code, reason);
    this.#outbox.enter(stream);
  }

  /** Ends both halves at once; what was queued is dropped. No-op where the stream is gone. */
  reset(id: number, code: Reset, reason: string): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#streams.reset(stream, code, reason);
  }

  /** The consumer took so many bytes of this stream: the peer gets credit for them. */
  consumed(id: number, bytes: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || bytes === 0) return;
    stream.held -= bytes;
    this.#streams.accounts.release(bytes);
    if (stream.received === "end") this.#streams.settle(stream);
    else this.#streams.accounts.refill(stream);
  }

  /** Says that no new streams should come (node), or that none will (edge). */
  goAway(reason: string, permanent: boolean): void {
    if (this.#edge) this.#goneAway = true;
    this.#outbox.send(Type.GOAWAY, encodeJson({ reason: reason.slice(0, 256), permanent } satisfies GoAway));
  }

  ping(): void {
    this.#outbox.send(Type.PING);
  }

  report(report: Report): void {
    this.#outbox.send(Type.REPORT, encodeReport(report));
  }

  /** Streams whose producers may go on; each call empties the list. */
  takeDrained(): readonly number[] {
    return this.#outbox.takeDrained();
  }

  /**
   * The next message: connection frames first, then one frame of each stream in turn, until it has `atMost` bytes or more
   * (at most one frame more), or undefined where nothing can be sent now.
   */
  take(atMost: number): Uint8Array | undefined {
    return this.#outbox.take(atMost);
  }

  // ---- bytes in --------------------------------------------------------------------------------------------------

  /**
   * Gives the events that a message means. After a `fatal` event there are none any more. With `now`, in ms, the peer's work is
   * rationed. A node, which serves one edge alone, calls it without, and nothing is rationed.
   */
  receive(message: Uint8Array, now?: number): SessionEvent[] {
    const events: SessionEvent[] = [];
    if (this.#dead) return events;
    try {
      let useful = false;
      decode(message, (each) => {
        if (now !== undefined) {
          const work = this.#workOf(each);
          // Whether useful frames follow is not known yet, so a message that begins with such work pays for itself.
          if (work === 0) useful = true;
          else if (!this.#ration.take(useful ? work : work + limits.WORK_MESSAGE, now))
            throw new Violation("more small frames than anybody needs");
          useful = true;
        }
        if (each.stream === 0) this.#onConnectionFrame(each, events);
        else if (this.#peer === undefined) throw new Violation("a stream before HELLO");
        else if (!this.#resuming) onStreamFrame(this.#streams, each, events);
        if (this.#outbox.overflowing && !this.#dead) throw new Violation("the peer provokes answers and reads none");
        return !this.#dead;
      });
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.#die(events, limits.CLOSE_VIOLATION, `protocol violation: ${error.message}`, false);
    }
    return events;
  }

  /** The work of a frame that no stream has asked for, or that carries next to nothing. 0: it is a useful part of an answer. */
  #workOf({ stream, type, end, payload }: Frame): number {
    if (stream === 0) return limits.WORK_FRAME + payload.length / limits.WORK_BYTES;
    switch (type) {
      case Type.DATA:
      case Type.TEXT:
      case Type.BINARY:
        return payload.length >= limits.TINY || end ? 0 : limits.WORK_FRAME;
      case Type.CREDIT:
        return limits.WORK_FRAME;
      default:
        return this.#streams.get(stream) === undefined ? limits.WORK_FRAME : 0;
    }
  }

  #onConnectionFrame({ type, payload }: Frame, events: SessionEvent[]): void {
    if (this.#peer === undefined && type !== Type.HELLO && !(type === Type.GOAWAY && !this.#edge))
      throw new Violation("a frame before HELLO");
    switch (type) {
      case Type.HELLO:
        return this.#onHello(parseJson("HELLO", helloSchema, payload), events);
      case Type.GOAWAY:
        return this.#onGoAway(parseJson("GOAWAY", goAwaySchema, payload), events);
      case Type.PING:
        return this.#outbox.pong();
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
        if (!this.#resuming) this.#outbox.earn(payload);
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
    if (this.#edge) this.#outbox.send(Type.HELLO, encodeJson(this.#hello));
    events.push({ type: "hello", hello });
  }

  #onGoAway(goAway: GoAway, events: SessionEvent[]): void {
    this.#goAways++;
    if (this.#goAways > limits.GOAWAYS_MAX || (this.#goneForGood && goAway.permanent))
      throw new Violation("one GOAWAY after the other");
    this.#goneForGood ||= goAway.permanent;
    events.push({ type: "goaway", goAway });
    this.#goneAway = true;
    if (!this.#edge) return;
    // A stream whose OPEN was not sent yet is unknown to the peer, and goes elsewhere. So a PONG behind a GOAWAY proves that no OPEN
    // follows.
    for (const stream of this.#streams.all()) {
      if (stream.announced) continue;
      this.#streams.forget(stream);
      const reason = "the node goes away";
      events.push({ type: "reset", id: stream.id, code: Reset.NOT_SENT, reason });
    }
  }

  #onResume(payload: Uint8Array, events: SessionEvent[]): void {
    if (payload.length !== 4) throw new Violation("RESUME is not 4 bytes");
    const epoch = readU32(payload, 0);
    if (this.#edge) {
      // A lower number answers an earlier RESUME: the edge said 5, lost its memory again, said 9, and the echo of 5 arrives first.
      if (this.#epoch === 0 || epoch > this.#epoch) throw new Violation("RESUME that answers nothing");
      if (epoch === this.#epoch) this.#resuming = false;
      return;
    }
    for (const stream of this.#streams.all()) {
      this.#streams.forget(stream);
      events.push({ type: "reset", id: stream.id, code: Reset.CANCELLED, reason: "the edge restarted" });
    }
    this.#streams.accounts.restart();
    this.#outbox.restart(payload);
    events.push({ type: "resumed" });
  }

  #die(events: SessionEvent[], code: number, why: string, permanent: boolean): void {
    const reason = why.slice(0, limits.REASON_MAX);
    this.goAway(reason, permanent);
    for (const stream of this.#streams.all()) {
      this.#streams.forget(stream);
      const sent = stream.announced || !this.#edge;
      const code = sent ? Reset.BROKE : Reset.NOT_SENT;
      events.push({ type: "reset", id: stream.id, code, reason, lost: true });
    }
    this.abandon();
    events.push({ type: "fatal", code, reason });
  }

  /** The socket is gone: what was held is given back to the budget. Commands are no-ops afterwards. */
  abandon(): void {
    this.#dead = true;
    this.#streams.close();
  }
}
