// The edge's end of one agent's connection: session + socket + who is waiting on it. Moves bytes and hands events to the
// exchanges; decides nothing about nodes or retries.
// Lost with memory: exchanges. The session's state survives in the socket's attachment, stored by the owner.
import { SOCKET_BUFFER_MAX, SUSPECT_MS } from "../../shared/wire/limits.ts";
import { type Hello, type Report, type RequestHead, Reset, type ResponseHead } from "../../shared/wire/messages.ts";
import type { Session, SessionEvent } from "../../shared/wire/session.ts";
import type { Effects } from "../forward/transport.ts";

/** What a stream's owner is told. After onReset nothing comes any more. */
export interface Exchange {
  onHead(head: ResponseHead, body: Uint8Array | undefined, end: boolean): void;
  onData(bytes: Uint8Array, end: boolean): void;
  onMessage(data: string | Uint8Array, size: number): void;
  onClose(code: number, reason: string): void;
  /** `lost`: the node did not say it; its connection is over. */
  onReset(code: Reset, reason: string, lost: boolean): void;
  /** There is room again after a write returned false. */
  onDrained(): void;
  /** It has been waiting for its head for some time; said at each sweep. */
  onWait(): void;
  /**
   * The node has been silent for too long; said at each sweep as long as it is and the exchange waits for its head: another
   * node may have come meanwhile.
   */
  onSuspect(): void;
  /** The end that expectEnd() waited for has not come. */
  onOverdue(): void;
  /** When the stream was opened, epoch ms; NaN once its head has come. */
  waitingSince: number;
}

/** What a link needs of its WebSocket. */
export interface LinkSocket {
  readonly bufferedAmount: number;
  /** Throws where it is closed. */
  send(message: Uint8Array): void;
}

export interface LinkOwner {
  readonly effects: Effects;
  onHello(link: Link, hello: Hello): void;
  onGoAway(link: Link, reason: string): void;
  /** Suspect or well again. */
  onLiveness(link: Link): void;
  /** The connection is of no use any more; close the socket with this. */
  onFatal(link: Link, code: number, reason: string): void;
  /** The session wants its state stored. */
  onUnsaved(link: Link): void;
  /** No stream will be opened here any more: the connection is to be renewed. */
  onExhausted(link: Link): void;
}

/** Bytes asked of the session for one message. */
const TAKE = 64 * 1024;
/** How soon a full socket is looked at again, ms: nothing tells when it has drained, though every message that comes in looks too. */
const FULL_SOCKET_MS = 2;
/** How long a stream may take to end after an answer that has no body, ms. */
const ENDING_MS = 5_000;

export class Link {
  readonly session: Session;
  readonly socket: LinkSocket;
  /** Which token dialled; no secret. */
  readonly tokenId: string;
  readonly since: number;
  /** Latest endpoint report of this node. */
  report: Report = { endpoints: [] };
  suspect = false;
  readonly #owner: LinkOwner;
  readonly #exchanges = new Map<number, Exchange>();
  /** Those that wait for their head, oldest first. */
  readonly #waiting = new Set<Exchange>();
  /** Streams whose end is all that is missing, and since when, epoch ms; oldest first. */
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

  /** It has not said HELLO. */
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
    const id = this.session.openStream(head, body, end);
    exchange.waitingSince = now;
    this.#exchanges.set(id, exchange);
    this.#waiting.add(exchange);
    if (this.session.unsaved) this.#owner.onUnsaved(this);
    this.flush();
    if (this.session.exhausted) this.#owner.onExhausted(this);
    return id;
  }

  /** The stream's end should come now: after a while its exchange is told that it does not. */
  expectEnd(id: number): void {
    this.#ending.set(id, this.#lastReceived);
  }

  /** The owner of the stream wants no more of it: resets it where it is not over, gives back what it held. */
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

  /** A stream here was given up because another connection needed the memory. */
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

  /** The exchange is over in both directions: nothing more will be told. */
  done(id: number): void {
    const exchange = this.#exchanges.get(id);
    if (exchange !== undefined) this.#drop(id, exchange);
  }

  #drop(id: number, exchange: Exchange): void {
    this.#exchanges.delete(id);
    this.#waiting.delete(exchange);
    this.#ending.delete(id);
  }

  /** Sends what the session has, as far as the socket takes it. */
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
        // The socket closed under us; its close event does the rest.
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
   * Silence while somebody waits: first PING, then suspicion. README.md of src/shared/wire, Liveness. Called every quarter of
   * a second while any exchange waits.
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

  /** Last moment at which the node was heard, epoch ms, as far as this object's own frames tell. */
  get lastReceived(): number {
    return this.#lastReceived;
  }

  /** The socket is gone, or goes now. Every exchange is reset with `code`, or as not sent where nothing of it left. */
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
