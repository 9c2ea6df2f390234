// A node for tests inside workerd: the real session on a real WebSocket, with a scripted backend behind it. What it
// answers is the test's business; the protocol is not faked.
import { exports } from "cloudflare:workers";
import type { RequestHead, ResponseHead } from "../../src/wire/messages.ts";
import { type SessionEvent, Session } from "../../src/wire/session.ts";
import { PROTOCOL_VERSIONS } from "../../src/wire/limits.ts";

export interface Stream {
  readonly id: number;
  readonly head: RequestHead;
  /** Everything that came with the OPEN. */
  readonly body: Uint8Array | undefined;
  readonly end: boolean;
}

export type Backend = (stream: Stream, node: TestNode) => void;

export interface NodeOptions {
  readonly cluster: string;
  readonly token: string;
  readonly name: string;
  readonly instance?: string;
  readonly started?: number;
  readonly shard?: number;
}

export class TestNode {
  readonly session: Session;
  readonly socket: WebSocket;
  readonly events: SessionEvent[] = [];
  readonly streams: Stream[] = [];
  closed: { code: number; reason: string } | undefined;
  /** While true, received messages are not read: as if the process were stopped. */
  frozen = false;
  #waiters: (() => void)[] = [];

  constructor(socket: WebSocket, options: NodeOptions, backend: Backend) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.session = new Session({
      role: "node",
      hello: {
        versions: [...PROTOCOL_VERSIONS],
        capabilities: [],
        software: "test",
        node: options.name,
        instance: options.instance ?? `${options.name}-1`,
        started: options.started ?? 1,
      },
    });
    socket.addEventListener("message", (event) => {
      if (this.frozen || typeof event.data === "string") return;
      for (const each of this.session.receive(new Uint8Array(event.data as ArrayBuffer))) {
        this.events.push(each);
        if (each.type === "open") {
          if (each.body !== undefined) this.session.consumed(each.id, each.body.length);
          const stream: Stream = { id: each.id, head: each.head, body: each.body, end: each.end };
          this.streams.push(stream);
          backend(stream, this);
        }
      }
      this.flush();
      this.#tell();
    });
    socket.addEventListener("close", (event) => {
      this.closed = { code: event.code, reason: event.reason };
      this.#tell();
    });
    socket.accept();
    this.flush();
  }

  answer(stream: Stream, head: ResponseHead, body = "", end = true): void {
    this.session.respond(stream.id, head, new TextEncoder().encode(body), end);
    this.flush();
  }

  flush(): void {
    for (;;) {
      const message = this.session.take(64 * 1024);
      if (message === undefined) return;
      this.socket.send(message);
    }
  }

  /** Resolves when `seen` is true, looked at after everything that happens to this node. */
  async until(seen: () => boolean): Promise<void> {
    while (!seen()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
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
export async function connectNode(options: NodeOptions, backend: Backend): Promise<TestNode> {
  const response = await (exports as { default: Fetcher }).default.fetch(
    `http://admin.test/api/v1/clusters/${options.cluster}/tunnel/${options.shard ?? 0}`,
    { headers: { upgrade: "websocket", authorization: `Bearer ${options.token}`, host: "admin.test" } },
  );
  if (response.webSocket === null) throw new Error(`dial refused: ${response.status} ${await response.text()}`);
  const node = new TestNode(response.webSocket, options, backend);
  await node.event("hello");
  return node;
}
