// One connection to one shard: a session and its socket. It hands streams to their servers, and what they answer to the socket. It
// decides nothing about endpoints, and lives as long as its socket. An exception in a server ends that server's stream, and any
// other exception ends this connection. Neither ends the process, which serves other connections.
import { WebSocket } from "ws";
import {
  CLOSE_REASON_MAX,
  PING_SECONDS,
  PONG_PATIENCE_SECONDS,
  PROTOCOL_VERSIONS,
  SOCKET_BUFFER_MAX,
} from "../../src/shared/wire/limits.ts";
import {
  CAN_PROBE,
  type GoAway,
  type Hello,
  type ProbeQuestion,
  type Report,
  type RequestHead,
  Reset,
  type ResponseHead,
} from "../../src/shared/wire/messages.ts";
import { type Budget, Session, type SessionEvent } from "../../src/shared/wire/session.ts";

/** What serves one stream. After onReset() it is told nothing more. */
export interface Server {
  onData(bytes: Uint8Array, end: boolean): void;
  onMessage(data: string | Uint8Array, size: number): void;
  onClose(code: number, reason: string): void;
  onReset(): void;
  onDrained(): void;
}

/** What a server may do with its stream. */
export interface ServedStream {
  readonly id: number;
  respond(head: ResponseHead): void;
  /** False: pause until onDrained. */
  write(bytes: Uint8Array, end: boolean): boolean;
  sendMessage(data: Uint8Array, text: boolean): boolean;
  sendClose(code: number, reason: string): void;
  consumed(bytes: number): void;
  /** Ends the stream; the server hears nothing more. */
  reset(code: Reset, reason: string): void;
  /** The answer is complete; the server hears nothing more. What may still come of the request is thrown away. */
  finished(requestComplete: boolean): void;
  /** A call about this stream threw: the stream is reset as broken, its server's onReset() is called, and the fault is reported. */
  fault(error: unknown): void;
}

export interface ConnectionEvents {
  onReady(hello: Hello): void;
  onGoAway(goAway: GoAway): void;
  onEnded(code: number, reason: string): void;
  open(stream: ServedStream, head: RequestHead, body: Uint8Array | undefined, end: boolean): Server;
  /** The edge asks this node about itself. */
  probe(stream: ServedStream, question: ProbeQuestion): Server;
  /** An exception has ended one stream, or this connection. */
  onFault(error: unknown, ended: "stream" | "connection"): void;
}

export interface ConnectionIdentity {
  readonly node: string;
  readonly instance: string;
  readonly started: number;
  readonly software: string;
  readonly bundle?: string;
}

/** How many bytes the session is asked for at a time; the message may be one frame longer. */
const TAKE = 64 * 1024;
/** Chunks of at least this size leave at once; smaller ones wait for the end of the event loop's turn. */
const LARGE = 16 * 1024;

export class Connection {
  readonly #socket: WebSocket;
  readonly #session: Session;
  readonly #events: ConnectionEvents;
  readonly #servers = new Map<number, Server>();
  #scheduled = false;
  #blocked = false;
  #ping: NodeJS.Timeout | undefined;
  /** Ends the connection unless a pong comes first. */
  #patience: NodeJS.Timeout | undefined;
  #onPong: (() => void) | undefined;
  #onIdle: (() => void) | undefined;
  /** Runs in a turn of its own and in no parser's callback, because a producer that is told to go on may read its socket at once. */
  readonly #turn = (): void =>
    this.#guard(() => {
      this.#scheduled = false;
      this.#flush();
      for (const id of this.#session.takeDrained()) this.#call(id, (server) => server.onDrained());
    });

  constructor(socket: WebSocket, identity: ConnectionIdentity, budget: Budget, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#session = new Session({
      role: "node",
      hello: { versions: [...PROTOCOL_VERSIONS], capabilities: [CAN_PROBE], ...identity },
      budget,
      onEvicted: (event) => {
        this.#on(event);
        this.#schedule();
      },
    });
    socket.binaryType = "nodebuffer";
    socket.on("open", () => this.#guard(() => this.#onOpen()));
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#guard(() => this.#onMessage(data, isBinary)));
    socket.on("close", (code, reason) => this.#onSocketClosed(code, reason.toString()));
  }

  /** How many streams are not finished, and how many servers are left. Both are 0 when nothing is held. */
  get open(): { readonly streams: number; readonly servers: number } {
    return { streams: this.#session.open, servers: this.#servers.size };
  }

  report(report: Report): void {
    this.#session.report(report);
    this.#schedule();
  }

  /**
   * Asks for no new streams, and resolves when all are finished or the socket is closed. The edge may have opened one before it saw
   * the GOAWAY: only the PONG that follows proves that none is on its way.
   */
  async drain(reason: string): Promise<void> {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const pong = new Promise<void>((resolve) => {
      this.#onPong = resolve;
    });
    this.#session.goAway(reason, false);
    this.#session.ping();
    this.#flush();
    await pong;
    if (this.#session.open === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #onOpen(): void {
    this.#ping = setInterval(() => this.#sendPing(), PING_SECONDS * 1000);
    this.#sendPing();
    this.#flush();
  }

  /** The connection ends when the oldest unanswered ping has waited for PONG_PATIENCE_SECONDS. */
  #sendPing(): void {
    this.#socket.send("ping");
    this.#patience ??= setTimeout(() => this.terminate(), PONG_PATIENCE_SECONDS * 1000);
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (!isBinary) {
      clearTimeout(this.#patience);
      this.#patience = undefined;
      return;
    }
    for (const event of this.#session.receive(data)) this.#on(event);
    this.#schedule();
  }

  #on(event: SessionEvent): void {
    switch (event.type) {
      case "hello":
        this.#events.onReady(event.hello);
        break;
      case "goaway":
        this.#events.onGoAway(event.goAway);
        break;
      case "pong":
        this.#onPong?.();
        break;
      case "open":
        this.#open(event.id, (stream) => this.#events.open(stream, event.head, event.body, event.end));
        break;
      case "probe":
        this.#open(event.id, (stream) => this.#events.probe(stream, event.question));
        break;
      case "data":
        this.#call(event.id, (server) => server.onData(event.bytes, event.end));
        break;
      case "message":
        this.#call(event.id, (server) => server.onMessage(event.data, event.size));
        break;
      case "close":
        this.#call(event.id, (server) => server.onClose(event.code, event.reason));
        break;
      case "reset":
        this.#lost(event.id);
        break;
      case "fatal":
        this.#flush();
        this.#socket.close(event.code, fitting(event.reason));
        break;
      case "head":
      case "report":
      case "resumed":
        break;
    }
  }

  /** An exception in a server costs no more than its stream. */
  #call(id: number, call: (server: Server) => void): void {
    const server = this.#servers.get(id);
    if (server === undefined) return;
    try {
      call(server);
    } catch (error) {
      this.#fault(id, error);
    }
  }

  /** The stream is over, and its server has not ended it. */
  #lost(id: number): void {
    const server = this.#servers.get(id);
    this.#servers.delete(id);
    try {
      server?.onReset();
    } catch (error) {
      this.#events.onFault(error, "stream");
    }
  }

  #fault(id: number, error: unknown): void {
    this.#events.onFault(error, "stream");
    this.#lost(id);
    this.#session.reset(id, Reset.BROKE, "a fault in the agent");
    this.#schedule();
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#events.onFault(error, "connection");
      this.terminate();
    }
  }

  #open(id: number, serve: (stream: ServedStream) => Server): void {
    // A server may end its stream before it is in #servers.
    let over = false;
    const stream: ServedStream = {
      id,
      respond: (response) => {
        const open = this.#session.open;
        this.#session.respond(id, response, undefined, false);
        // A head that fits no frame has become a reset.
        if (this.#session.open < open) this.#lost(id);
        this.#schedule();
      },
      write: (bytes, last) => {
        const room = this.#session.write(id, bytes, last);
        if (bytes.length >= LARGE) this.#flush();
        if (bytes.length < LARGE || !room) this.#schedule();
        return room;
      },
      sendMessage: (data, text) => {
        const room = this.#session.sendMessage(id, data, text);
        this.#schedule();
        return room;
      },
      sendClose: (code, reason) => {
        this.#session.sendClose(id, code, reason);
        this.#schedule();
      },
      consumed: (bytes) => {
        this.#session.consumed(id, bytes);
        this.#schedule();
      },
      reset: (code, reason) => {
        over = true;
        this.#servers.delete(id);
        this.#session.reset(id, code, reason);
        this.#schedule();
      },
      finished: (requestComplete) => {
        if (requestComplete) this.#servers.delete(id);
        else this.#servers.set(id, this.#ignoreRest(id));
        this.#schedule();
      },
      fault: (error) => {
        over = true;
        this.#fault(id, error);
      },
    };
    try {
      const server = serve(stream);
      if (!over) this.#servers.set(id, server);
    } catch (error) {
      this.#fault(id, error);
    }
  }

  /** What is left of a request whose answer is complete: it is read, so that nothing stalls, and thrown away. */
  #ignoreRest(id: number): Server {
    const nothing = (): void => {};
    return {
      onData: (bytes, end) => {
        this.#session.consumed(id, bytes.length);
        if (end) this.#servers.delete(id);
      },
      onMessage: (_data, size) => this.#session.consumed(id, size),
      onClose: () => this.#servers.delete(id),
      onReset: nothing,
      onDrained: nothing,
    };
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  #flush(): void {
    while (!this.#blocked && this.#socket.readyState === WebSocket.OPEN) {
      const message = this.#session.take(TAKE);
      if (message === undefined) break;
      if (this.#socket.bufferedAmount + message.length < SOCKET_BUFFER_MAX) this.#socket.send(message);
      else {
        // The socket is full: the next message follows when this one has been handed to the kernel.
        this.#blocked = true;
        this.#socket.send(message, () => {
          this.#blocked = false;
          this.#schedule();
        });
      }
    }
    if (this.#onIdle !== undefined && this.#session.open === 0) this.#onIdle();
  }

  #onSocketClosed(code: number, reason: string): void {
    clearInterval(this.#ping);
    clearTimeout(this.#patience);
    this.#session.abandon();
    for (const id of [...this.#servers.keys()]) this.#lost(id);
    this.#onPong?.();
    this.#onIdle?.();
    this.#events.onEnded(code, reason);
  }
}

/** As much of a close frame's reason as it has room for, in whole characters. */
function fitting(reason: string): Buffer {
  const bytes = Buffer.alloc(CLOSE_REASON_MAX);
  return bytes.subarray(0, new TextEncoder().encodeInto(reason, bytes).written);
}
