// One request and its answer, streamed both ways under back-pressure; a break on one side breaks the other at once, and a cut
// answer never looks whole. Owns the client's side until the answer is out, and the edge's until it has ended. Asks again only
// as src/shared/http/repeat.ts allows. A fault in here ends this exchange alone.
import { randomUUID } from "node:crypto";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Dispatcher } from "undici";
import type { FailureReason } from "../../edge/http/failure.ts";
import { FORWARDED } from "../../edge/http/forwarded.ts";
import { isAscii } from "../../shared/http/bytes.ts";
import { isIdempotentMethod } from "../../shared/http/repeat.ts";
import { byteStrings, responseHeaders } from "./headers.ts";
import { judgeBreak } from "./breaks.ts";
import { destroyWhenQuiet, quietMsAfterEnd } from "./client-end.ts";
import type { Connection, Occupant } from "./connections.ts";
import { endEarly } from "./early-answer.ts";
import type { EdgeProcess } from "./edge-process.ts";
import { wordsFor } from "./faults.ts";
import type { Limits } from "./limits.ts";
import { isBeforeAnyServer, refuse } from "./refusal.ts";
import { RequestBody } from "./request-body.ts";
import { hasBody } from "./request-head.ts";
import { answerOn, join, switchHead } from "./upgrade.ts";

/** What all exchanges share. */
export interface Services {
  readonly pool: Dispatcher;
  readonly edge: EdgeProcess;
  readonly limits: Limits;
  /** For how long a request may wait for an edge that restarts. */
  readonly patienceMs: number;
  /** Where nothing is published, or nothing ready, the connection is reset without a byte. */
  readonly resets: boolean;
  readonly fault: (line: string) => void;
}

/** The client's side. `response` is undefined for an upgrade, whose socket node:http has let go of. */
export interface ClientSide {
  readonly req: IncomingMessage;
  readonly socket: Socket;
  readonly response: ServerResponse | undefined;
  readonly connection: Connection;
}

const AGAIN_MS = 100;
/** For how long the head of an answer of known length waits for its body: one that breaks off meanwhile is no answer yet. */
const BODY_MS = 100;
const NOTHING = Buffer.alloc(0);

export class Exchange implements Dispatcher.DispatchHandler, Occupant {
  readonly #services: Services;
  readonly #req: IncomingMessage;
  readonly #socket: Socket;
  readonly #connection: Connection;
  readonly #isUpgrade: boolean;
  #response: ServerResponse | undefined;
  #options: Dispatcher.DispatchOptions;
  #body: RequestBody | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  /** Writes the answer's head. Undefined: there is none, or it is written, and the exchange cannot be sent again. */
  #head: (() => void) | undefined;
  /** undici has begun to write it: the edge may have seen it. */
  #begun = false;
  #repeated = false;
  /** How often the edge's process had ended when this was sent. */
  #ends = 0;
  /** The answer is complete, or will never be. */
  #over = false;
  readonly #deadline: number;
  #askedAt: number;
  #watch: NodeJS.Timeout | undefined;

  constructor(
    services: Services,
    { req, socket, response, connection }: ClientSide,
    request: { readonly path: string; readonly headers: string[] },
  ) {
    this.#services = services;
    this.#req = req;
    this.#socket = socket;
    this.#response = response;
    this.#connection = connection;
    this.#isUpgrade = response === undefined;
    this.#askedAt = performance.now();
    this.#deadline = this.#askedAt + services.patienceMs;
    const { path, headers } = request;
    const method = req.method as Dispatcher.HttpMethod;
    this.#options = this.#isUpgrade ? { path, method, headers, upgrade: "websocket" } : { path, method, headers };
  }

  begin(): void {
    const response = this.#response;
    const socket = this.#socket;
    if (response === undefined) {
      socket.on("error", () => socket.destroy());
      socket.on("drain", this.#resume);
      socket.once("close", this.#closed);
      // node:http does not read it any more, and who does not read sees no FIN.
      socket.on("readable", this.#lookForEnd);
    } else {
      response.on("drain", this.#resume);
      response.once("close", this.#closed);
    }
    this.#connection.occupy(this);
    if (!this.#isUpgrade && hasBody(this.#req.headers)) this.#sendWithBody();
    else this.#send();
  }

  /** With its first byte: undici writes the head with it, and workerd closes a connection on which nothing comes. */
  #sendWithBody(): void {
    const body = new RequestBody(this.#req, () => this.#guarded(() => this.#send()));
    body.once("end", () => {
      this.#askedAt = performance.now();
    });
    this.#body = body;
    this.#options = { ...this.#options, body };
  }

  #send(): void {
    const { edge } = this.#services;
    if (edge.down === undefined) this.#dispatch();
    else void edge.down.then(() => this.#guarded(() => this.#dispatch()));
  }

  #dispatch(): void {
    if (this.#over) return;
    const { pool, edge } = this.#services;
    this.#ends = edge.ends;
    this.#begun = false;
    pool.dispatch(this.#options, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#begun = true;
    this.#controller = controller;
    if (this.#over) controller.abort(new Error("the client is gone"));
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _: unknown, upstream: Duplex): void {
    upstream.on("error", () => upstream.destroy());
    if (this.#over) {
      upstream.destroy();
      return;
    }
    this.#controller = undefined;
    try {
      if (!this.#isUpgrade) throw new Error("the edge switched protocols unasked");
      const head = switchHead(status, responseHeaders(byteStrings(controller.rawHeaders)));
      this.#over = true;
      clearInterval(this.#watch);
      this.#socket.off("readable", this.#lookForEnd);
      this.#socket.write(head, "latin1");
      join(this.#socket, upstream);
    } catch (error) {
      upstream.destroy();
      this.#fail("bad-gateway-answer", undefined, error);
    }
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    statusMessage = "",
  ): void {
    if (status < 200 || this.#over) return;
    if (this.#services.resets && isBeforeAnyServer(String(headers["x-postern-reason"]))) {
      this.#over = true;
      this.#socket.resetAndDestroy();
      controller.abort(new Error("refused by a reset"));
      return;
    }
    let response: ServerResponse;
    let raw: string[];
    try {
      raw = responseHeaders(byteStrings(controller.rawHeaders));
      response = this.#response ??= answerOn(this.#req, this.#socket, this.#services.limits.lingerMs);
    } catch (error) {
      this.#headFailed(error);
      return;
    }
    const head = () => {
      this.#head = undefined;
      response.sendDate = false;
      response.writeHead(status, isAscii(statusMessage) ? statusMessage : STATUS_CODES[status], raw);
    };
    this.#head = head;
    // Not flushHeaders(), which would write UTF-8.
    const flush = () => {
      if (this.#head === head && this.#passHead()) this.#guarded(() => response.write(NOTHING));
    };
    // A small answer leaves as one packet; the head of a stream that is still silent must not wait for its first byte.
    const bodyIsNear = headers["content-length"] !== undefined;
    setImmediate(() => {
      if (bodyIsNear && this.#head === head) setTimeout(flush, BODY_MS);
      else flush();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#passHead() && this.#response?.write(chunk) === false) controller.pause();
  }

  onResponseEnd(): void {
    if (!this.#passHead()) return;
    this.#over = true;
    // Nothing more is sent to the edge; the rest of the request is thrown away.
    if (this.#req.complete || this.#isUpgrade) this.#response?.end();
    else {
      const [req, socket, connection, response] = [this.#req, this.#socket, this.#connection, this.#response];
      endEarly({ req, socket, connection, response }, this.#services.limits.lingerMs);
    }
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#over) return;
    this.#controller = undefined;
    this.#head = undefined;
    this.#recover(error).catch((fault: unknown) => this.#fail("edge-away", undefined, fault));
  }

  clientEnded(): void {
    // The end of a WebSocket is its server's to answer. Before there is one nobody half-closes: such a client has left.
    if (this.#isUpgrade && this.#over) return;
    const sinceAskedMs = performance.now() - this.#askedAt;
    // Without a response there is an upgrade that is not answered yet: nobody half-closes such a one.
    const answerBegun = this.#response?.headersSent !== false;
    const quietMs = quietMsAfterEnd({ sinceAskedMs, answerBegun }, this.#services.limits);
    this.#watch = destroyWhenQuiet(this.#socket, quietMs);
  }

  /** What the client sends is not the body that it announced. */
  requestBroke(reason: FailureReason, detail: string | undefined): void {
    this.#fail(reason, detail);
    this.#controller?.abort(new Error("the request broke"));
    this.#body?.destroy();
  }

  get requestIsWhole(): boolean {
    return this.#req.complete;
  }

  /** Reads nothing that is there, and so finds the end where nothing is. */
  readonly #lookForEnd = (): void => {
    if (this.#socket.readableLength === 0) this.#socket.read();
  };

  readonly #resume = (): void => this.#guarded(() => this.#controller?.resume());

  /** The answer is out, or the client is gone. */
  readonly #closed = (): void => {
    clearInterval(this.#watch);
    if (!this.#over) {
      this.#over = true;
      this.#head = undefined;
      this.#controller?.abort(new Error("the client is gone"));
    }
    this.#body?.destroy();
    this.#connection.next();
  };

  async #recover(error: Error): Promise<void> {
    const { edge, patienceMs } = this.#services;
    const verdict = judgeBreak(error, {
      begun: this.#begun,
      patient: performance.now() < this.#deadline,
      repeatable:
        this.#body === undefined &&
        isIdempotentMethod(this.#options.method) &&
        patienceMs > 0 &&
        !this.#repeated &&
        this.#response?.headersSent !== true,
    });
    if (verdict.next === "send") {
      setTimeout(() => this.#guarded(() => this.#send()), AGAIN_MS);
      return;
    }
    if (verdict.next === "repeat-if-ended" && (await edge.endedSince(this.#ends))) {
      if (this.#over) return;
      this.#repeated = true;
      const headers = this.#options.headers as string[];
      this.#options = { ...this.#options, headers: [...headers, FORWARDED.again, "1"] };
      this.#send();
      return;
    }
    this.#fail(verdict.reason, verdict.detail, error);
  }

  /** Writes the answer's head if it is not written yet; false: there is none to follow it. */
  #passHead(): boolean {
    if (this.#over) return false;
    try {
      this.#head?.();
      return true;
    } catch (error) {
      this.#headFailed(error);
      return false;
    }
  }

  #headFailed(error: unknown): void {
    this.#fail("bad-gateway-answer", "The answer's head has something in it that cannot be passed on.", error);
    this.#controller?.abort(new Error("the answer's head cannot be written"));
  }

  /** Ends the exchange without the answer that it should have had. `cause` goes to the log. */
  #fail(reason: FailureReason, detail?: string, cause?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#head = undefined;
    const {
      method,
      headers,
      socket: { localPort },
    } = this.#req;
    const requestId = randomUUID();
    const { fault, limits } = this.#services;
    if (cause !== undefined) fault(`request ${requestId} at port ${localPort}: ${reason}: ${wordsFor(cause)}`);
    // A reset, because the end of a connection alone would look like the whole of an answer without a length.
    if (this.#response?.headersSent === true) this.#socket.resetAndDestroy();
    else refuse(this.#socket, { reason, detail, method, accept: headers.accept, requestId }, limits.lingerMs);
    this.#body?.destroy();
    this.#req.resume();
  }

  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail("edge-away", undefined, error);
      this.#controller?.abort(new Error("a fault of the listener proxy"));
    }
  }
}
