// The listener proxy: HTTP from a listener port to the edge's one port, as the front of a cloud load balancer would do it.
// Must not route: the Worker decides. Refuses what is no HTTP that the Worker could be told. While the edge restarts, requests
// wait for it, and what was lost with its process is asked again (src/shared/http/repeat.ts). No client, and no answer, ends more than its
// own exchange. Holds connections only, nothing survives.
//
// Client: undici's dispatch. Measured against node:http's client before the same server, 1 KiB answers, 32 connections,
// one core: 15.1k against 13.5k requests a second (the server alone: 42k); 1 MiB answers: the same, 0.42 GB/s.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Pool } from "undici";
import type { ADMIN_LISTENER } from "../../edge/http/forwarded.ts";
import { answerBeforeWriteError, connector, resetWhenBroken } from "../../shared/upstream/connector.ts";
import { requestHeaders } from "./headers.ts";
import { askerOf } from "./asker.ts";
import { ANSWER_HEAD_MAX } from "./breaks.ts";
import { Connections } from "./connections.ts";
import { EdgeProcess } from "./edge-process.ts";
import { Exchange, type Services } from "./exchange.ts";
import { faultLog, wordsFor } from "./faults.ts";
import { type Limits, limits as defaultLimits } from "./limits.ts";
import { refuse } from "./refusal.ts";
import { checkHead, isWebSocket } from "./request-head.ts";
import { type ClientError, REQUEST_HEAD_MAX, refusalFor } from "./unread.ts";

export interface ListenerProxy {
  /** An HTTP server for the Service port `port`, or for the admin host. The caller chooses where it listens, and closes it. */
  server(port: number | typeof ADMIN_LISTENER): Server;
  /** The edge's process has ended: what comes now waits for `up`, until `patienceMs` are over. */
  pause(up: Promise<void>): void;
  /** Breaks every exchange in flight. */
  close(): Promise<void>;
}

export interface ListenerProxyOptions {
  /**
   * What a client gets where nothing is published, no server is ready, or its network is refused. "answer": the Worker's
   * words. "reset": a closed connection without a byte, as a load balancer of packets would.
   */
  readonly refuse?: "answer" | "reset";
  /** For how long a request may wait for an edge that restarts; 0: not at all, and nothing is asked again. */
  readonly patienceMs?: number;
  /** Whether the peer at this address is a proxy whose X-Forwarded-For and -Proto are believed; absent: nobody is. */
  readonly trustedProxies?: (address: string) => boolean;
  /** Takes a line for people when something broke: at most one a second. */
  readonly log?: (line: string) => void;
  /** For tests: others than the defaults. */
  readonly limits?: Partial<Limits>;
}

/** `secret` proves to the Worker that the client's address comes from here. */
export function createListenerProxy(edge: URL, secret: string, options: ListenerProxyOptions = {}): ListenerProxy {
  const { refuse: refusing = "answer", patienceMs = 0, trustedProxies, log = () => {} } = options;
  const limits: Limits = { ...defaultLimits, ...options.limits };
  const { headMs, lingerMs } = limits;
  const fault = faultLog(log);
  const edgeProcess = new EdgeProcess(patienceMs, limits.wordMs);
  const connections = new Connections(limits, trustedProxies);
  // One exchange a connection: a stream that lasts for hours must not hold up another. No time-outs, no limits: 1,000
  // silent event streams are legitimate, and ending them is the Worker's and the agent's business.
  const pool = new Pool(edge, {
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: ANSWER_HEAD_MAX,
    connect: connector({}, answerBeforeWriteError, resetWhenBroken),
  });
  const services: Services = { pool, edge: edgeProcess, limits, patienceMs, resets: refusing === "reset", fault };

  /** Judges the head and begins the exchange, when it is this request's turn on its connection. */
  const handle = (
    port: number | typeof ADMIN_LISTENER,
    req: IncomingMessage,
    socket: Socket,
    response: ServerResponse | undefined,
  ): void => {
    const connection = connections.of(socket);
    if (connection === undefined || socket.writableEnded || socket.destroyed) return;
    const { method = "", url = "", httpVersion: version, rawHeaders: raw, headers } = req;
    const head = checkHead({ method, url, version }, raw, port);
    if ("reason" in head) {
      refuse(socket, { ...head, method, accept: headers.accept }, lingerMs);
      req.resume();
      return;
    }
    const { path, target, host } = head;
    const facts = { ...askerOf(socket.remoteAddress, raw, trustedProxies), secret, port, target, host };
    const client = { req, socket, response, connection };
    new Exchange(services, client, { path, headers: requestHeaders(raw, facts) }).begin();
  };

  /** What the parser, or the clock, says of a client's connection. */
  const refuseUnread = (error: ClientError, socket: Socket): void => {
    const connection = connections.of(socket);
    const refusal = refusalFor(error, socket.bytesRead === 0);
    if (connection === undefined || refusal === undefined || !socket.writable) {
      socket.destroy();
      return;
    }
    if (connection.broken) return;
    connection.broken = true;
    const { occupant } = connection;
    if (occupant?.requestIsWhole === false) occupant.requestBroke(...refusal);
    else connection.take(() => refuse(socket, { reason: refusal[0], detail: refusal[1] }, lingerMs));
  };

  return {
    server(port) {
      const server = createServer(
        {
          maxHeaderSize: REQUEST_HEAD_MAX,
          headersTimeout: headMs,
          // Of the whole request, whose body may take hours.
          requestTimeout: 0,
          connectionsCheckingInterval: Math.min(5_000, headMs / 4),
          keepAliveTimeout: 75_000,
          // Judged here, with an answer that says so.
          requireHostHeader: false,
          shouldUpgradeCallback: isWebSocket,
        },
        (req, res) => {
          const { socket } = req;
          const connection = connections.of(socket);
          if (connection === undefined) return;
          if (connection.waiting >= limits.pipelined) {
            fault(`a client has ${limits.pipelined} requests waiting on one connection, which is the limit`);
            socket.resetAndDestroy();
            return;
          }
          connection.take(() => guarded(socket, () => handle(port, req, socket, res)));
        },
      );
      const guarded = (socket: Duplex, step: () => void): void => {
        try {
          step();
        } catch (error) {
          fault(`a request at port ${String(port)}: ${wordsFor(error)}`);
          socket.destroy();
        }
      };
      // A client that half-closes after its request is answered: an internal of node:http, but there since 0.x.
      Object.assign(server, { httpAllowHalfOpen: true });
      server.on("connection", (socket) => {
        const refusal = connections.admit(socket);
        if (refusal === undefined) return;
        fault(refusal);
        socket.resetAndDestroy();
      });
      server.on("upgrade", (req, duplex, head) => {
        const socket = duplex as Socket;
        const connection = connections.of(socket);
        // One that comes before the answers to what was asked before it: node:http has let go of their socket.
        if (connection === undefined || connection.busy) {
          socket.destroy();
          return;
        }
        socket.unshift(head);
        connection.take(() => guarded(socket, () => handle(port, req, socket, undefined)));
      });
      server.on("connect", (req, socket) => {
        socket.on("error", () => socket.destroy());
        if (connections.of(req.socket)?.busy !== false) {
          socket.destroy();
          return;
        }
        const detail = "CONNECT asks for a proxy, which this is not.";
        refuse(socket, { reason: "unsupported-request", detail, accept: req.headers.accept }, lingerMs);
        socket.resume();
      });
      server.on("checkExpectation", (req, res) => {
        const { method, headers, socket } = req;
        const refusal = { reason: "expectation-failed", method, accept: headers.accept } as const;
        connections.of(socket)?.take(() => refuse(res.socket ?? socket, refusal, lingerMs));
        req.resume();
      });
      server.on("clientError", (error, socket) => {
        guarded(socket, () => refuseUnread(error, socket as Socket));
      });
      server.once("listening", () => {
        server.on("error", (error) => fault(`port ${String(port)}: ${wordsFor(error)}`));
      });
      return server;
    },
    pause: (up) => edgeProcess.ended(up),
    close: () => pool.destroy(),
  };
}
