// The streams of one connection: which are open, how each one ends, and which are given up when memory runs short.
// Promises: a stream that is gone holds nothing, its paused producer is woken, and the peer is told where it knows of it.
// They are lost with the session.
import { Accounts, type Budget, type Holder } from "./accounts.ts";
import type { SessionEvent } from "./events.ts";
import { Reset } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { Stream } from "./stream.ts";

export class Streams implements Holder {
  readonly edge: boolean;
  readonly accounts: Accounts;
  readonly outbox: Outbox;
  /** Edge: the next id to give. Node: the highest id seen, plus 1. */
  nextId = 1;
  readonly #open = new Map<number, Stream>();
  readonly #onEvicted: ((event: SessionEvent) => void) | undefined;

  constructor(edge: boolean, budget: Budget, onEvicted: ((event: SessionEvent) => void) | undefined) {
    this.edge = edge;
    this.accounts = new Accounts(budget);
    this.outbox = new Outbox(edge, this.accounts, (stream) => this.settle(stream));
    this.#onEvicted = onEvicted;
    if (onEvicted === undefined) return;
    budget.holders ??= new Set();
    budget.holders.add(this);
  }

  get size(): number {
    return this.#open.size;
  }

  /** A copy of the list, so that whoever goes through it may reset streams. */
  all(): Stream[] {
    return [...this.#open.values()];
  }

  get(id: number): Stream | undefined {
    return this.#open.get(id);
  }

  /** A new stream; ids only rise. */
  add(id: number, websocket: boolean): Stream {
    this.nextId = id + 1;
    const stream = new Stream(id, websocket);
    this.#open.set(id, stream);
    return stream;
  }

  /** Forgets the stream where both halves are over and all is read. */
  settle(stream: Stream): void {
    if (stream.finished) this.#open.delete(stream.id);
  }

  /** Ends the stream here, whatever it held or had to send. */
  forget(stream: Stream): void {
    this.#open.delete(stream.id);
    this.outbox.drop(stream);
    stream.grant = 0;
    const held = stream.held;
    stream.held = 0;
    if (held > 0) this.accounts.release(held);
  }

  /** Ends the stream on both sides. */
  reset(stream: Stream, code: Reset, reason: string): void {
    this.forget(stream);
    // Where its OPEN was still queued, the peer never hears of the stream at all.
    if (!this.edge || stream.announced) this.outbox.sendReset(stream.id, code, reason);
  }

  /** A reset that nobody asked for: both sides are told. */
  resetHere(stream: Stream, code: Reset, reason: string, events: SessionEvent[]): void {
    this.reset(stream, code, reason);
    events.push({ type: "reset", id: stream.id, code, reason });
  }

  /**
   * Past three quarters of the connection's window this connection's stream that holds most is reset; past three quarters of the
   * budget the one that holds most of all that share it. So slow readers never use up what the others need.
   */
  evict(events: SessionEvent[]): void {
    while (this.accounts.connectionFull && this.#giveUp(events));
    while (this.accounts.budgetFull) {
      let worst: Holder | undefined;
      let most = this.most;
      for (const holder of this.accounts.budget.holders ?? []) {
        if (holder === this || holder.most <= most) continue;
        worst = holder;
        most = holder.most;
      }
      if (worst !== undefined) worst.giveUp();
      else if (!this.#giveUp(events)) return;
    }
  }

  get most(): number {
    const greediest = this.#greediest();
    return greediest === undefined ? 0 : this.#weight(greediest);
  }

  giveUp(): void {
    const events: SessionEvent[] = [];
    this.#giveUp(events);
    for (const event of events) this.#onEvicted?.(event);
  }

  #giveUp(events: SessionEvent[]): boolean {
    const worst = this.#greediest();
    if (worst === undefined) return false;
    this.resetHere(worst, Reset.STALLED, "the reader is too slow and holds too much memory", events);
    return true;
  }

  #greediest(): Stream | undefined {
    let worst: Stream | undefined;
    let most = 0;
    for (const stream of this.#open.values()) {
      const weight = this.#weight(stream);
      if (weight <= most) continue;
      worst = stream;
      most = weight;
    }
    return worst;
  }

  /** What of the budget is a stream's: what its reader has not taken, and its messages that the peer has not. */
  #weight(stream: Stream): number {
    return stream.held + (this.edge ? stream.queuedMessages : 0);
  }

  /** Gives back all that is held. The other sessions ask this one for memory no more. */
  close(): void {
    this.accounts.budget.holders?.delete(this);
    this.accounts.close();
    this.#open.clear();
  }
}
