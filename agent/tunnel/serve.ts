// Who serves a stream: what this node's own plan lists, and only for clients that it allows. A request whose body has not
// begun waits here, without an endpoint and without a connection, until it does: undici writes a head with the first bytes
// of its body, and a kept connection that waits for them may be closed by its server meanwhile.
import { type RequestHead, Reset } from "../../src/shared/wire/messages.ts";
import type { Backends } from "../endpoints/endpoints.ts";
import type { ServedStream, Server } from "./connection.ts";
import type { Pools } from "./pools.ts";
import { HttpServer } from "./serve-http.ts";
import { WebSocketServer } from "./serve-websocket.ts";

export interface Serving {
  readonly backends: Backends;
  readonly pools: Pools;
}

/** `end`: `body` is all of it. */
export function serve(
  serving: Serving,
  stream: ServedStream,
  head: RequestHead,
  body: Uint8Array | undefined,
  end: boolean,
): Server {
  const backend = serving.backends.find(head.service, head.port);
  if (backend === undefined) return refuse(stream, Reset.REFUSED, `${head.service}:${head.port} is not exposed here`);
  if (!backend.sourceAllowed(head.client)) return refuse(stream, Reset.REFUSED, "source address not allowed");
  if (backend.refusal !== undefined) return refuse(stream, Reset.NO_ENDPOINT, backend.refusal);
  if (!head.websocket && !end && body === undefined) return new AwaitedBody(serving, stream, head);
  const request = backend.externalName === undefined ? head : withHost(head, backend.externalName);
  return head.websocket
    ? new WebSocketServer(stream, request, backend, serving.pools.patience)
    : new HttpServer(stream, request, body, end, backend, serving.pools);
}

/** Waits for the first bytes of the body, or its end, and then serves the request by the plan of that moment. */
class AwaitedBody implements Server {
  readonly #begin: (bytes: Uint8Array, end: boolean) => Server;
  #server: Server | undefined;

  constructor(serving: Serving, stream: ServedStream, head: RequestHead) {
    this.#begin = (bytes, end) => serve(serving, stream, head, bytes.length === 0 ? undefined : bytes, end);
  }

  onData(bytes: Uint8Array, end: boolean): void {
    if (this.#server === undefined) this.#server = this.#begin(bytes, end);
    else this.#server.onData(bytes, end);
  }

  onReset(): void {
    this.#server?.onReset();
  }

  onDrained(): void {
    this.#server?.onDrained();
  }

  onMessage(): void {}
  onClose(): void {}
}

/** The server behind an ExternalName knows itself by that name, not by the listener's. */
function withHost(head: RequestHead, host: string): RequestHead {
  const headers = head.headers.map((item, index, all) =>
    index % 2 === 1 && (all[index - 1] as string).toLowerCase() === "host" ? host : item,
  );
  return { ...head, headers };
}

function refuse(stream: ServedStream, code: Reset, reason: string): Server {
  stream.reset(code, reason);
  const nothing = (): void => {};
  return { onData: nothing, onMessage: nothing, onClose: nothing, onReset: nothing, onDrained: nothing };
}
