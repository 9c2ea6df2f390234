// One stream's state: what waits to be sent, what credit either side has, which halves are closed. Knows nothing of sockets
// or of other streams; session.ts moves frames in and out and does the connection's accounts.
// Lost with the session: streams never outlive memory (README.md, Hibernation).
import { DATA_MAX, STREAM_WINDOW } from "./limits.ts";

/** Something to send, in order. `costs`: its payload is paid with credit and may be split. */
export interface Outgoing {
  readonly flags: number;
  /** Set on the last frame of a split item. */
  readonly endFlag: number;
  /** Set on all but the last frame of a split item. */
  readonly moreFlag: number;
  readonly costs: boolean;
  payload: Uint8Array;
}

export class Stream {
  readonly id: number;
  readonly websocket: boolean;

  // Sending.
  readonly #queue: Outgoing[] = [];
  #first = 0;
  /** Payload bytes queued that cost credit. */
  queued = 0;
  credit = STREAM_WINDOW;
  /** No more may be queued: END, CLOSE or RESET is in the queue or sent. */
  sendClosed = false;
  /** The first frame was taken: the peer knows, or will know, of this stream. */
  announced = false;
  /** The producer was told to pause, and is to be told when there is room again. */
  paused = false;
  /** Listed in the session's ring of streams with something to send. */
  ringed = false;

  // Receiving.
  headSeen = false;
  recvClosed = false;
  /** What the peer may still send. */
  peerCredit = STREAM_WINDOW;
  /** How much this stream may hold and have in flight together; grows with a reader that keeps up. */
  window = STREAM_WINDOW;
  /** Bytes received and not yet consumed. */
  held = 0;
  /** Credit to be announced with the next message. */
  grant = 0;
  /** Parts of a WebSocket message that is still arriving. */
  parts: Uint8Array[] = [];
  partBytes = 0;
  partText = false;

  constructor(id: number, websocket: boolean) {
    this.id = id;
    this.websocket = websocket;
  }

  push(item: Outgoing): void {
    this.#queue.push(item);
    if (item.costs) this.queued += item.payload.length;
  }

  get empty(): boolean {
    return this.#first === this.#queue.length;
  }

  /** Both halves closed, nothing left to send or to consume: the session forgets it. */
  get finished(): boolean {
    return this.sendClosed && this.recvClosed && this.held === 0 && this.empty;
  }

  /** True where the next frame could go now, given what the connection may still send. */
  sendable(connectionCredit: number): boolean {
    const item = this.#queue[this.#first];
    if (item === undefined) return false;
    return !item.costs || item.payload.length === 0 || (this.credit > 0 && connectionCredit > 0);
  }

  /**
   * The next frame's flags and payload; only after sendable(). Takes at most DATA_MAX and at most the credit there is.
   * Returned payload is a view of what was queued.
   */
  next(connectionCredit: number): { flags: number; payload: Uint8Array; cost: number } {
    const item = this.#queue[this.#first] as Outgoing;
    this.announced = true;
    if (!item.costs) {
      this.#shift();
      return { flags: item.flags | item.endFlag, payload: item.payload, cost: 0 };
    }
    const most = Math.min(DATA_MAX, this.credit, connectionCredit);
    const whole = item.payload.length <= most;
    const payload = whole ? item.payload : item.payload.subarray(0, most);
    if (whole) this.#shift();
    else item.payload = item.payload.subarray(most);
    this.queued -= payload.length;
    this.credit -= payload.length;
    return { flags: item.flags | (whole ? item.endFlag : item.moreFlag), payload, cost: payload.length };
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

  /** Forgets what was queued, and lets nothing more be queued. */
  drop(): void {
    this.#queue.length = 0;
    this.#first = 0;
    this.queued = 0;
    this.sendClosed = true;
  }
}
