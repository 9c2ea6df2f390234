// One WebSocket exchange: the client's socket on one side, a stream on the other. The 101 goes out only after the backend's
// handshake; its refusal is relayed as a plain answer. Nothing pauses a client's inbound messages, so a queue that grows
// past its limit ends the socket (1013), as does a message that is too big (1009).
// Uses accept(), not hibernation: an object never sleeps with a stream open.
import { STREAM_WINDOW, WEBSOCKET_MESSAGE_MAX } from "../wire/limits.ts";
import { Reset, type RequestHead, type ResponseHead } from "../wire/messages.ts";
import { type Attempt, failedBy } from "./attempt.ts";
import type { Exchange, Link } from "./link.ts";

/** Bytes a client may have queued towards a backend that does not keep up, beside one message of any size. */
const INBOUND_QUEUE_MAX = 1024 * 1024;
/** Bytes buffered towards the client above which its credit waits. */
const OUTBOUND_BUFFER_MAX = STREAM_WINDOW;
/** How often a slow client's buffer is looked at, ms: no event tells that it fell. */
const SLOW_CLIENT_MS = 50;

export interface WebSocketExchangeOptions {
  readonly link: Link;
  readonly head: RequestHead;
  readonly request: { readonly signal: AbortSignal };
  readonly now: number;
  readonly mayMove: () => boolean;
}

export function webSocketExchange(options: WebSocketExchangeOptions): Promise<Attempt> {
  return new Promise((resolve) => new WebSocketExchange(options, resolve));
}

class WebSocketExchange implements Exchange {
  waitingSince = Number.NaN;
  readonly #link: Link;
  readonly #mayMove: () => boolean;
  readonly #id: number;
  #resolve: ((attempt: Attempt) => void) | undefined;
  #client: WebSocket | undefined;
  /** Bytes sent to the client whose credit waits until its buffer has fallen. */
  #unacknowledged = 0;
  /** The refusal's body, where the backend did not upgrade. */
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;

  constructor(options: WebSocketExchangeOptions, resolve: (attempt: Attempt) => void) {
    this.#link = options.link;
    this.#mayMove = options.mayMove;
    this.#resolve = resolve;
    this.#id = this.#link.open(this, options.head, undefined, false, options.now);
    options.request.signal.addEventListener("abort", () => this.#cancel("the client went away"), { once: true });
  }

  onHead(head: ResponseHead, body: Uint8Array | undefined, end: boolean): void {
    if (head.status === 101) return this.#upgrade(head);
    const refusal = new IdentityTransformStream();
    this.#writer = refusal.writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#resolve?.({ ok: true, status: head.status, headers: head.headers, body: refusal.readable });
    this.#resolve = undefined;
    this.onData(body ?? new Uint8Array(0), end);
  }

  #upgrade(head: ResponseHead): void {
    const pair = new WebSocketPair();
    const client = pair[1];
    this.#client = client;
    client.accept({ allowHalfOpen: true });
    client.binaryType = "arraybuffer";
    client.addEventListener("message", (event) => this.#fromClient(client, event.data as string | ArrayBuffer));
    client.addEventListener("close", (event) => {
      this.#link.session.sendClose(this.#id, legalCode(event.code), event.reason);
      this.#link.flush();
      this.#closeClient(event.code, event.reason);
    });
    client.addEventListener("error", () => this.#cancel("the client's socket broke"));
    this.#resolve?.({ ok: true, status: 101, headers: head.headers, body: null, webSocket: pair[0] });
    this.#resolve = undefined;
  }

  #fromClient(client: WebSocket, data: string | ArrayBuffer): void {
    const message = typeof data === "string" ? data : new Uint8Array(data);
    // A string's length is at most its UTF-8 length: close enough for a limit that protects memory.
    if (message.length > WEBSOCKET_MESSAGE_MAX) return this.#end(client, 1009, "message too big", Reset.TOO_BIG);
    if (this.#link.session.queued(this.#id) > INBOUND_QUEUE_MAX)
      return this.#end(client, 1013, "the backend does not keep up", Reset.OVERLOADED);
    this.#link.session.sendMessage(this.#id, message);
    this.#link.flush();
  }

  onMessage(data: string | Uint8Array, size: number): void {
    const client = this.#client;
    if (client === undefined) return;
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

  /** Gives credit only as the client's buffer falls. */
  #watchSlowClient(client: WebSocket): void {
    setTimeout(() => {
      if (client.readyState !== WebSocket.OPEN) return;
      if (client.bufferedAmount > OUTBOUND_BUFFER_MAX) return this.#watchSlowClient(client);
      const bytes = this.#unacknowledged;
      this.#unacknowledged = 0;
      this.#link.consumed(this.#id, bytes);
    }, SLOW_CLIENT_MS);
  }

  /** The backend closed, or answers the client's close: either way the exchange is over. */
  onClose(code: number, reason: string): void {
    this.#closeClient(code, reason);
    this.#link.session.sendClose(this.#id, code, reason);
    this.#link.done(this.#id);
    this.#link.flush();
  }

  /** Body of a refusal. */
  onData(bytes: Uint8Array, end: boolean): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    if (bytes.length > 0)
      writer.write(bytes).then(
        () => this.#link.consumed(this.#id, bytes.length),
        () => this.#cancel("the client went away"),
      );
    if (!end) return;
    writer.close().catch(() => {});
    this.#link.release(this.#id, Reset.DONE, "refused");
  }

  onReset(code: Reset, reason: string): void {
    this.#resolve?.(failedBy(code, reason));
    this.#resolve = undefined;
    this.#writer?.abort(new Error(reason)).catch(() => {});
    this.#closeClient(code === Reset.TOO_BIG ? 1009 : code === Reset.STALLED ? 1013 : 1011, reason);
  }

  onDrained(): void {}
  onWait(): void {}

  onSuspect(): void {
    if (this.#resolve === undefined || !this.#mayMove()) return;
    this.#link.release(this.#id, Reset.CANCELLED, "moved to another node");
    this.#resolve({ ok: false, sent: "maybe", reason: "no-available-node", detail: "the node fell silent" });
    this.#resolve = undefined;
  }

  #end(client: WebSocket, code: number, reason: string, reset: Reset): void {
    this.#link.release(this.#id, reset, reason);
    closeSafely(client, code, reason);
    this.#client = undefined;
  }

  #cancel(reason: string): void {
    this.#link.release(this.#id, Reset.CANCELLED, reason);
    this.onReset(Reset.CANCELLED, reason);
  }

  #closeClient(code: number, reason: string): void {
    const client = this.#client;
    if (client === undefined) return;
    this.#client = undefined;
    closeSafely(client, code, reason);
    if (this.#unacknowledged > 0) this.#link.consumed(this.#id, this.#unacknowledged);
    this.#unacknowledged = 0;
  }
}

/** Codes that only an endpoint itself may report (1006 broken, 1015 TLS) cannot be sent; 1005 means that there was none: 0. */
function legalCode(code: number): number {
  if (code === 0 || code === 1005) return 0;
  if (code === 1006 || code === 1015 || code === 1004) return 1011;
  return (code >= 1000 && code <= 1014) || (code >= 3000 && code <= 4999) ? code : 1011;
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

/** A close frame holds 123 bytes of reason; a cut within a character would be refused. */
function cut(reason: string): string {
  let text = reason;
  while (new TextEncoder().encode(text).length > 123) text = text.slice(0, -1);
  return text;
}
