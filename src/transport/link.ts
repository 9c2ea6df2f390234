// The edge's end of one agent's connection: session + socket + who is waiting on it. Moves bytes and hands events to the
// exchanges; decides nothing about nodes or retries (src/objects/tunnel.ts does).
// Lost with memory: exchanges. The session's state survives in the socket's attachment, stored by the owner.
import { SOCKET_BUFFER_MAX, SUSPECT_MS } from "../wire/limits.ts";
import type { Hello, Report, RequestHead, Reset, ResponseHead } from "../wire/messages.ts";
import type { Session, SessionEvent } from "../wire/session.ts";

/** What a stream's owner is told. After onReset nothing comes any more. */
export interface Exchange {
  onHead(head: ResponseHead, body: Uint8Array | undefined, end: boolean): void;
  onData(bytes: Uint8Array, end: boolean): void;
  onMessage(data: string | Uint8Array, size: number): void;
  onClose(code: number, reason: string): void;
  onReset(code: Reset, reason: string, local: boolean): void;
  /** There is room again after a write returned false. */
  onDrained(): void;
  /** It has been waiting for its head for some time; said at each sweep. */
  onWait(): void;
  /** The node has been silent for too long; called once per silence, only while the exchange waits for its head. */
  onSuspect(): void;
  /** When the stream was opened, epoch ms; NaN once its head has come. */
  waitingSince: number;
}

export interface LinkOwner {
  onHello(link: Link, hello: Hello): void;
  onGoAway(link: Link, reason: string): void;
  onReport(link: Link, report: Report): void;
  /** Suspect or well again. */
  onLiveness(link: Link): void;
  /** The connection is of no use any more; close the socket with this. */
  onFatal(link: Link, code: number, reason: string): void;
  /** The session wants its state stored. */
  onUnsaved(link: Link): void;
}

/** Bytes asked of the session for one message. */
const TAKE = 64 * 1024;
/** How soon a full socket is looked at again, ms: nothing tells when it has drained, though every message that comes in looks too. */
const FULL_SOCKET_MS = 2;

export class Link {
  readonly session: Session;
  readonly socket: WebSocket;
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
  #lastReceived: number;
  #pingedAt = 0;
  #blocked = false;
  #closed = false;

  constructor(owner: LinkOwner, session: Session, socket: WebSocket, tokenId: string, since: number) {
    this.#owner = owner;
    this.session = session;
    this.socket = socket;
    this.tokenId = tokenId;
    this.since = since;
    this.#lastReceived = since;
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
    return id;
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
    for (const event of this.session.receive(new Uint8Array(message))) this.#on(event);
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
        return this.#owner.onReport(this, event.report);
      case "fatal":
        return this.#owner.onFatal(this, event.code, event.reason);
      case "pong":
      case "resumed":
      case "open":
        return;
    }
    const exchange = this.#exchanges.get(event.id);
    if (exchange === undefined) return;
    switch (event.type) {
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
        return exchange.onReset(event.code, event.reason, event.local);
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
    setTimeout(() => {
      this.#blocked = false;
      this.flush();
    }, FULL_SOCKET_MS);
  }

  /**
   * Silence while somebody waits: first PING, then suspicion. README.md of src/wire, Liveness. Called every quarter of
   * a second while any exchange waits.
   */
  sweep(now: number): void {
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

  /** The socket is gone, or goes now. Every exchange is reset with `code`. */
  close(code: Reset, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.session.abandon();
    const exchanges = [...this.#exchanges.values()];
    this.#exchanges.clear();
    this.#waiting.clear();
    for (const exchange of exchanges) exchange.onReset(code, reason, false);
  }
}
