// The edge's end of one agent's connection: the session, the socket, and the exchanges that wait for its events. It moves bytes
// and hands events on; it decides nothing about nodes or retries.
// When the object loses its memory, the exchanges are lost. The session's state survives, because the owner stores it in the
// socket's attachment.
import { SOCKET_BUFFER_MAX, SUSPECT_MS } from "../../shared/wire/limits.ts";
import {
  type Hello,
  type ProbeQuestion,
  type Report,
  type RequestHead,
  Reset,
  type ResponseHead,
} from "../../shared/wire/messages.ts";
import type { Session, SessionEvent } from "../../shared/wire/session.ts";
import type { Effects } from "../forward/transport.ts";

/** What the owner of a stream is told. After onReset() it is told nothing more. */
export interface Exchange {
  onHead(head: ResponseHead, body: Uint8Array | undefined, end: boolean): void;
  onData(bytes: Uint8Array, end: boolean): void;
  onMessage(data: string | Uint8Array, size: number): void;
  onClose(code: number, reason: string): void;
  /** `lost`: the connection is over; the node itself has not reset the stream. */
  onReset(code: Reset, reason: string, lost: boolean): void;
  /** The stream has room again, after a write returned false. */
  onDrained(): void;
  /** The exchange still waits for its head. It is told so at each sweep. */
  onWait(): void;
  /**
   * The node has been silent for too long, and the exchange still waits for its head. It is told so at each sweep while both are
   * true, because another node may have come meanwhile.
   */
  onSuspect(): void;
  /** The end of the stream, which expectEnd() announced, has not come in time. */
  onOverdue(): void;
  /** When the stream was opened, epoch ms; NaN once its head has come. */
  waitingSince: number;
}

/** What a link needs of its WebSocket. */
export interface LinkSocket {
  readonly bufferedAmount: number;
  /** Throws if the socket is closed. */
  send(message: Uint8Array): void;
}

export interface LinkOwner {
  readonly effects: Effects;
  onHello(link: Link, hello: Hello): void;
  onGoAway(link: Link, reason: string): void;
  /** The link has become suspect, or is well again. */
  onLiveness(link: Link): void;
  /** The connection is of no use any more: the owner closes the socket with this code and reason. */
  onFatal(link: Link, code: number, reason: string): void;
  /** The owner is to store session.save() now. */
  onUnsaved(link: Link): void;
  /** The stream ids are used up: the connection has to be renewed. */
  onExhausted(link: Link): void;
}

/** How many bytes the session is asked for at a time; the message may be one frame longer. */
const TAKE = 64 * 1024;
/** A full socket is looked at again after this time, ms, and at every message that comes in: no event tells that it has drained. */
const FULL_SOCKET_MS = 2;
/** How long a stream may take to end after an answer that has no body, ms. */
const ENDING_MS = 5_000;

export class Link {
  readonly session: Session;
  readonly socket: LinkSocket;
  /** The id of the token that the agent dialled with; it is no secret. */
  readonly tokenId: string;
  readonly since: number;
  /** The node's latest report: the endpoints that it finds unavailable. */
  report: Report = { endpoints: [] };
  suspect = false;
  readonly #owner: LinkOwner;
  readonly #exchanges = new Map<number, Exchange>();
  /** Exchanges that wait for their head, the oldest first. */
  readonly #waiting = new Set<Exchange>();
  /** Streams of which only the end is missing, and since when, in epoch ms; the oldest first. */
  readonly #ending = new Map<number, number>();
  #lastReceived: number;
  #pingedAt = 0;
  #blocked = false;
  #closed = false;

  constructor(owner: LinkOwner, session: Session, socket: LinkSocket, tokenId: string, since: number) {
    this.#owner = owner;
    this.session = session;
    this.socket = socket;
    this.tokenId = tokenId;
    this.since = since;
    this.#lastReceived = since;
  }

  /** The agent has not said HELLO yet. */
  get stranger(): boolean {
    return this.session.peer === undefined;
  }

  get usable(): boolean {
    return !this.#closed && this.session.canOpen;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  open(exchange: Exchange, head: RequestHead, body: Uint8Array | undefined, end: boolean, now: number): number {
    return this.#begin(exchange, this.session.openStream(head, body, end), now);
  }

  /** Only while `usable`, and where the session canProbe. */
  probe(exchange: Exchange, question: ProbeQuestion, now: number): number {
    return this.#begin(exchange, this.session.openProbe(question), now);
  }

  #begin(exchange: Exchange, id: number, now: number): number {
    exchange.waitingSince = now;
    this.#exchanges.set(id, exchange);
    this.#waiting.add(exchange);
    if (this.session.unsaved) this.#owner.onUnsaved(this);
    this.flush();
    if (this.session.exhausted) this.#owner.onExhausted(this);
    return id;
  }

  /** The stream's end should come now. If it has not come after ENDING_MS, the exchange's onOverdue() is called. */
  expectEnd(id: number): void {
    this.#ending.set(id, this.#lastReceived);
  }

  /** The stream's owner wants no more of it: the stream is reset unless it is over, and what it held is given back. */
  release(id: number, code: Reset, reason: string): void {
    this.done(id);
    this.session.reset(id, code, reason);
    this.flush();
  }

  consumed(id: number, bytes: number): void {
    this.session.consumed(id, bytes);
    this.flush();
  }

  receive(message: ArrayBuffer, now: number): void {
    this.#lastReceived = now;
    this.#pingedAt = 0;
    if (this.suspect) {
      this.suspect = false;
      this.#owner.onLiveness(this);
    }
    for (const event of this.session.receive(new Uint8Array(message), now)) this.#on(event);
    this.flush();
  }

  /** `event` resets a stream of this link, because another connection needed the memory that it held. */
  evicted(event: SessionEvent): void {
    this.#on(event);
    this.flush();
  }

  #on(event: SessionEvent): void {
    switch (event.type) {
      case "hello":
        return this.#owner.onHello(this, event.hello);
      case "goaway":
        return this.#owner.onGoAway(this, event.goAway.reason);
      case "report":
        this.report = event.report;
        return;
      case "fatal":
        return this.#owner.onFatal(this, event.code, event.reason);
      case "pong":
      case "resumed":
        return;
    }
    const exchange = this.#exchanges.get(event.id);
    if (exchange === undefined) return;
    try {
      this.#tell(exchange, event);
    } catch (error) {
      console.error(`stream ${event.id} of node ${this.session.peer?.node} ends: its exchange failed`, error);
      this.release(event.id, Reset.CANCELLED, "the edge failed");
      exchange.onReset(Reset.BROKE, "the edge failed", false);
    }
  }

  #tell(exchange: Exchange, event: Extract<SessionEvent, { readonly id: number }>): void {
    switch (event.type) {
      case "open":
        return;
      case "head":
        this.#waiting.delete(exchange);
        exchange.waitingSince = Number.NaN;
        return exchange.onHead(event.head, event.body, event.end);
      case "data":
        return exchange.onData(event.bytes, event.end);
      case "message":
        return exchange.onMessage(event.data, event.size);
      case "close":
        return exchange.onClose(event.code, event.reason);
      case "reset":
        this.#drop(event.id, exchange);
        return exchange.onReset(event.code, event.reason, event.lost === true);
    }
  }

  /** The exchange is over in both directions, and is told nothing more. */
  done(id: number): void {
    const exchange = this.#exchanges.get(id);
    if (exchange !== undefined) this.#drop(id, exchange);
  }

  #drop(id: number, exchange: Exchange): void {
    this.#exchanges.delete(id);
    this.#waiting.delete(exchange);
    this.#ending.delete(id);
  }

  /** Sends what the session has to send, as far as the socket takes it. */
  flush(): void {
    if (this.#closed) return;
    for (;;) {
      if (this.socket.bufferedAmount >= SOCKET_BUFFER_MAX) {
        this.#lookAgain();
        break;
      }
      const message = this.session.take(TAKE);
      if (message === undefined) break;
      try {
        this.socket.send(message);
      } catch {
        // The socket has just closed; its close event does the rest.
        return;
      }
    }
    for (const id of this.session.takeDrained()) this.#exchanges.get(id)?.onDrained();
  }

  #lookAgain(): void {
    if (this.#blocked) return;
    this.#blocked = true;
    this.#owner.effects.later(FULL_SOCKET_MS, () => {
      this.#blocked = false;
      this.flush();
    });
  }

  /**
   * A node that is silent while an exchange waits is sent a PING first, and becomes suspect afterwards (src/shared/wire/README.md,
   * Liveness). The owner calls this every quarter of a second while any exchange waits.
   */
  sweep(now: number): void {
    for (const [id, since] of this.#ending) {
      if (now - since < ENDING_MS) break;
      this.#exchanges.get(id)?.onOverdue();
    }
    const oldest = this.#waiting.values().next().value;
    if (oldest === undefined) return;
    for (const exchange of [...this.#waiting]) exchange.onWait();
    const silentSince = Math.max(this.#lastReceived, oldest.waitingSince);
    if (now - silentSince < SUSPECT_MS) return;
    if (this.#pingedAt === 0) {
      this.#pingedAt = now;
      this.session.ping();
      this.flush();
      return;
    }
    if (now - this.#pingedAt < SUSPECT_MS) return;
    if (!this.suspect) {
      this.suspect = true;
      this.#owner.onLiveness(this);
    }
    for (const exchange of [...this.#waiting]) exchange.onSuspect();
  }

  /** When the last frame came, in epoch ms; at first, when the agent dialled. Its pings do not count: the platform answers them. */
  get lastReceived(): number {
    return this.#lastReceived;
  }

  /** The socket is closed, or is about to be. Every exchange is reset: as not sent if no byte of it has left, else with `code`. */
  close(code: Reset, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    const exchanges = [...this.#exchanges].map(
      ([id, exchange]) => [exchange, this.session.isUnsent(id) ? Reset.NOT_SENT : code] as const,
    );
    this.session.abandon();
    this.#exchanges.clear();
    this.#waiting.clear();
    this.#ending.clear();
    for (const [exchange, meaning] of exchanges) exchange.onReset(meaning, reason, true);
  }
}
