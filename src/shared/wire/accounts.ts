// The receiver's accounts of one connection: what the peer may still send, what is held here, what credit is due, how large a
// stream's window may be. They know nothing of what the bytes mean. README.md, Flow control, has the rules.
// They are lost with the session; close() gives back what it held of a shared budget.
import { type Frame, Type, Violation } from "./frames.ts";
import * as limits from "./limits.ts";
import type { Stream } from "./stream.ts";

/** Bytes held by all sessions of one owner. The sessions share one such object; each adds and removes itself as a holder. */
export interface Budget {
  held: number;
  readonly limit: number;
  holders?: Set<Holder>;
}

/** A session, as the others that share its budget see it. */
export interface Holder {
  /** Bytes that its greediest stream holds. */
  readonly most: number;
  /** Gives that stream up. */
  giveUp(): void;
}

/** Credit that a frame costs. */
export function costOf({ type, payload }: Frame): number {
  if (type === Type.DATA) return payload.length;
  return type === Type.TEXT || type === Type.BINARY ? payload.length + limits.MESSAGE_COST : 0;
}

export class Accounts {
  readonly budget: Budget;
  /** Bytes received and not yet consumed, over all streams. */
  held = 0;
  /** Bytes of WebSocket messages that wait to be sent; they count in the budget only. */
  #queued = 0;
  /** What the peer may still send on all streams together. */
  #peerCredit = limits.CONNECTION_WINDOW;
  /** Credit of the connection, and of streams, to be announced with the next message. */
  #grant = 0;
  readonly #grants: Stream[] = [];

  constructor(budget: Budget) {
    this.budget = budget;
  }

  /** The peer spends the connection's credit. */
  charge(bytes: number): void {
    this.#peerCredit -= bytes;
    if (this.#peerCredit < 0) throw new Violation("more data than the connection's credit");
    this.held += bytes;
    this.budget.held += bytes;
  }

  /** Bytes that were charged belong to this stream: they spend its credit too, and it holds them. */
  hold(stream: Stream, bytes: number): void {
    stream.peerCredit -= bytes;
    if (stream.peerCredit < 0) throw new Violation(`more data than the credit of stream ${stream.id}`);
    stream.held += bytes;
  }

  /** Bytes are no longer held: the connection's credit goes back, in large steps. */
  release(bytes: number): void {
    this.held -= bytes;
    this.budget.held -= bytes;
    const owed = limits.CONNECTION_WINDOW - this.#peerCredit - this.held;
    if (owed >= limits.CONNECTION_WINDOW / 8) this.#grant = owed;
  }

  /** `bytes` more of messages wait to be sent; fewer where it is negative. */
  queue(bytes: number): void {
    this.#queued += bytes;
    this.budget.held += bytes;
  }

  /** A reader of this stream took bytes, and so may have more. */
  refill(stream: Stream): void {
    if (stream.owed < stream.window / 2) return;
    // Half a window was consumed: the reader keeps up, so its window grows, as far as memory allows.
    stream.window = Math.min(stream.window * 2, this.#windowLimit());
    this.#owe(stream);
  }

  /** The next parts of a message may come although nobody has read: a reader gets whole messages only. */
  refillParts(stream: Stream): void {
    if (stream.owed >= stream.window / 2) this.#owe(stream);
  }

  #owe(stream: Stream): void {
    const credit = stream.owed;
    if (credit <= 0) return;
    if (stream.grant === 0) this.#grants.push(stream);
    stream.grant += credit;
  }

  #windowLimit(): number {
    const pressure = Math.max(this.held / limits.CONNECTION_WINDOW, this.budget.held / this.budget.limit);
    if (pressure < 0.25) return limits.STREAM_WINDOW_MAX;
    return pressure < 0.5 ? limits.STREAM_WINDOW : limits.STREAM_WINDOW_MIN;
  }

  /** Past three quarters the stream that holds most is reset. */
  get connectionFull(): boolean {
    return this.held > limits.CONNECTION_WINDOW * 0.75;
  }

  get budgetFull(): boolean {
    return this.budget.held > this.budget.limit * 0.75;
  }

  get owesNothing(): boolean {
    return this.#grant === 0 && this.#grants.length === 0;
  }

  /** Announces the credit that is due, the connection's first. */
  takeGrants(announce: (stream: number, credit: number) => void): void {
    if (this.#grant > 0) {
      announce(0, this.#grant);
      this.#peerCredit += this.#grant;
      this.#grant = 0;
    }
    for (const stream of this.#grants) {
      if (stream.grant === 0) continue;
      announce(stream.id, stream.grant);
      stream.peerCredit += stream.grant;
      stream.grant = 0;
    }
    this.#grants.length = 0;
  }

  /** The edge lost its memory: no stream is left, and the connection's window is whole. */
  restart(): void {
    this.#peerCredit = limits.CONNECTION_WINDOW;
    this.#grant = 0;
  }

  close(): void {
    this.budget.held -= this.held + this.#queued;
    this.held = 0;
    this.#queued = 0;
    this.#grant = 0;
  }
}
