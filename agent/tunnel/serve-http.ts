// Serves one HTTP stream: chooses endpoints in order, sends the request, streams the answer back under credit.
// Never sent: the next endpoint. Maybe sent: the next one only for an idempotent request whose body is whole.
// A broken answer resets the stream; it never ends it.
import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { declaredLength, isIdempotentMethod } from "../../src/wire/http.ts";
import { type RequestHead, Reset } from "../../src/wire/messages.ts";
import type { Backend, EndpointState } from "../dataplane/userspace/endpoints.ts";
import type { ServedStream, Server } from "./connection.ts";
import type { Pools } from "./pools.ts";

/** Endpoints tried for one request that none of them saw. */
const TRIES_UNSENT = 5;
/** Endpoints tried for one request that some of them may have seen. */
const TRIES_SENT = 2;

type Controller = Dispatcher.DispatchController;

export class HttpServer implements Server, Dispatcher.DispatchHandler {
  readonly #stream: ServedStream;
  readonly #head: RequestHead;
  readonly #pools: Pools;
  readonly #endpoints: Iterator<EndpointState>;
  readonly #body: Uint8Array | IncomingBody | null;
  #endpoint: EndpointState | undefined;
  #controller: Controller | undefined;
  #attempts = 0;
  #sent = false;
  #answered = false;
  #over = false;
  /** Body bytes that the answer still owes by its Content-Length; NaN: unknown, or none will come. */
  #remaining = Number.NaN;
  #ended = false;

  constructor(
    stream: ServedStream,
    head: RequestHead,
    body: Uint8Array | undefined,
    end: boolean,
    backend: Backend,
    pools: Pools,
  ) {
    this.#stream = stream;
    this.#head = head;
    this.#pools = pools;
    if (end) {
      this.#body = body ?? null;
      if (body !== undefined) stream.consumed(body.length);
    } else this.#body = new IncomingBody((bytes) => stream.consumed(bytes), body);
    this.#endpoints = backend.order(head.client, Date.now())[Symbol.iterator]();
    this.#next("no endpoint");
  }

  /** Sends the request to the next endpoint, or gives up with `why` the last one failed. */
  #next(why: string): void {
    const most = this.#sent ? TRIES_SENT : TRIES_UNSENT;
    const next = this.#attempts < most ? this.#endpoints.next() : undefined;
    if (next === undefined || next.done === true) {
      const code = this.#sent ? Reset.BROKE : this.#attempts === 0 ? Reset.NO_ENDPOINT : Reset.NOT_SENT;
      return this.#fail(code, why);
    }
    this.#attempts++;
    const endpoint = next.value;
    this.#endpoint = endpoint;
    endpoint.begin();
    try {
      this.#pools.get(endpoint.address, endpoint.port).dispatch(
        {
          path: this.#head.target,
          method: this.#head.method,
          headers: this.#head.headers as string[],
          body: this.#body,
          blocking: false,
        },
        this,
      );
    } catch (error) {
      // undici refuses what cannot be sent: an illegal header or method. No endpoint is to blame.
      endpoint.end();
      this.#endpoint = undefined;
      this.#fail(Reset.REFUSED, error instanceof Error ? error.message : String(error));
    }
  }

  // ---- undici, about the endpoint --------------------------------------------------------------------------------

  /** The request is about to be written to a connected socket: from here on it may have been sent. */
  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#over) return controller.abort(new Error("cancelled"));
    this.#sent = true;
  }

  onResponseStart(controller: Controller, status: number): void {
    if (status < 200) return;
    this.#answered = true;
    const headers = flatten(controller.rawHeaders);
    this.#remaining = this.#head.method === "HEAD" ? Number.NaN : (declaredLength(headers) ?? Number.NaN);
    this.#stream.respond({ status, headers });
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#remaining -= chunk.length;
    // The last bytes by Content-Length carry the end themselves: one frame less.
    this.#ended = this.#remaining === 0;
    if (!this.#stream.write(chunk, this.#ended)) controller.pause();
  }

  onResponseEnd(): void {
    this.#endpoint?.succeeded();
    this.#release();
    if (this.#over) return;
    this.#over = true;
    if (!this.#ended) this.#stream.write(NOTHING, true);
    const complete = !(this.#body instanceof IncomingBody) || this.#body.complete;
    if (this.#body instanceof IncomingBody) this.#body.discard();
    this.#stream.finished(complete);
  }

  onResponseError(_controller: Controller, error: Error): void {
    const endpoint = this.#endpoint;
    this.#release();
    if (this.#over) return;
    const timeout = "code" in error && error.code === "UND_ERR_HEADERS_TIMEOUT";
    endpoint?.failed(error.message);
    if (this.#answered) return this.#fail(Reset.BROKE, error.message);
    if (timeout) return this.#fail(Reset.TIMEOUT, error.message);
    const replayable = !(this.#body instanceof IncomingBody) || !this.#body.touched;
    if (this.#sent && !(isIdempotentMethod(this.#head.method) && replayable))
      return this.#fail(Reset.BROKE, error.message);
    if (!replayable) return this.#fail(Reset.NOT_SENT, error.message);
    this.#next(error.message);
  }

  #release(): void {
    this.#endpoint?.end();
    this.#endpoint = undefined;
    this.#controller = undefined;
  }

  #fail(code: Reset, reason: string): void {
    this.#over = true;
    if (this.#body instanceof IncomingBody) this.#body.destroy();
    this.#stream.reset(code, reason);
  }

  // ---- the tunnel, about the client ------------------------------------------------------------------------------

  onData(bytes: Uint8Array, end: boolean): void {
    if (this.#body instanceof IncomingBody) this.#body.receive(bytes, end);
  }

  onReset(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#body instanceof IncomingBody) this.#body.destroy();
    this.#controller?.abort(new Error("the client went away"));
  }

  onDrained(): void {
    this.#controller?.resume();
  }

  onMessage(): void {}
  onClose(): void {}
}

const NOTHING = new Uint8Array(0);

/** A request body that is still arriving. Bytes count as consumed when they are handed to the endpoint's socket. */
class IncomingBody extends Readable {
  readonly #consumed: (bytes: number) => void;
  #waiting: Uint8Array[] = [];
  #wanted = false;
  /** All of it has arrived. */
  complete = false;
  /** An endpoint has begun to read: it cannot be sent again. */
  touched = false;

  constructor(consumed: (bytes: number) => void, first: Uint8Array | undefined) {
    super({ highWaterMark: 0, autoDestroy: false });
    this.#consumed = consumed;
    if (first !== undefined) this.#waiting.push(first);
    // undici destroys it with the error that it reports anyway.
    this.on("error", () => {});
  }

  receive(bytes: Uint8Array, end: boolean): void {
    if (bytes.length > 0) this.#waiting.push(bytes);
    this.complete = end;
    if (this.#wanted) this._read();
  }

  override _read(): void {
    this.#wanted = true;
    this.touched = true;
    while (this.#wanted) {
      const chunk = this.#waiting.shift();
      if (chunk === undefined) break;
      this.#wanted = this.push(chunk);
      this.#consumed(chunk.length);
    }
    if (this.complete && this.#waiting.length === 0) {
      this.#wanted = false;
      this.push(null);
    }
  }

  /** Nobody will read the rest. */
  discard(): void {
    let bytes = 0;
    for (const chunk of this.#waiting) bytes += chunk.length;
    this.#waiting = [];
    this.#consumed(bytes);
    this.destroy();
  }
}

/** undici gives names and values as Buffers, in turn, as they came. */
function flatten(raw: Controller["rawHeaders"]): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((item) => (typeof item === "string" ? item : item.toString("latin1")));
}
