// Serves one WebSocket stream: the backend's handshake comes first and is relayed, subprotocol or refusal; then messages
// both ways under credit, and the close codes. Each hop answers its own pings.
import type { IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { WEBSOCKET_MESSAGE_MAX } from "../../src/wire/limits.ts";
import { type RequestHead, Reset } from "../../src/wire/messages.ts";
import type { Backend, EndpointState } from "../dataplane/userspace/endpoints.ts";
import type { ServedStream, Server } from "./connection.ts";

const HANDSHAKE_MS = 10_000;
const TRIES = 5;
/** What `ws` writes itself, or the session carries otherwise. */
const OWN: ReadonlySet<string> = new Set(["connection", "upgrade", "sec-websocket-accept", "sec-websocket-extensions"]);

export class WebSocketServer implements Server {
  readonly #stream: ServedStream;
  readonly #head: RequestHead;
  readonly #endpoints: Iterator<EndpointState>;
  #endpoint: EndpointState | undefined;
  #socket: WebSocket | undefined;
  #attempts = 0;
  #over = false;

  constructor(stream: ServedStream, head: RequestHead, backend: Backend) {
    this.#stream = stream;
    this.#head = head;
    this.#endpoints = backend.order(head.client, Date.now())[Symbol.iterator]();
    this.#next("no endpoint");
  }

  #next(why: string): void {
    const next = this.#attempts < TRIES ? this.#endpoints.next() : undefined;
    if (next === undefined || next.done === true)
      return this.#fail(this.#attempts === 0 ? Reset.NO_ENDPOINT : Reset.NOT_SENT, why);
    this.#attempts++;
    this.#dial(next.value);
  }

  #dial(endpoint: EndpointState): void {
    this.#endpoint = endpoint;
    endpoint.begin();
    const host = endpoint.address.includes(":") ? `[${endpoint.address}]` : endpoint.address;
    const { headers, protocols } = split(this.#head.headers);
    let socket: WebSocket;
    try {
      socket = new WebSocket(`ws://${host}:${endpoint.port}${this.#head.target}`, protocols, {
        headers,
        perMessageDeflate: false,
        followRedirects: false,
        handshakeTimeout: HANDSHAKE_MS,
        maxPayload: WEBSOCKET_MESSAGE_MAX,
      });
    } catch (error) {
      this.#release();
      return this.#fail(Reset.REFUSED, error instanceof Error ? error.message : String(error));
    }
    this.#socket = socket;
    let answered = false;
    socket.on("upgrade", (response) => {
      answered = true;
      endpoint.succeeded();
      this.#stream.respond({ status: 101, headers: response.rawHeaders.filter(notOwn) });
    });
    socket.on("unexpected-response", (_request, response) => {
      answered = true;
      endpoint.succeeded();
      this.#refuse(response);
    });
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (!this.#stream.sendMessage(data, !isBinary)) socket.pause();
    });
    socket.on("error", (error) => {
      if (answered || this.#over) return;
      answered = true;
      const code = "code" in error ? error.code : undefined;
      this.#release();
      endpoint.failed(error.message);
      // Nobody saw a handshake that could not be sent; one that broke may have been seen, and is not repeated.
      if (code === "ECONNREFUSED" || code === "EHOSTUNREACH" || code === "ETIMEDOUT") this.#next(error.message);
      else this.#fail(Reset.BROKE, error.message);
    });
    socket.on("close", (code, reason) => {
      if (this.#over || this.#socket !== socket || !answered) return;
      this.#release();
      this.#over = true;
      if (code === 1006) this.#stream.reset(Reset.BROKE, "the backend's socket broke");
      else {
        this.#stream.sendClose(code === 1005 ? 0 : code, reason.toString());
        this.#stream.finished(true);
      }
    });
  }

  /** The backend answered, but did not upgrade: an ordinary answer, body and all. */
  #refuse(response: IncomingMessage): void {
    this.#stream.respond({ status: response.statusCode ?? 502, headers: response.rawHeaders });
    response.on("data", (chunk: Buffer) => {
      if (!this.#stream.write(chunk, false)) response.pause();
    });
    response.on("end", () => {
      this.#release();
      if (this.#over) return;
      this.#over = true;
      this.#stream.write(new Uint8Array(0), true);
      this.#stream.finished(false);
    });
    response.on("error", (error) => {
      this.#release();
      if (!this.#over) this.#fail(Reset.BROKE, error.message);
    });
    this.#refusal = response;
  }
  #refusal: IncomingMessage | undefined;

  #release(): void {
    this.#endpoint?.end();
    this.#endpoint = undefined;
  }

  #fail(code: Reset, reason: string): void {
    this.#over = true;
    this.#stream.reset(code, reason);
  }

  onMessage(data: string | Uint8Array, size: number): void {
    this.#socket?.send(data, { binary: typeof data !== "string" }, () => this.#stream.consumed(size));
  }

  onClose(code: number, reason: string): void {
    if (code === 0) this.#socket?.close();
    else this.#socket?.close(code, reason);
  }

  onReset(): void {
    if (this.#over) return;
    this.#over = true;
    this.#release();
    this.#refusal?.destroy();
    this.#socket?.terminate();
  }

  onDrained(): void {
    this.#socket?.resume();
    this.#refusal?.resume();
  }

  onData(): void {}
}

/** Every second item is a value: it goes with the name before it. */
function notOwn(_item: string, index: number, all: readonly string[]): boolean {
  return !OWN.has((all[index - (index % 2)] as string).toLowerCase());
}

function split(flat: readonly string[]): { headers: Record<string, string>; protocols: string[] } {
  const headers: Record<string, string> = {};
  const protocols: string[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const name = (flat[i] as string).toLowerCase();
    const value = flat[i + 1] as string;
    if (name === "sec-websocket-protocol")
      protocols.push(
        ...value
          .split(",")
          .map((each) => each.trim())
          .filter((each) => each !== ""),
      );
    else if (name.startsWith("sec-websocket-") || OWN.has(name)) continue;
    // Cookies are joined with a semicolon, everything else that repeats with a comma (RFC 9110 §5.3, RFC 6265 §5.4).
    else if (headers[name] !== undefined) headers[name] += (name === "cookie" ? "; " : ", ") + value;
    else headers[name] = value;
  }
  return { headers, protocols };
}
