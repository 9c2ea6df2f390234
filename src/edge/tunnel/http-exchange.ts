// One exchange over one stream of one link: a head and a body each way, under the session's credit; or, where a WebSocket was
// asked for and the backend agrees, its 101 and then a ClientSocket. A refused handshake goes on as any other answer.
// Promises: the answer's bytes reach the client as they came; a broken answer breaks the client's body, it never ends
// it; a client that goes away, or breaks off its request, resets the stream at once. It decides nothing about retries.
import { declaredLength } from "../../shared/http/declared-length.ts";
import { Reset, type RequestHead, type ResponseHead } from "../../shared/wire/messages.ts";
import type { Budget } from "../../shared/wire/session.ts";
import type { BodySink, RequestBody } from "../forward/request-body.ts";
import type { Failed, Mover } from "../forward/transport.ts";
import { type Attempt, badAnswer, clientGone, failedBy, headTooLarge } from "./attempt.ts";
import { ClientSocket } from "./client-socket.ts";
import type { Exchange, Link } from "./link.ts";

export interface HttpExchangeOptions {
  readonly link: Link;
  readonly head: RequestHead;
  readonly body: RequestBody;
  /** The object's memory: what a WebSocket's client sends counts in it. */
  readonly memory: Budget;
  /** The client's connection. The platform makes its signal when it is first asked for; most requests are over before. */
  readonly request: { readonly signal: AbortSignal };
  readonly now: number;
  readonly mover: Mover;
}

/** Opens a stream, and resolves with the answer's head, or with why there is none. The body streams on afterwards. */
export function httpExchange(options: HttpExchangeOptions): Promise<Attempt> {
  return new Promise((resolve) => {
    try {
      void new HttpExchange(options, resolve);
    } catch (error) {
      // What a session throws for a head longer than any frame.
      if (!(error instanceof RangeError)) throw error;
      resolve(headTooLarge);
    }
  });
}

/**
 * Where an exchange is; it only ever moves forward, and only this file moves it.
 * asked: the request goes to the node, and the loop waits for the answer's head.
 * answering: the loop has the head, and the stream still owes the body or its own end.
 * upgraded: the loop has the 101, and the stream carries the messages of a ClientSocket.
 * over: the link tells nothing more. What the client has not read of a complete answer is still on its way to it.
 */
type State = "asked" | "answering" | "upgraded" | "over";

class HttpExchange implements Exchange, BodySink {
  waitingSince = Number.NaN;
  readonly #link: Link;
  readonly #head: RequestHead;
  readonly #body: RequestBody;
  readonly #memory: Budget;
  readonly #mover: Mover;
  readonly #request: { readonly signal: AbortSignal };
  readonly #id: number;
  #state: State = "asked";
  /** Let go with the attempt that it was called with: it would keep that in memory as long as the exchange. */
  #resolve: ((attempt: Attempt) => void) | undefined;
  /** While answering, and until the client has read all: where its body is written. undefined: the answer has no body. */
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  /** Since it was upgraded. */
  #socket: ClientSocket | undefined;
  /** The client's connection, once it is watched. */
  #signal: AbortSignal | undefined;
  readonly #onGone = (): void => this.#cancel("the client went away");

  constructor(options: HttpExchangeOptions, resolve: (attempt: Attempt) => void) {
    const { link, head, body } = options;
    this.#link = link;
    this.#head = head;
    this.#body = body;
    this.#memory = options.memory;
    this.#mover = options.mover;
    this.#request = options.request;
    this.#resolve = resolve;
    this.#id = link.open(this, head, body.whole, !body.streamed && !head.websocket, options.now);
    if (body.streamed) body.attach(this);
  }

  // ---- the request's body --------------------------------------------------------------------------------------

  write(bytes: Uint8Array, end: boolean): boolean {
    return this.#link.session.write(this.#id, bytes, end);
  }

  flush(): void {
    this.#link.flush();
  }

  onBroken(): void {
    this.#cancel("the client broke off its request");
  }

  // ---- what the link tells -------------------------------------------------------------------------------------

  onHead(head: ResponseHead, body: Uint8Array | undefined, end: boolean): void {
    const { status } = head;
    if (status === 101) return this.#upgrade(head);
    if (this.#head.method === "HEAD" || status === 204 || status === 205 || status === 304)
      return this.#bodiless(head, body !== undefined, end);
    const length = declaredLength(head.headers);
    const bytes = body?.length ?? 0;
    if (end && length !== undefined && length !== bytes)
      return this.#fail(badAnswer(`${bytes} bytes of body where Content-Length says ${length}`));
    if (end && this.#body.ended) {
      this.#link.consumed(this.#id, bytes);
      this.#answer(head, body ?? null);
      return this.#finish();
    }
    this.onWait();
    if (this.#state !== "asked") return;
    const known = end ? bytes : length;
    const { readable, writable } = known === undefined ? new IdentityTransformStream() : new FixedLengthStream(known);
    this.#writer = writable.getWriter();
    // Rejects when the client has gone, or wants no more of the body.
    this.#writer.closed.catch(this.#onGone);
    if (body !== undefined) this.#forward(this.#writer, body);
    this.#answer(head, readable);
    if (end) this.#finish();
  }

  /** HTTP gives these answers no body, so bytes that a node sends as one are dropped. The end may come in a frame of its own. */
  #bodiless(head: ResponseHead, hasBody: boolean, end: boolean): void {
    this.#answer(head, null);
    if (hasBody) this.onOverdue();
    else if (end) this.#finish();
    else this.#link.expectEnd(this.#id);
  }

  onData(bytes: Uint8Array, end: boolean): void {
    const writer = this.#writer;
    if (bytes.length > 0) {
      if (writer === undefined) return this.onOverdue();
      this.#forward(writer, bytes);
    }
    if (end) this.#finish();
  }

  onReset(code: Reset, reason: string, lost: boolean): void {
    this.#break(failedBy(code, reason, lost));
    this.#socket?.broke(code, reason);
  }

  /** The exchange takes longer than most do: from now on it ends as soon as the client leaves. */
  onWait(): void {
    if (this.#signal !== undefined) return;
    this.#signal = this.#request.signal;
    if (this.#signal.aborted) return this.#onGone();
    this.#signal.addEventListener("abort", this.#onGone);
  }

  onDrained(): void {
    this.#body.resume();
  }

  onSuspect(): void {
    if (this.#state !== "asked" || !this.#mover.mayMove()) return;
    this.#link.release(this.#id, Reset.CANCELLED, "moved to another node");
    this.#break({ ok: false, sent: "maybe", reason: "no-available-node", detail: "the node fell silent" });
  }

  /** The client has its whole answer, so the stream is ended: nobody needs what may still come. */
  onOverdue(): void {
    this.#link.release(this.#id, Reset.DONE, "the answer is complete");
    this.#end();
  }

  /** The session lets messages through after a 101 only. */
  onMessage(data: string | Uint8Array, size: number): void {
    this.#socket?.onMessage(data, size);
  }

  onClose(code: number, reason: string): void {
    this.#socket?.onClose(code, reason);
    this.#end();
  }

  /** Nobody will read the answer. */
  discard(reason: string): void {
    this.#socket?.discard();
    this.#cancel(reason);
  }

  #upgrade(head: ResponseHead): void {
    this.onWait();
    if (this.#state !== "asked") return;
    this.#socket = new ClientSocket(this.#link, this.#id, this.#memory, (reason) => this.#cancel(reason));
    const webSocket = this.#socket.far;
    const { headers, by } = head;
    this.#settle({ ok: true, status: 101, headers, body: null, webSocket, by, exchange: this }, "upgraded");
  }

  #forward(writer: WritableStreamDefaultWriter<Uint8Array>, bytes: Uint8Array): void {
    writer.write(bytes).then(() => this.#link.consumed(this.#id, bytes.length), this.#onGone);
  }

  /** The client is at fault, or has gone. */
  #cancel(reason: string): void {
    this.#link.release(this.#id, Reset.CANCELLED, reason);
    this.#break(clientGone(reason));
    this.#socket?.broke(Reset.CANCELLED, reason);
  }

  #fail(failed: Failed): void {
    this.#link.release(this.#id, Reset.CANCELLED, failed.detail);
    this.#break(failed);
  }

  /** The stream is gone: nothing more is sent, and whoever waits for the head or for more of the body is told. */
  #break(failed: Failed): void {
    this.#settle(failed, "over");
    this.#writer?.abort(new Error(failed.detail)).catch(() => {});
    this.#end();
  }

  #answer({ status, headers, by }: ResponseHead, body: Uint8Array | ReadableStream<Uint8Array> | null): void {
    this.#settle({ ok: true, status, headers, body, by, exchange: this }, "answering");
  }

  /** The loop gets this for an answer, if it still waits for one. */
  #settle(attempt: Attempt, state: State): void {
    if (this.#state !== "asked") return;
    this.#state = state;
    if (attempt.ok) this.#body.forget();
    this.#resolve?.(attempt);
    this.#resolve = undefined;
  }

  /**
   * The answer is complete, so nobody wants what is left of the request. A client that still sends it gets every byte of the answer
   * at once, but the answer's end only when its own body has been read: an earlier end could lose the answer (request-body.ts).
   */
  #finish(): void {
    if (this.#body.ended) this.#closeAnswer();
    else void this.#body.drain().then(() => this.#closeAnswer());
    if (!this.#body.ended || this.#head.websocket) return this.onOverdue();
    this.#link.done(this.#id);
    this.#end();
  }

  /** If fewer bytes came than Content-Length promised, close() fails, and that breaks the client's body. */
  #closeAnswer(): void {
    this.#writer?.close().catch(() => {});
  }

  /** Nothing more is sent, and the client is watched no longer. */
  #end(): void {
    this.#state = "over";
    this.#body.detach();
    this.#signal?.removeEventListener("abort", this.#onGone);
  }
}
