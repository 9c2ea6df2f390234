// A node for tests inside workerd: the real session on a real WebSocket, with a scripted backend behind it. What it
// answers is the test's business; the protocol is not faked. Keeps all that happened, and lets tests await it.
import { env, exports } from "cloudflare:workers";
import type { TunnelNode } from "../../../src/shared/control/answers.ts";
import { decode, Type } from "../../../src/shared/wire/frames.ts";
import { PROTOCOL_VERSIONS } from "../../../src/shared/wire/limits.ts";
import {
  CAN_PROBE,
  type ProbeQuestion,
  type RequestHead,
  type Reset,
  type ResponseHead,
} from "../../../src/shared/wire/messages.ts";
import { Session, type SessionEvent } from "../../../src/shared/wire/session.ts";
import { byAdminPort } from "./edge.ts";

/** One exchange as the node sees it. */
export class Stream {
  readonly node: TestNode;
  readonly id: number;
  readonly head: RequestHead;
  /** The request's body so far; the node takes it as it comes. */
  readonly chunks: Uint8Array[] = [];
  /** The request is complete. */
  ended: boolean;
  readonly messages: (string | Uint8Array)[] = [];
  closed: { code: number; reason: string } | undefined;
  reset: { code: Reset; reason: string } | undefined;
  /** While false, messages are received and not taken: the backend does not read. */
  reading = true;
  /** Bytes taken back by `read()`. */
  #unread = 0;

  constructor(node: TestNode, id: number, head: RequestHead, ended: boolean) {
    this.node = node;
    this.id = id;
    this.head = head;
    this.ended = ended;
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  get text(): string {
    return this.chunks.map((chunk) => new TextDecoder().decode(chunk)).join("");
  }

  /** The value of a request header as the backend would get it. */
  header(name: string): string | undefined {
    const at = this.head.headers.findIndex((each, i) => i % 2 === 0 && each.toLowerCase() === name);
    return at < 0 ? undefined : this.head.headers[at + 1];
  }

  /** A complete answer, in one message. */
  answer(body: string | Uint8Array = "", head: Partial<ResponseHead> = {}): void {
    this.begin(body, { ...head, end: true });
  }

  /** The head of an answer, perhaps with the first of its body. */
  begin(
    body: string | Uint8Array = "",
    { status = 200, headers = [], by, end = false }: Partial<ResponseHead> & { readonly end?: boolean } = {},
  ): void {
    this.node.session.respond(this.id, { status, headers, ...(by && { by }) }, bytesOf(body), end);
    this.node.flush();
  }

  write(body: string | Uint8Array, end = false): void {
    this.node.session.write(this.id, bytesOf(body), end);
    this.node.flush();
  }

  end(): void {
    this.write("", true);
  }

  fail(code: Reset, reason = "scripted"): void {
    this.node.session.reset(this.id, code, reason);
    this.node.flush();
  }

  upgrade(headers: readonly string[] = []): void {
    this.node.session.respond(this.id, { status: 101, headers }, undefined, false);
    this.node.flush();
  }

  message(data: string | Uint8Array): void {
    this.node.session.sendMessage(this.id, data);
    this.node.flush();
  }

  close(code: number, reason = ""): void {
    this.node.session.sendClose(this.id, code, reason);
    this.node.flush();
  }

  /** Counts what arrived as taken, now or once `read()` is called. */
  took(bytes: number): void {
    if (this.reading) this.node.session.consumed(this.id, bytes);
    else this.#unread += bytes;
  }

  /** The backend reads again, beginning with what waits. */
  read(): void {
    this.reading = true;
    this.node.session.consumed(this.id, this.#unread);
    this.#unread = 0;
    this.node.flush();
  }
}

export type Backend = (stream: Stream) => void;

/** What every node says that it runs. */
export const TEST_BUNDLE = "b".repeat(64);

/** A backend that leaves everything to the test. */
export const silent: Backend = () => {};

export interface NodeOptions {
  readonly cluster: string;
  readonly token: string;
  readonly name: string;
  readonly instance?: string;
  readonly started?: number;
  readonly shard?: number;
  /** What it answers to probes; absent: it is older than probes. */
  readonly probed?: Probed;
}

/** Answers one probe, or leaves it to the test. */
export type Probed = (node: TestNode, id: number, question: ProbeQuestion) => void;

export class TestNode {
  readonly name: string;
  readonly session: Session;
  readonly socket: WebSocket;
  readonly events: SessionEvent[] = [];
  readonly streams: Stream[] = [];
  closed: { code: number; reason: string } | undefined;
  /** It called leave(); its own close event comes later. */
  left = false;
  /** While true, received messages are not read: as if the process were stopped. */
  frozen = false;
  /** PINGs that it has read, and answered. */
  pings = 0;
  /** What came meanwhile. */
  readonly #backlog: Uint8Array[] = [];
  readonly #backend: Backend;
  readonly #probed: Probed | undefined;
  #waiters: (() => void)[] = [];

  constructor(socket: WebSocket, options: NodeOptions, backend: Backend) {
    this.name = options.name;
    this.#backend = backend;
    this.#probed = options.probed;
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.session = new Session({
      role: "node",
      hello: {
        versions: [...PROTOCOL_VERSIONS],
        capabilities: options.probed === undefined ? [] : [CAN_PROBE],
        software: "test",
        bundle: TEST_BUNDLE,
        node: options.name,
        instance: options.instance ?? `${options.name}-1`,
        started: options.started ?? 1,
      },
    });
    socket.addEventListener("message", (event) => {
      if (typeof event.data === "string") return;
      const message = new Uint8Array(event.data as ArrayBuffer);
      if (this.frozen) this.#backlog.push(message);
      else this.#receive(message);
      this.#tell();
    });
    socket.addEventListener("close", (event) => {
      this.closed = { code: event.code, reason: event.reason };
      this.session.abandon();
      this.#tell();
    });
    socket.accept();
    this.flush();
  }

  /** Goes on after `frozen`. */
  thaw(): void {
    this.frozen = false;
    for (const message of this.#backlog.splice(0)) this.#receive(message);
    this.#tell();
  }

  /** True where the edge sent anything since the node was frozen. */
  get hasBacklog(): boolean {
    return this.#backlog.length > 0;
  }

  #receive(message: Uint8Array): void {
    decode(message, ({ type }) => {
      if (type === Type.PING) this.pings++;
      return true;
    });
    for (const event of this.session.receive(message)) {
      this.events.push(event);
      this.#on(event);
    }
    this.flush();
  }

  #on(event: SessionEvent): void {
    if (event.type === "open") {
      const stream = new Stream(this, event.id, event.head, event.end);
      this.streams.push(stream);
      if (event.body !== undefined) {
        stream.chunks.push(event.body);
        stream.took(event.body.length);
      }
      return this.#backend(stream);
    }
    if (event.type === "probe") return this.#probed?.(this, event.id, event.question);
    const stream = "id" in event ? this.streams.find((each) => each.id === event.id) : undefined;
    if (stream === undefined) return;
    if (event.type === "data") {
      stream.chunks.push(event.bytes);
      stream.ended = event.end;
      stream.took(event.bytes.length);
    } else if (event.type === "message") {
      stream.messages.push(event.data);
      stream.took(event.size);
    } else if (event.type === "close") stream.closed = { code: event.code, reason: event.reason };
    else if (event.type === "reset") stream.reset = { code: event.code, reason: event.reason };
  }

  /** The answer to a probe. */
  report(id: number, report: unknown): void {
    this.session.respond(id, { status: 200, headers: [] }, bytesOf(JSON.stringify(report)), true);
    this.flush();
  }

  fail(id: number, code: Reset, reason = "scripted"): void {
    this.session.reset(id, code, reason);
    this.flush();
  }

  flush(): void {
    for (;;) {
      const message = this.session.take(64 * 1024);
      if (message === undefined || this.closed !== undefined || this.left) return;
      this.socket.send(message);
    }
  }

  /** Leaves as a process does that ends: its socket closes. */
  leave(): void {
    this.left = true;
    this.socket.close(1000, "leaving");
  }

  /** Resolves when `seen` is true, looked at after everything that happens to this node. */
  async until(seen: () => boolean): Promise<void> {
    while (!seen()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** The nth stream that this node was given. */
  async stream(at = 0): Promise<Stream> {
    await this.until(() => this.streams.length > at);
    return this.streams[at] as Stream;
  }

  async event<T extends SessionEvent["type"]>(type: T): Promise<Extract<SessionEvent, { type: T }>> {
    const find = (): SessionEvent | undefined => this.events.find((each) => each.type === type);
    await this.until(() => find() !== undefined);
    return find() as Extract<SessionEvent, { type: T }>;
  }

  #tell(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}

/** Dials as an agent does, through the Worker and its control API. Resolves when the edge has said hello. */
export async function connectNode(options: NodeOptions, backend: Backend = silent): Promise<TestNode> {
  const response = await (exports as { default: Fetcher }).default.fetch(
    `http://admin.test/api/v1/clusters/${options.cluster}/tunnel/${options.shard ?? 0}`,
    { headers: { ...byAdminPort, upgrade: "websocket", authorization: `Bearer ${options.token}` } },
  );
  if (response.webSocket === null) throw new Error(`dial refused: ${response.status} ${await response.text()}`);
  const node = new TestNode(response.webSocket, options, backend);
  await node.event("hello");
  return node;
}

/** What a cluster's shard says of its nodes. */
export async function shardNodes(cluster: string, shard = 0): Promise<readonly TunnelNode[]> {
  return await env.TUNNEL.getByName(`${cluster}/${shard}`).nodes();
}

/** Streams that the edge has open at this node. */
export async function openAtEdge(cluster: string, node: string): Promise<number> {
  const found = (await shardNodes(cluster)).find((each) => each.node === node);
  return (found?.connections ?? []).reduce((sum, { inFlight }) => sum + inFlight, 0);
}

const bytesOf = (body: string | Uint8Array): Uint8Array =>
  typeof body === "string" ? new TextEncoder().encode(body) : body;
