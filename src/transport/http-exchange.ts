// One HTTP exchange over one stream of one link: a head and a body each way, under the session's credit.
// Promises: the answer's bytes reach the client as they came; a broken answer breaks the client's body, it never ends
// it; a client that goes away resets the stream at once. It decides nothing about retries.
import { declaredLength } from "../wire/http.ts";
import { Reset, type RequestHead, type ResponseHead } from "../wire/messages.ts";
import { type Attempt, failedBy } from "./attempt.ts";
import type { Exchange, Link } from "./link.ts";
import type { RequestBody } from "./request-body.ts";

export interface HttpExchangeOptions {
  readonly link: Link;
  readonly head: RequestHead;
  readonly body: RequestBody;
  /** The client's connection. Its signal is made when it is first asked for, and most requests are over before. */
  readonly request: { readonly signal: AbortSignal };
  readonly now: number;
  /** Whether a silent node should be left: the request may be sent elsewhere, and there is an elsewhere. */
  readonly mayMove: () => boolean;
}

/** Opens a stream and resolves with its head, or with why there is none. The body streams on afterwards. */
export function httpExchange(options: HttpExchangeOptions): Promise<Attempt> {
  return new Promise((resolve) => new HttpExchange(options, resolve));
}

class HttpExchange implements Exchange {
  waitingSince = Number.NaN;
  readonly #link: Link;
  readonly #body: RequestBody;
  readonly #mayMove: () => boolean;
  readonly #request: { readonly signal: AbortSignal };
  readonly #method: string;
  readonly #id: number;
  #resolve: ((attempt: Attempt) => void) | undefined;
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #watched = false;
  readonly #onAbort = (): void => this.#cancel("the client went away");

  constructor(options: HttpExchangeOptions, resolve: (attempt: Attempt) => void) {
    this.#link = options.link;
    this.#body = options.body;
    this.#mayMove = options.mayMove;
    this.#request = options.request;
    this.#method = options.head.method;
    this.#resolve = resolve;
    this.#id = this.#link.open(this, options.head, this.#body.whole, this.#body.ended, options.now);
    if (!this.#body.ended) this.#body.attach(this.#link, this.#id);
  }

  onHead(head: ResponseHead, body: Uint8Array | undefined, end: boolean): void {
    if (body !== undefined && end) this.#link.consumed(this.#id, body.length);
    if (end) {
      this.#settle({ ok: true, status: head.status, headers: head.headers, body: body ?? null });
      return this.#finish();
    }
    // The end is in a frame of its own; a stream of the declared length would wait for bytes that never come.
    if (this.#method === "HEAD" || head.status === 204 || head.status === 304)
      return this.#settle({ ok: true, status: head.status, headers: head.headers, body: null });
    const length = declaredLength(head.headers);
    const { readable, writable } = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
    this.#writer = writable.getWriter();
    this.onWait();
    // The reader's end: the client has gone, or did not want the rest.
    this.#writer.closed.catch(() => this.#cancel("the client went away"));
    if (body !== undefined) this.#forward(this.#writer, body);
    this.#settle({ ok: true, status: head.status, headers: head.headers, body: readable });
  }

  onData(bytes: Uint8Array, end: boolean): void {
    const writer = this.#writer;
    if (bytes.length > 0 && writer !== undefined) this.#forward(writer, bytes);
    if (!end) return;
    // Fewer bytes than Content-Length promised make close() fail, and so break the client's body.
    writer?.close().catch(() => {});
    this.#finish();
  }

  onReset(code: Reset, reason: string): void {
    this.#body.detach();
    this.#settle(failedBy(code, reason));
    this.#writer?.abort(new Error(reason)).catch(() => {});
    this.#end();
  }

  /** It takes longer than most: from now on the client's leaving is noticed at once. */
  onWait(): void {
    if (this.#watched) return;
    this.#watched = true;
    const { signal } = this.#request;
    if (signal.aborted) return this.#onAbort();
    signal.addEventListener("abort", this.#onAbort);
  }

  onDrained(): void {
    this.#body.resume();
  }

  onSuspect(): void {
    if (this.#resolve === undefined || !this.#mayMove()) return;
    this.#link.release(this.#id, Reset.CANCELLED, "moved to another node");
    this.#body.detach();
    this.#settle({ ok: false, sent: "maybe", reason: "no-available-node", detail: "the node fell silent" });
    this.#end();
  }

  /** An HTTP exchange that gets WebSocket frames: the session lets none through. */
  onMessage(): void {}
  onClose(): void {}

  #forward(writer: WritableStreamDefaultWriter<Uint8Array>, bytes: Uint8Array): void {
    writer.write(bytes).then(
      () => this.#link.consumed(this.#id, bytes.length),
      () => this.#cancel("the client went away"),
    );
  }

  #cancel(reason: string): void {
    this.#link.release(this.#id, Reset.CANCELLED, reason);
    this.#body.detach();
    this.#settle(failedBy(Reset.CANCELLED, reason));
    this.#writer?.abort(new Error(reason)).catch(() => {});
    this.#end();
  }

  #settle(attempt: Attempt): void {
    if (attempt.ok) this.#body.forget();
    this.#resolve?.(attempt);
    this.#resolve = undefined;
  }

  /** The answer is complete: what is left of the request is unwanted. */
  #finish(): void {
    if (this.#body.ended) this.#link.done(this.#id);
    else {
      this.#body.detach();
      this.#link.release(this.#id, Reset.DONE, "the answer is complete");
    }
    this.#end();
  }

  #end(): void {
    if (this.#watched) this.#request.signal.removeEventListener("abort", this.#onAbort);
  }
}
