// The listener forwarder: HTTP from a listener port to the edge's one port, as the front of a cloud load balancer
// would do it. Streams both ways under back-pressure; a break on one side breaks the other at once, and a cut answer
// never looks whole. Must not route or time out: the Worker decides. While the edge restarts, requests wait for it, and
// idempotent ones that broke off without an answer are sent again. Holds connections only, nothing survives.
//
// Client: undici's dispatch. Measured against node:http's client before the same server, 1 KiB answers, 32 connections,
// one core: 15.1k against 13.5k requests a second (the server alone: 42k); 1 MiB answers: the same, 0.42 GB/s.
import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { buildConnector, type Dispatcher, Pool } from "undici";
import type { ADMIN_LISTENER } from "../http/forwarded.ts";
import { type ForwarderFacts, requestHeaders, responseHeaders } from "./headers.ts";

export interface Forwarder {
  /** An HTTP server, not listening yet, for the Service port `port` (or the admin host) opened at `opened`. The caller closes it. */
  server(port: number | typeof ADMIN_LISTENER, opened: number): Server;
  /** The edge is down: what comes now waits for `up`, until `patienceMs` are over. */
  pause(up: Promise<void>): void;
  /** Breaks every exchange in flight. */
  close(): Promise<void>;
}

export interface ForwarderOptions {
  /**
   * What a client gets where nothing is published, no server is ready, or its network is refused. "answer": the Worker's
   * words. "reset": a closed connection without a byte, as a load balancer of packets would.
   */
  readonly refuse?: "answer" | "reset";
  /** For how long a request may wait for an edge that restarts; 0: not at all. */
  readonly patienceMs?: number;
  /** Whether the connection's other end is a proxy whose word on client and scheme is believed; absent: nobody is. */
  readonly trustedProxies?: (address: string) => boolean;
  /** Why an exchange broke, for the log that a 502 points to. */
  readonly log?: (line: string) => void;
}

const AGAIN_MS = 100;
/** For how long the head of an answer of known length waits for its body: one that breaks off meanwhile is no answer yet. */
const BODY_MS = 100;

/** `secret` proves to the Worker that the client's address comes from here. */
export function createForwarder(
  edge: URL,
  secret: string,
  { refuse = "answer", patienceMs = 0 }: ForwarderOptions = {},
): Forwarder {
  // One exchange a connection: a stream that lasts for hours must not hold up another. No time-outs, no limits: 1,000
  // silent event streams are legitimate, and ending them is the Worker's and the agent's business.
  const pool = new Pool(edge, {
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: resetting(buildConnector({})),
  });
  let paused: Promise<unknown> | undefined;
  /** `response` is where the answer goes, and `socket` is whose it becomes, if it is an upgrade. */
  const exchange = (options: Dispatcher.DispatchOptions, response: ServerResponse, socket?: Duplex): void => {
    const deadline = performance.now() + patienceMs;
    const repeatable = options.body == null && idempotent.has(options.method);
    const send = () => pool.dispatch(options, handler);
    const handler = new Exchange(response, socket, refuse === "reset", () => {
      const again = repeatable && performance.now() < deadline && !response.destroyed;
      if (again) setTimeout(send, AGAIN_MS);
      return again;
    });
    if (paused === undefined) send();
    else void paused.then(send);
  };
  return {
    server(port, opened) {
      const facts = (req: IncomingMessage): ForwarderFacts => ({ secret, client: clientOf(req), port, opened });
      const server = createServer(
        {
          maxHeaderSize: 64 * 1024,
          requestTimeout: 0,
          keepAliveTimeout: 75_000,
          // `Upgrade: h2c` and the like are offers that may be ignored: those requests are served as they are.
          shouldUpgradeCallback: (req) => req.headers.upgrade?.toLowerCase() === "websocket",
        },
        (req, res) => {
          const hasBody = req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"]) > 0;
          const headers = requestHeaders(req.rawHeaders, facts(req));
          exchange({ ...target(req), body: hasBody ? req : null, headers }, res);
        },
      );
      server.on("upgrade", (req, socket, head) => {
        socket.unshift(head);
        const headers = requestHeaders(req.rawHeaders, facts(req));
        exchange({ ...target(req), upgrade: "websocket", headers }, refusalOn(req, socket), socket);
      });
      return server;
    },
    pause(up) {
      const over = Promise.race([up, delay(patienceMs, undefined, { ref: false })]).finally(() => {
        if (paused === over) paused = undefined;
      });
      paused = over;
    },
    close: () => pool.destroy(),
  };
}

/** Connections that end with a reset when undici breaks them off: workerd takes an end alone for a half-close. */
function resetting(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...[error, socket]) => {
      if (error) return callback(error, null);
      const destroy = socket.destroy.bind(socket);
      socket.destroy = (reason) => {
        socket.destroy = destroy;
        return reason ? socket.resetAndDestroy() : destroy();
      };
      callback(null, socket);
    });
}

function target(req: IncomingMessage): { path: string; method: Dispatcher.HttpMethod } {
  return { path: req.url ?? "/", method: req.method as Dispatcher.HttpMethod };
}

/** 127.0.0.1, not ::ffff:127.0.0.1. */
function clientOf(req: IncomingMessage): string {
  return req.socket.remoteAddress?.replace(/^::ffff:/, "") ?? "";
}

/** Where the answer to an upgrade that is refused goes: node:http has let go of the socket, so it is framed anew. */
function refusalOn(req: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(req);
  response.shouldKeepAlive = false;
  response.assignSocket(req.socket);
  response.once("finish", () => socket.end());
  return response;
}

const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** Refused by the Worker (src/http/failure.ts) before any server had it; a server cannot say so: the Worker drops its word. */
const nothingThere: ReadonlySet<string> = new Set([
  "no-such-listener",
  "source-refused",
  "no-endpoints",
  "no-eligible-nodes",
  "no-available-node",
  "not-programmed",
]);

/** One request and its answer. Owns `response` until it is finished or broken, and `socket` if it is an upgrade. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #socket: Duplex | undefined;
  readonly #resets: boolean;
  readonly #again: () => boolean;
  #controller: Dispatcher.DispatchController | undefined;
  /** Writes the head. Undefined: there is none, or it is written, and the exchange cannot be sent again. */
  #head: (() => void) | undefined;

  /** `again`: called after a break without an answer; true where it will be sent once more. */
  constructor(response: ServerResponse, socket: Duplex | undefined, resets: boolean, again: () => boolean) {
    this.#response = response;
    this.#socket = socket;
    this.#resets = resets;
    this.#again = again;
    response.on("drain", () => this.#controller?.resume());
    response.once("close", () => {
      if (!response.writableFinished) this.#controller?.abort(new Error("the client is gone"));
    });
    socket?.on("error", () => socket.destroy());
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#response.destroyed) controller.abort(new Error("the client is gone"));
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _: unknown, upstream: Duplex): void {
    const socket = this.#socket;
    if (socket === undefined) throw new Error("the edge switched protocols unasked");
    this.#controller = undefined;
    this.#response.detachSocket(this.#response.req.socket);
    const headers = responseHeaders(rawHeadersOf(controller));
    let head = `HTTP/1.1 ${status} Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    for (let i = 0; i + 1 < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
    socket.write(`${head}\r\n`, "latin1");
    join(socket, upstream);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    statusMessage = "",
  ): void {
    if (status < 200) return;
    const response = this.#response;
    if (this.#resets && nothingThere.has(String(headers["x-postern-reason"]))) {
      response.req.socket.resetAndDestroy();
      return;
    }
    const raw = responseHeaders(rawHeadersOf(controller));
    const head = () => {
      this.#head = undefined;
      response.sendDate = false;
      response.writeHead(status, statusMessage, raw);
    };
    this.#head = head;
    const flush = () => {
      if (this.#head !== head) return;
      try {
        head();
        response.flushHeaders();
      } catch (error) {
        // Nobody else would catch it here.
        controller.abort(error as Error);
      }
    };
    // A small answer leaves as one packet; the head of a stream that is still silent must not wait for its first byte.
    const bodyIsNear = headers["content-length"] !== undefined;
    setImmediate(() => {
      if (bodyIsNear && this.#head === head) setTimeout(flush, BODY_MS);
      else flush();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#head?.();
    if (!this.#response.write(chunk)) controller.pause();
  }

  onResponseEnd(): void {
    this.#head?.();
    this.#response.end();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    const response = this.#response;
    this.#head = undefined;
    // A reset, because the end of a connection alone would look like the whole of an answer without a length.
    if (response.headersSent) response.req.socket.resetAndDestroy();
    else if ("code" in error && error.code === "UND_ERR_INVALID_ARG") refuse(response, 400, "This is not HTTP.");
    else if (!this.#again()) refuse(response, 502, "The local edge broke off: see its log.");
  }
}

function rawHeadersOf(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders;
  if (!Array.isArray(raw)) throw new Error("undici hands over raw headers as an array");
  return raw.map((part) => (typeof part === "string" ? part : part.toString("latin1")));
}

function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" }).end(`${why}\n`);
}

function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on("error", () => from.destroy());
    from.once("close", () => to.destroy());
  }
}
