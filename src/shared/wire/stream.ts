// One stream's state: what waits to be sent, what credit either side has, which halves are closed. Knows nothing of sockets
// or of other streams: outbox.ts sends what it has, incoming.ts says what arrives, accounts.ts knows the connection's credit.
// A stream is lost with its session, and never outlives memory (README.md, Hibernation).
import { END, MORE, Type } from "./frames.ts";
import { DATA_MAX, MESSAGE_COST, STREAM_QUEUE_MAX, STREAM_WINDOW, WEBSOCKET_MESSAGE_MAX } from "./limits.ts";
import { encodeClose, encodeText } from "./messages.ts";

/** Something to send, in order. `costs`: its payload is paid with credit and may be split. */
interface Outgoing {
  readonly flags: number;
  /** Set on the last frame of a split item. */
  readonly endFlag: number;
  /** Set on all but the last frame of a split item. */
  readonly moreFlag: number;
  readonly costs: boolean;
  /** Credit that each of its frames costs beside the payload. */
  readonly extra: number;
  payload: Uint8Array;
}

/** What a stream carries: a body each way; a WebSocket's handshake, until its answer decides; or its messages. */
type Carries = "body" | "handshake" | "messages";
/** What of the peer's half has come: at the node the OPEN makes the stream, at the edge the HEAD comes later. */
type Received = "nothing" | "head" | "end";

const NOTHING = new Uint8Array(0);

export class Stream {
  readonly id: number;
  #carries: Carries;

  // Sending.
  readonly #queue: Outgoing[] = [];
  #first = 0;
  /** Queued bytes that cost credit, and how many of them are of WebSocket messages. */
  queued = 0;
  queuedMessages = 0;
  credit = STREAM_WINDOW;
  #sendClosed = false;
  #announced = false;
  #paused = false;
  /** The stream is in one of the lists of the outbox, which alone writes this. */
  ringed = false;

  // Receiving.
  #received: Received = "nothing";
  /** What the peer may still send. */
  peerCredit = STREAM_WINDOW;
  /** How much this stream may hold and have in flight together; grows with a reader that keeps up. */
  window = STREAM_WINDOW;
  /** Bytes received and not yet consumed. */
  held = 0;
  /** Credit to be announced with the next message. */
  grant = 0;
  /** A WebSocket message that is still arriving: its first `partBytes`, which count as `partHeld` of `held`. */
  #parts = NOTHING;
  partBytes = 0;
  partHeld = 0;
  partText = false;

  constructor(id: number, websocket: boolean) {
    this.id = id;
    this.#carries = websocket ? "handshake" : "body";
  }

  // ---- states ----------------------------------------------------------------------------------------------------

  get carries(): Carries {
    return this.#carries;
  }

  get received(): Received {
    return this.#received;
  }

  /** No more may be queued: END, CLOSE or RESET is in the queue or sent. */
  get sendClosed(): boolean {
    return this.#sendClosed;
  }

  /** The first frame was taken: the peer knows, or will know, of this stream. */
  get announced(): boolean {
    return this.#announced;
  }

  /** The producer was told to pause, and is to be told when there is room again. */
  get paused(): boolean {
    return this.#paused;
  }

  /** The answer's head was given or has come: a handshake is accepted by a 101, and refused by anything else. */
  answered(status: number): void {
    if (status !== 101) this.#carries = "body";
    else if (this.#carries === "handshake") this.#carries = "messages";
  }

  /** The peer's OPEN or HEAD has come; `end`: and with it the end of its half. */
  gotHead(end: boolean): void {
    this.#received = end ? "end" : "head";
  }

  /** The peer's END or CLOSE has come. */
  gotEnd(): void {
    this.#received = "end";
  }

  /** False: too much is queued, and the producer should pause until resumes() says otherwise. */
  room(): boolean {
    // A paused stream stays so until resumes() ends it: its producer waits for that, and would wait for ever.
    if (this.queued > STREAM_QUEUE_MAX) this.#paused = true;
    return !this.#paused;
  }

  /** True once when a paused producer may go on. */
  resumes(): boolean {
    if (!this.#paused || this.queued > STREAM_QUEUE_MAX / 2) return false;
    this.#paused = false;
    return true;
  }

  // ---- sending ---------------------------------------------------------------------------------------------------

  /** OPEN or HEAD, with the beginning or the whole of the body. */
  pushHead(type: Type, payload: Uint8Array, body: Uint8Array | undefined, end: boolean): void {
    const alone = body === undefined || body.length === 0;
    this.#push({ flags: type, endFlag: alone && end ? END : 0, moreFlag: 0, costs: false, extra: 0, payload });
    if (alone) this.#sendClosed = end;
    else this.pushData(body, end);
  }

  pushData(payload: Uint8Array, end: boolean): void {
    if (payload.length > 0 || end)
      this.#push({ flags: Type.DATA, endFlag: end ? END : 0, moreFlag: 0, costs: true, extra: 0, payload });
    this.#sendClosed = end;
  }

  pushMessage(data: string | Uint8Array, text: boolean): void {
    const payload = typeof data === "string" ? encodeText(data) : data;
    const flags = text ? Type.TEXT : Type.BINARY;
    this.#push({ flags, endFlag: 0, moreFlag: MORE, costs: true, extra: MESSAGE_COST, payload });
  }

  pushClose(code: number, reason: string): void {
    const payload = encodeClose(code, reason);
    this.#push({ flags: Type.CLOSE, endFlag: 0, moreFlag: 0, costs: false, extra: 0, payload });
    this.#sendClosed = true;
  }

  #push(item: Outgoing): void {
    this.#queue.push(item);
    if (!item.costs) return;
    this.queued += item.payload.length + item.extra;
    if (item.extra > 0) this.queuedMessages += item.payload.length + item.extra;
  }

  get empty(): boolean {
    return this.#first === this.#queue.length;
  }

  /** Both halves closed, nothing left to send or to consume: the session forgets it. */
  get finished(): boolean {
    return this.#sendClosed && this.#received === "end" && this.held === 0 && this.empty;
  }

  /** True where the next frame could go now, given what the connection may still send. */
  sendable(connectionCredit: number): boolean {
    const item = this.#queue[this.#first];
    if (item === undefined) return false;
    if (!item.costs || item.payload.length + item.extra === 0) return true;
    return this.credit > item.extra && connectionCredit > item.extra;
  }

  /**
   * The next frame's flags and payload; only after sendable(). Takes at most DATA_MAX and at most the credit there is.
   * Returned payload is a view of what was queued.
   */
  next(connectionCredit: number): { flags: number; payload: Uint8Array; cost: number } {
    const item = this.#queue[this.#first] as Outgoing;
    this.#announced = true;
    if (!item.costs) {
      this.#shift();
      return { flags: item.flags | item.endFlag, payload: item.payload, cost: 0 };
    }
    const most = Math.min(DATA_MAX, this.credit - item.extra, connectionCredit - item.extra);
    const whole = item.payload.length <= most;
    const payload = whole ? item.payload : item.payload.subarray(0, most);
    if (whole) this.#shift();
    else item.payload = item.payload.subarray(most);
    const cost = payload.length + item.extra;
    const gone = whole ? cost : payload.length;
    this.queued -= gone;
    if (item.extra > 0) this.queuedMessages -= gone;
    this.credit -= cost;
    return { flags: item.flags | (whole ? item.endFlag : item.moreFlag), payload, cost };
  }

  /**
   * Credit that the peer could be given now. A message that is still arriving may be larger than any window, so its parts do
   * not count; whole ones that nobody has read do.
   */
  get owed(): number {
    return this.window - (this.held - this.partHeld) - this.peerCredit - this.grant;
  }

  /** Copies the part: it is a view that would keep a whole message of the connection in memory, however small it is. */
  addPart(part: Uint8Array, cost: number): void {
    const bytes = this.partBytes + part.length;
    if (bytes > this.#parts.length) {
      const larger = new Uint8Array(Math.max(bytes, Math.min(2 * this.#parts.length, WEBSOCKET_MESSAGE_MAX)));
      larger.set(this.#parts.subarray(0, this.partBytes));
      this.#parts = larger;
    }
    this.#parts.set(part, this.partBytes);
    this.partBytes = bytes;
    this.partHeld += cost;
  }

  /** The message that its last part has completed; it stays held until it is consumed. */
  takeMessage(): Uint8Array {
    const message = this.#parts.subarray(0, this.partBytes);
    this.#parts = NOTHING;
    this.partBytes = 0;
    this.partHeld = 0;
    return message;
  }

  #shift(): void {
    this.#first++;
    // Most queues are one or two long; this keeps a long-lived one from growing.
    if (this.#first === this.#queue.length) {
      this.#queue.length = 0;
      this.#first = 0;
    } else if (this.#first > 64) {
      this.#queue.splice(0, this.#first);
      this.#first = 0;
    }
  }

  /** Forgets what was queued, and closes both halves. */
  drop(): void {
    this.#queue.length = 0;
    this.#first = 0;
    this.queued = 0;
    this.queuedMessages = 0;
    this.#sendClosed = true;
    this.#received = "end";
  }
}
