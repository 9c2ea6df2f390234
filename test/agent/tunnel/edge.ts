// An edge for the agent's tests: a real WebSocket server with the real edge session, driven by the test. Only the choice of
// what to send when is the test's.
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { PROTOCOL_VERSIONS } from "../../../src/shared/wire/limits.ts";
import type { Hello, ProbeQuestion, RequestHead, Reset, ResponseHead } from "../../../src/shared/wire/messages.ts";
import { Session, type SessionEvent } from "../../../src/shared/wire/session.ts";

export interface Received {
  head: ResponseHead | undefined;
  body: Buffer[];
  messages: (string | Uint8Array)[];
  ended: boolean;
  reset: { code: Reset; reason: string } | undefined;
  closed: { code: number; reason: string } | undefined;
}

export class EdgeConnection {
  readonly session: Session;
  readonly events: SessionEvent[] = [];
  readonly streams = new Map<number, Received>();
  readonly socket: WebSocket;
  /** Consume what arrives; false: a client that does not read. */
  reading = true;
  ended = false;
  #waiters: (() => void)[] = [];

  constructor(socket: WebSocket, shards: number) {
    this.socket = socket;
    this.session = new Session({
      role: "edge",
      hello: { versions: [...PROTOCOL_VERSIONS], capabilities: [], software: "test-edge", shard: 0, shards },
    });
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (!isBinary) {
        socket.send("pong");
        return;
      }
      for (const event of this.session.receive(data)) this.#on(event);
      this.flush();
      this.#tell();
    });
    socket.on("close", () => {
      this.ended = true;
      this.#tell();
    });
  }

  #on(event: SessionEvent): void {
    this.events.push(event);
    if (!("id" in event)) return;
    const stream = this.streams.get(event.id);
    if (stream === undefined) return;
    if (event.type === "head") {
      stream.head = event.head;
      if (event.body !== undefined) this.#take(event.id, stream, event.body);
      stream.ended = event.end;
    } else if (event.type === "data") {
      this.#take(event.id, stream, event.bytes);
      stream.ended = event.end;
    } else if (event.type === "message") {
      stream.messages.push(event.data);
      this.session.consumed(event.id, event.size);
    } else if (event.type === "close") stream.closed = event;
    else if (event.type === "reset") stream.reset = event;
  }

  #take(id: number, stream: Received, bytes: Uint8Array): void {
    stream.body.push(Buffer.from(bytes));
    if (this.reading) this.session.consumed(id, bytes.length);
  }

  open(head: Partial<RequestHead> & { service?: string }, body?: Uint8Array, end = true): number {
    const id = this.session.openStream(
      {
        websocket: false,
        service: "default/web",
        port: 80,
        client: "203.0.113.7",
        method: "GET",
        target: "/",
        headers: ["host", "web.test"],
        sightings: 2,
        ...head,
      },
      body,
      head.websocket === true ? false : end,
    );
    return this.#opened(id);
  }

  #opened(id: number): number {
    this.streams.set(id, {
      head: undefined,
      body: [],
      messages: [],
      ended: false,
      reset: undefined,
      closed: undefined,
    });
    this.flush();
    return id;
  }

  /** Asks the node about itself; resolves when it has answered or refused. */
  async probe(question: ProbeQuestion): Promise<Received> {
    const stream = this.stream(this.#opened(this.session.openProbe(question)));
    await this.until(() => stream.ended || stream.reset !== undefined);
    return stream;
  }

  /** Opens and resolves when the answer is complete or reset. */
  async exchange(head: Partial<RequestHead>, body?: Uint8Array): Promise<Received> {
    const stream = this.stream(this.open(head, body));
    await this.until(() => stream.ended || stream.reset !== undefined);
    return stream;
  }

  stream(id: number): Received {
    const stream = this.streams.get(id);
    if (stream === undefined) throw new Error(`no stream ${id}`);
    return stream;
  }

  flush(): void {
    for (;;) {
      const message = this.session.take(64 * 1024);
      if (message === undefined) return;
      this.socket.send(message);
    }
  }

  async until(seen: () => boolean): Promise<void> {
    while (!seen()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #tell(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}

export class TestEdge {
  readonly connections: EdgeConnection[] = [];
  readonly dials: { url: string; headers: IncomingHttpHeaders }[] = [];
  /** Answer to the next dials; undefined: accept. */
  refuseWith: number | undefined;
  shards = 1;
  /** Answers what is no dial, where a test listens. */
  readonly http = createServer();
  readonly #sockets = new WebSocketServer({ noServer: true });
  #waiters: (() => void)[] = [];

  async start(): Promise<URL> {
    this.http.on("upgrade", (request, socket, head) => {
      this.dials.push({ url: request.url ?? "", headers: request.headers });
      if (this.refuseWith !== undefined) {
        socket.end(`HTTP/1.1 ${this.refuseWith} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
        this.#tell();
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (accepted) => {
        this.connections.push(new EdgeConnection(accepted, this.shards));
        this.#tell();
      });
    });
    this.http.listen(0, "127.0.0.1");
    await once(this.http, "listening");
    return new URL(`http://127.0.0.1:${(this.http.address() as AddressInfo).port}`);
  }

  /** The n-th connection, greeted. */
  async connection(n = 0): Promise<EdgeConnection & { hello: Hello }> {
    await this.until(() => this.connections.length > n);
    const connection = this.connections[n] as EdgeConnection;
    await connection.until(() => connection.session.peer !== undefined);
    return Object.assign(connection, { hello: connection.session.peer as Hello });
  }

  async until(seen: () => boolean): Promise<void> {
    while (!seen()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  async stop(): Promise<void> {
    for (const { socket } of this.connections) socket.terminate();
    this.http.closeAllConnections();
    this.http.close();
    await once(this.http, "close");
  }

  #tell(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
