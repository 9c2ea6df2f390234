// Serves one WebSocket stream: the backend's handshake comes first and is relayed, subprotocol or refusal; then messages
// both ways under credit, and the close codes. Each hop answers its own pings. When a handshake is made again: tries.ts.
import type { IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { type RequestHead, Reset } from "../../src/shared/wire/messages.ts";
import type { Backend, EndpointState } from "../endpoints/endpoints.ts";
import type { ServedStream, Server } from "./connection.ts";
import { type HandshakeFailure, type HandshakeHeaders, handshakeHeaders, shakeHands } from "./handshake.ts";
import type { Patience } from "./pools.ts";
import { Stopwatch } from "./stopwatch.ts";
import { Tries } from "./tries.ts";

export class WebSocketServer implements Server {
  readonly #stream: ServedStream;
  readonly #target: string;
  readonly #patience: Patience;
  readonly #tries: Tries;
  /** Of a traced request. */
  readonly #stopwatch: Stopwatch | undefined;
  #headers: HandshakeHeaders = {};
  #endpoint: EndpointState | undefined;
  /** Being dialled, or open. */
  #socket: WebSocket | undefined;
  #refusal: IncomingMessage | undefined;
  #open = false;
  /** The client has closed its half. */
  #closed = false;
  #over = false;

  constructor(stream: ServedStream, head: RequestHead, backend: Backend, patience: Patience) {
    this.#stream = stream;
    this.#patience = patience;
    this.#target = head.target;
    this.#tries = new Tries(backend.order(head.client, Date.now()), head);
    if (head.traced) this.#stopwatch = new Stopwatch();
    const headers = handshakeHeaders(head);
    if (typeof headers === "string") this.#fail(Reset.UNSENDABLE, headers);
    else {
      this.#headers = headers;
      this.#next("no endpoint");
    }
  }

  #next(why: string): void {
    const endpoint = this.#tries.next();
    if (endpoint === undefined) return this.#fail(this.#tries.outcome, why);
    this.#endpoint = endpoint;
    endpoint.begin();
    this.#stopwatch?.sent();
    const guard = this.#guard;
    try {
      this.#socket = shakeHands(endpoint, this.#target, this.#headers, this.#patience, {
        onOpen: (socket, headers) => guard(() => this.#onOpen(socket, headers)),
        onRefused: (response) => guard(() => this.#onRefused(response)),
        onFailed: (failure) => guard(() => this.#onFailed(failure)),
      });
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  #onFailed({ stage, reason }: HandshakeFailure): void {
    const endpoint = this.#endpoint;
    this.#release();
    this.#socket = undefined;
    if (this.#over) return;
    endpoint?.failed(reason);
    if (stage === "timeout") return this.#fail(Reset.TIMEOUT, reason);
    if (stage !== "unsent") this.#tries.seen();
    // Something that is no handshake is an answer all the same, so no other endpoint is asked.
    if (stage === "answered") return this.#fail(Reset.BROKE, reason);
    this.#next(reason);
  }

  #onOpen(socket: WebSocket, headers: readonly string[]): void {
    if (this.#over) return socket.terminate();
    this.#open = true;
    this.#endpoint?.succeeded();
    this.#stream.respond({ status: 101, headers, ...this.#stopwatch?.answered(this.#endpoint) });
    const guard = this.#guard;
    socket.on("message", (data: Buffer, isBinary: boolean) =>
      guard(() => {
        if (!this.#over && !this.#stream.sendMessage(data, !isBinary)) socket.pause();
      }),
    );
    socket.on("close", (code, reason) => guard(() => this.#onSocketClosed(code, reason.toString())));
  }

  #onSocketClosed(code: number, reason: string): void {
    this.#release();
    if (this.#over) return;
    // 1006: no close frame came; 1005: one without a code did.
    if (code === 1006) return this.#fail(Reset.BROKE, "the backend's socket broke");
    this.#over = true;
    this.#stream.sendClose(code === 1005 ? 0 : code, reason);
    this.#stream.finished(this.#closed);
  }

  /** The backend answered, but did not upgrade: an ordinary answer, body and all. */
  #onRefused(response: IncomingMessage): void {
    const guard = this.#guard;
    const status = response.statusCode ?? 0;
    this.#refusal = response;
    // This listener stays as long as the response: an error event that nobody hears would end the process.
    response.on("error", (error) => guard(() => this.#onRefusalBroken(error.message)));
    if (status < 200 || status > 599)
      return this.#onRefusalBroken(`the backend answered the handshake with status ${status}`);
    this.#endpoint?.succeeded();
    this.#stream.respond({ status, headers: response.rawHeaders, ...this.#stopwatch?.answered(this.#endpoint) });
    response.on("data", (chunk: Buffer) =>
      guard(() => {
        if (!this.#over && !this.#stream.write(chunk, false)) response.pause();
      }),
    );
    response.on("end", () => guard(() => this.#onRefusalEnded()));
    response.on("close", () => guard(() => this.#onRefusalBroken("the backend's answer was cut")));
    const { idle } = this.#patience;
    response.setTimeout(idle, () => {
      if (!response.isPaused()) response.destroy(new Error(`nothing came for ${idle / 1000} s`));
    });
  }

  #onRefusalEnded(): void {
    this.#release();
    if (this.#over) return;
    this.#over = true;
    this.#stream.write(new Uint8Array(0), true);
    this.#stream.finished(this.#closed);
    this.#socket?.terminate();
  }

  #onRefusalBroken(why: string): void {
    this.#release();
    if (this.#over) return;
    this.#fail(Reset.BROKE, why);
    this.#refusal?.destroy();
    this.#socket?.terminate();
  }

  #release(): void {
    this.#endpoint?.end();
    this.#endpoint = undefined;
  }

  #fail(code: Reset, reason: string): void {
    this.#over = true;
    this.#stream.reset(code, reason);
  }

  /** Wraps what sockets call: an exception ends this stream alone. */
  readonly #guard = (call: () => void): void => {
    try {
      call();
    } catch (error) {
      this.#stream.fault(error);
    }
  };

  onMessage(data: string | Uint8Array, size: number): void {
    if (this.#socket === undefined || !this.#open) return this.#break("a message before the answer to the handshake");
    this.#socket.send(data, { binary: typeof data !== "string" }, () => this.#stream.consumed(size));
  }

  onClose(code: number, reason: string): void {
    if (this.#socket === undefined || !this.#open) return this.#break("a close before the answer to the handshake");
    this.#closed = true;
    try {
      if (code === 0) this.#socket.close();
      else this.#socket.close(code, reason);
    } catch (error) {
      // A code or a reason that no close frame can have.
      this.#break((error as Error).message);
    }
  }

  /** The edge sent what no client can send. */
  #break(why: string): void {
    this.onReset();
    this.#stream.reset(Reset.BROKE, why);
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

  /** The edge may end its half of a stream whose handshake was refused. */
  onData(_bytes: Uint8Array, end: boolean): void {
    this.#closed = end;
  }
}
