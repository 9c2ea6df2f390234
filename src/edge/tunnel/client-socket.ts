// A client's WebSocket after the backend's 101, with the client on one side and a stream on the other. Nothing can pause a client
// that sends messages. So its socket is closed where too much is queued or the object's memory is short (code 1013), and where a
// message is too big (code 1009). Queued messages count in the object's budget (src/shared/wire/session.ts).
// It uses accept() and not hibernation, because an object never hibernates while a stream is open.
import { STREAM_WINDOW, WEBSOCKET_MESSAGE_MAX } from "../../shared/wire/limits.ts";
import { isCloseCode, Reset } from "../../shared/wire/messages.ts";
import type { Budget } from "../../shared/wire/session.ts";
import type { Link } from "./link.ts";

/** A client whose backend does not keep up may have this many bytes queued, and one message more, of any size. */
const INBOUND_QUEUE_MAX = 1024 * 1024;
/** Clients' messages may fill the object's budget up to this share; past it slow readers lose their streams (src/shared/wire). */
const MEMORY_SHARE = 0.75;
/** While more bytes than this are buffered for the client, its backend gets no new credit. */
const OUTBOUND_BUFFER_MAX = STREAM_WINDOW;
/** How often a slow client's buffer is looked at, ms: no event tells that it has fallen. */
const SLOW_CLIENT_MS = 50;
/** How long a backend may take to answer the client's close, ms. */
const CLOSING_MS = 10_000;

export class ClientSocket {
  /** The end that goes to the client with the 101. */
  readonly far: WebSocket;
  readonly #link: Link;
  readonly #id: number;
  readonly #memory: Budget;
  readonly #cancel: (reason: string) => void;
  /** The end that is kept here; undefined: it has been closed. */
  #client: WebSocket | undefined;
  /** Bytes sent to the client for which the backend gets credit once the client's buffer has fallen. */
  #unacknowledged = 0;
  #closing: number | undefined;

  /** `cancel` ends the exchange; it is called where the client's socket breaks, or the backend does not answer its close. */
  constructor(link: Link, id: number, memory: Budget, cancel: (reason: string) => void) {
    const { 0: far, 1: client } = new WebSocketPair();
    this.far = far;
    this.#link = link;
    this.#id = id;
    this.#memory = memory;
    this.#cancel = cancel;
    this.#client = client;
    client.accept({ allowHalfOpen: true });
    client.binaryType = "arraybuffer";
    client.addEventListener("message", (event) => this.#fromClient(event.data as string | ArrayBuffer));
    client.addEventListener("close", (event) => this.#onClientClosed(event.code, event.reason));
    client.addEventListener("error", () => cancel("the client's socket broke"));
  }

  /**
   * The 101 is not handed on to the client. The client's end has to be accepted before it can be closed, and a pair that is not
   * closed stays in memory.
   */
  discard(): void {
    this.far.accept();
    this.far.close(1011, "not handed on");
  }

  #fromClient(data: string | ArrayBuffer): void {
    if (this.#client === undefined) return;
    const message = typeof data === "string" ? data : new Uint8Array(data);
    // A string's length is at most its UTF-8 length: close enough for limits that protect memory.
    if (message.length > WEBSOCKET_MESSAGE_MAX) return this.#end(1009, "message too big", Reset.TOO_BIG);
    if (this.#link.session.queued(this.#id) > INBOUND_QUEUE_MAX)
      return this.#end(1013, "the backend does not keep up", Reset.OVERLOADED);
    if (this.#memory.held + message.length > this.#memory.limit * MEMORY_SHARE)
      return this.#end(1013, "the edge is short of memory", Reset.OVERLOADED);
    this.#link.session.sendMessage(this.#id, message);
    this.#link.flush();
  }

  /** A message of the backend. Credit for its `size` is given when the client takes it, or at once if the client has gone. */
  onMessage(data: string | Uint8Array, size: number): void {
    const client = this.#client;
    if (client === undefined) return this.#link.consumed(this.#id, size);
    try {
      client.send(data);
    } catch {
      return this.#cancel("the client's socket is closed");
    }
    if (this.#unacknowledged > 0 || client.bufferedAmount > OUTBOUND_BUFFER_MAX) {
      if (this.#unacknowledged === 0) this.#watchSlowClient(client);
      this.#unacknowledged += size;
    } else this.#link.consumed(this.#id, size);
  }

  /** Gives the credit that waits once the client's buffer has fallen. */
  #watchSlowClient(client: WebSocket): void {
    setTimeout(() => {
      if (client.readyState !== WebSocket.OPEN) return;
      if (client.bufferedAmount > OUTBOUND_BUFFER_MAX) return this.#watchSlowClient(client);
      const bytes = this.#unacknowledged;
      this.#unacknowledged = 0;
      this.#link.consumed(this.#id, bytes);
    }, SLOW_CLIENT_MS);
  }

  #onClientClosed(code: number, reason: string): void {
    if (this.#client === undefined) return;
    this.#link.session.sendClose(this.#id, legalCode(code), reason);
    this.#link.flush();
    this.#closeClient(code, reason);
    this.#closing = setTimeout(() => this.#cancel("the backend does not close"), CLOSING_MS);
  }

  /** The backend closed, or answers the client's close: either way the exchange is over. */
  onClose(code: number, reason: string): void {
    this.#closeClient(code, reason);
    this.#link.session.sendClose(this.#id, code, reason);
    this.#link.done(this.#id);
    this.#link.flush();
  }

  /** The stream was reset: the client's socket is closed with a code that says why. */
  broke(code: Reset, reason: string): void {
    this.#closeClient(code === Reset.TOO_BIG ? 1009 : code === Reset.STALLED ? 1013 : 1011, reason);
  }

  #end(code: number, reason: string, reset: Reset): void {
    this.#closeClient(code, reason);
    this.#link.release(this.#id, reset, reason);
  }

  #closeClient(code: number, reason: string): void {
    clearTimeout(this.#closing ?? null);
    const client = this.#client;
    if (client === undefined) return;
    this.#client = undefined;
    closeSafely(client, code, reason);
    if (this.#unacknowledged > 0) this.#link.consumed(this.#id, this.#unacknowledged);
    this.#unacknowledged = 0;
  }
}

/**
 * A code that can be sent: 1006 (broken) and 1015 (TLS), which an endpoint may only report to itself, become 1011. 1005 means
 * that there was no code, which is 0 here.
 */
function legalCode(code: number): number {
  if (code === 0 || code === 1005) return 0;
  return isCloseCode(code) ? code : 1011;
}

function closeSafely(socket: WebSocket, code: number, reason: string): void {
  try {
    const legal = legalCode(code);
    if (legal === 0) socket.close();
    else socket.close(legal, cut(reason));
  } catch {
    // Closed already.
  }
}

/** A close frame has room for 123 bytes of reason. Whole characters are cut off, because half of one would be refused. */
function cut(reason: string): string {
  let text = reason;
  while (new TextEncoder().encode(text).length > 123) text = text.slice(0, -1);
  return text;
}
