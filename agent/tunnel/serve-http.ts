// Serves one HTTP stream: sends the request to one endpoint after the other, as far as tries.ts allows, and streams the
// answer back under credit. A host that lost its power or network, which nothing would tell for minutes, is left for another
// after a look (#look). Every answer passes once; a broken one resets the stream and never ends it.
import type { Dispatcher } from "undici";
import { NothingSent } from "../../src/shared/upstream/connector.ts";
import { declaredLength } from "../../src/shared/http/declared-length.ts";
import { type RequestHead, Reset } from "../../src/shared/wire/messages.ts";
import type { Backend, EndpointState } from "../endpoints/endpoints.ts";
import type { ServedStream, Server } from "./connection.ts";
import { IncomingBody, WRONG_LENGTH } from "./incoming-body.ts";
import type { Pools } from "./pools.ts";
import { Stopwatch } from "./stopwatch.ts";
import { Tries } from "./tries.ts";

/** A request without an answer looks after this time whether the host is there; then after twice as long each, up to LOOK_MOST_MS. */
const LOOK_MS = 2_000;
const LOOK_MOST_MS = 60_000;
/** Interim answers (102, 103) to one request. One every 20 s, as WebDAV servers send them, makes more than five hours. */
const INTERIM_MOST = 1_000;

type Controller = Dispatcher.DispatchController;

export class HttpServer implements Server, Dispatcher.DispatchHandler {
  readonly #stream: ServedStream;
  readonly #head: RequestHead;
  readonly #pools: Pools;
  readonly #tries: Tries;
  readonly #body: Uint8Array | IncomingBody | null;
  /** Of a traced request. */
  readonly #stopwatch: Stopwatch | undefined;
  #endpoint: EndpointState | undefined;
  /** Where it goes next instead of the order's next: away from a host that a look found gone, or to this one, which saw nothing. */
  #refuge: EndpointState | undefined;
  /** undici's controller of the exchange with #endpoint, from the moment when the endpoint may see the request. */
  #controller: Controller | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Something of an answer has come, be it an interim one. */
  #begun = false;
  #interim = 0;
  #over = false;
  /** Body bytes that the answer still owes by its Content-Length; NaN: unknown, or none will come. */
  #remaining = Number.NaN;
  /** All of the answer was passed on. */
  #ended = false;

  /** `end`: `body` is all of it, else its beginning. */
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
    this.#tries = new Tries(backend.order(head.client, Date.now()), head);
    if (head.traced) this.#stopwatch = new Stopwatch();
    const declared = declaredLength(head.headers);
    const length = body?.length ?? 0;
    if (end) {
      this.#body = body ?? null;
      if (length > 0) stream.consumed(length);
    } else this.#body = new IncomingBody((bytes) => stream.consumed(bytes), body, declared);
    // undici would write the length that it sees, and so make half an upload look whole.
    if (end && declared !== undefined && declared !== length)
      this.#fail(Reset.UNSENDABLE, `the body has ${length} bytes, and Content-Length says ${declared}`);
    else this.#next("no endpoint");
  }

  /** Sends the request to the next endpoint, or gives up with `why` the last one failed. */
  #next(why: string): void {
    const endpoint = this.#tries.next(this.#refuge);
    this.#refuge = undefined;
    if (endpoint === undefined) return this.#fail(this.#tries.outcome, why);
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
      // What undici has against a request it reports to onResponseError(), so this is a fault of ours.
      this.#release();
      throw error;
    }
  }

  /** Nothing has come since the request was sent. A host that does not take a connection in time is left for another. */
  async #look(waited: number): Promise<void> {
    const [controller, endpoint] = [this.#controller, this.#endpoint];
    if (controller === undefined || endpoint === undefined) return;
    const reached = await this.#pools.reaches(endpoint.address, endpoint.port);
    if (this.#over || this.#begun || this.#controller !== controller) return;
    if (reached) return this.#lookAfter(Math.min(2 * waited, LOOK_MOST_MS));
    // The verdict may be wrong (a server too busy to accept), so it never costs a request: without another, it waits on.
    if (!this.#tries.mayRepeat || !this.#replayable) return;
    this.#refuge = this.#tries.reserve();
    if (this.#refuge !== undefined) controller.abort(new Error("its host does not answer any more"));
  }

  #lookAfter(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#look(ms).catch((error: unknown) => this.#stream.fault(error));
    }, ms);
  }

  get #replayable(): boolean {
    return !(this.#body instanceof IncomingBody) || !this.#body.touched;
  }

  // ---- undici, about the endpoint: what throws here is no failure of the endpoint's ---------------------------------

  /** The request is about to be written to a connected socket: from here on it may have been sent. */
  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#over) return controller.abort(new Error("cancelled"));
    this.#tries.seen();
    this.#stopwatch?.sent();
    this.#lookAfter(LOOK_MS);
  }

  onResponseStarted(): void {
    this.#begun = true;
  }

  onResponseStart(controller: Controller, status: number): void {
    this.#guard(() => this.#onHead(controller, status));
  }

  #onHead(controller: Controller, status: number): void {
    if (this.#over) return controller.abort(new Error("cancelled"));
    if (status < 200 && status >= 100) {
      if (++this.#interim > INTERIM_MOST) controller.abort(new Error(`more than ${INTERIM_MOST} interim answers`));
      return;
    }
    clearTimeout(this.#timer);
    if (status < 100 || status > 599) return this.#abandon(Reset.BROKE, `the endpoint answered with status ${status}`);
    const headers = flatten(controller.rawHeaders);
    this.#remaining = this.#head.method === "HEAD" ? Number.NaN : (declaredLength(headers) ?? Number.NaN);
    this.#stream.respond({ status, headers, ...this.#stopwatch?.answered(this.#endpoint) });
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#over) return;
    this.#remaining -= chunk.length;
    // The last bytes by Content-Length carry the end themselves: one frame less.
    this.#ended = this.#remaining === 0;
    if (!this.#stream.write(chunk, this.#ended) && !this.#ended) controller.pause();
  }

  onResponseEnd(): void {
    this.#guard(() => {
      this.#endpoint?.succeeded();
      this.#release();
      if (!this.#over) this.#complete();
    });
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    this.#guard(() => this.#onError(error));
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (fault) {
      this.#stream.fault(fault);
    }
  }

  #onError(error: Error): void {
    const endpoint = this.#endpoint;
    const started = this.#controller !== undefined;
    this.#release();
    if (this.#over) return;
    // What breaks after the last byte is nobody's loss.
    if (this.#ended) return this.#complete();
    if (error instanceof NothingSent) this.#tries.unseen();
    // The server had closed the kept connection. That is no failure, and a new connection to the same endpoint comes next.
    if (error instanceof NothingSent ? error.kept : !started && isOfSocket(error)) this.#refuge = endpoint;
    else {
      const final = finalCode(error, started);
      if (final === undefined || !final.blameless) endpoint?.failed(error.message);
      if (final !== undefined) return this.#fail(final.code, error.message);
      if (this.#begun) return this.#fail(Reset.BROKE, error.message);
    }
    if (!this.#replayable) return this.#fail(this.#tries.outcome, error.message);
    this.#next(error.message);
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#endpoint?.end();
    this.#endpoint = undefined;
    this.#controller = undefined;
  }

  /** The answer was passed on, all but its end perhaps. */
  #complete(): void {
    this.#over = true;
    if (!this.#ended) this.#stream.write(NOTHING, true);
    const complete = !(this.#body instanceof IncomingBody) || this.#body.complete;
    if (this.#body instanceof IncomingBody) this.#body.discard();
    this.#stream.finished(complete);
  }

  #fail(code: Reset, reason: string): void {
    this.#over = true;
    if (this.#body instanceof IncomingBody) this.#body.destroy();
    this.#stream.reset(code, reason);
  }

  /** Fails, and breaks the exchange with the endpoint off, which is not blamed. */
  #abandon(code: Reset, reason: string): void {
    this.#fail(code, reason);
    this.#controller?.abort(new Error(reason));
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

/** What an error means that no other endpoint would change; undefined for others. `started`: the request may have been sent. */
function finalCode(error: Error, started: boolean): { code: Reset; blameless: boolean } | undefined {
  switch ("code" in error ? error.code : undefined) {
    // undici refuses what cannot be sent: an illegal value, name or target.
    case "UND_ERR_INVALID_ARG":
    case "UND_ERR_NOT_SUPPORTED":
      return started ? undefined : { code: Reset.UNSENDABLE, blameless: true };
    case "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH":
    case WRONG_LENGTH:
      return { code: started ? Reset.BROKE : Reset.UNSENDABLE, blameless: true };
    // The endpoint answered, with a larger head than may be passed on.
    case "UND_ERR_HEADERS_OVERFLOW":
      return { code: Reset.TOO_BIG, blameless: true };
    case "UND_ERR_HEADERS_TIMEOUT":
      return { code: Reset.TIMEOUT, blameless: false };
    default:
      return undefined;
  }
}

/** Whether the error is one of a connection that existed, and not of the attempt to make one. */
function isOfSocket(error: Error): boolean {
  const { syscall } = error as NodeJS.ErrnoException;
  return syscall === "read" || syscall === "write";
}

/** undici gives names and values as Buffers, in turn, as they came. */
function flatten(raw: Controller["rawHeaders"]): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((item) => (typeof item === "string" ? item : item.toString("latin1")));
}
