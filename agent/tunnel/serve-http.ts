// Serves one HTTP stream: chooses endpoints in order, sends the request, streams the answer back under credit.
// Never sent: the next endpoint. Maybe sent: the next one only for an idempotent request whose body is whole.
// Sent to a host that lost its power or network, which nothing would tell for minutes: the same, after a look (#look).
// A broken answer resets the stream; it never ends it.
import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { declaredLength } from "../../src/wire/http.ts";
import { type RequestHead, Reset } from "../../src/wire/messages.ts";
import { isIdempotentMethod } from "../../src/wire/repeat.ts";
import type { Backend, EndpointState } from "../dataplane/userspace/endpoints.ts";
import type { ServedStream, Server } from "./connection.ts";
import type { Pools } from "./pools.ts";

/** Endpoints tried for one request that none of them saw. */
const TRIES_UNSENT = 5;
/** Endpoints tried for one request that some of them may have seen. */
const TRIES_SENT = 2;
/** A request that waits so long for its answer makes sure that the host is there; the next time after twice as long. */
const LOOK_MS = 2_000;
const LOOK_MOST_MS = 60_000;

type Controller = Dispatcher.DispatchController;

export class HttpServer implements Server, Dispatcher.DispatchHandler {
  readonly #stream: ServedStream;
  readonly #head: RequestHead;
  readonly #pools: Pools;
  readonly #endpoints: Iterator<EndpointState>;
  readonly #body: Uint8Array | IncomingBody | null;
  #endpoint: EndpointState | undefined;
  /** The next one, where a look has found that the host of this one is gone. */
  #refuge: EndpointState | undefined;
  #controller: Controller | undefined;
  #timer: NodeJS.Timeout | undefined;
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
    const endpoint = this.#refuge ?? (this.#attempts < most ? this.#following() : undefined);
    this.#refuge = undefined;
    if (endpoint === undefined) {
      const code = this.#sent ? Reset.BROKE : this.#attempts === 0 ? Reset.NO_ENDPOINT : Reset.NOT_SENT;
      return this.#fail(code, why);
    }
    this.#attempts++;
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

  #following(): EndpointState | undefined {
    const { done, value } = this.#endpoints.next();
    return done === true ? undefined : value;
  }

  /** Nothing has come since the request was sent. A host that does not take a connection in time is left for another. */
  async #look(waited: number): Promise<void> {
    const [controller, endpoint] = [this.#controller, this.#endpoint];
    if (controller === undefined || endpoint === undefined) return;
    const reached = await this.#pools.reaches(endpoint.address, endpoint.port);
    if (this.#over || this.#answered || this.#controller !== controller) return;
    if (reached) return this.#lookAfter(Math.min(2 * waited, LOOK_MOST_MS));
    // The verdict may be wrong (a server too busy to accept), so it never costs a request: without another, it waits on.
    if (!this.#maySendAgain() || this.#attempts >= TRIES_UNSENT) return;
    this.#refuge = this.#following();
    if (this.#refuge !== undefined) controller.abort(new Error("its host does not answer any more"));
  }

  #lookAfter(ms: number): void {
    this.#timer = setTimeout(() => void this.#look(ms), ms);
  }

  #maySendAgain(): boolean {
    return isIdempotentMethod(this.#head.method) && this.#replayable();
  }

  #replayable(): boolean {
    return !(this.#body instanceof IncomingBody) || !this.#body.touched;
  }

  // ---- undici, about the endpoint --------------------------------------------------------------------------------

  /** The request is about to be written to a connected socket: from here on it may have been sent. */
  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#over) return controller.abort(new Error("cancelled"));
    this.#sent = true;
    this.#lookAfter(LOOK_MS);
  }

  onResponseStart(controller: Controller, status: number): void {
    if (status < 200) return;
    this.#answered = true;
    clearTimeout(this.#timer);
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
    if (this.#sent && !this.#maySendAgain()) return this.#fail(Reset.BROKE, error.message);
    if (!this.#replayable()) return this.#fail(Reset.NOT_SENT, error.message);
    this.#next(error.message);
  }

  #release(): void {
    clearTimeout(this.#timer);
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
