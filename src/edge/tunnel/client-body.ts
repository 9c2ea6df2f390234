// Reads a client's body as workerd hands it over.
import { type BodySource, noBody, type RequestBody, requestBody } from "../forward/request-body.ts";
import type { Effects } from "../forward/transport.ts";
import type { Budget } from "../../shared/wire/session.ts";

/** How many bytes the client's stream is asked for at a time; workerd's default reader gives 4 KiB. */
const CHUNK = 64 * 1024;

/** Resolves with undefined if the client has broken its body off. */
export function clientBody(request: Request, memory: Budget, effects: Effects): Promise<RequestBody | undefined> {
  if (request.body === null) return Promise.resolve(noBody);
  return requestBody(new ClientBody(request, request.body), memory, effects);
}

class ClientBody implements BodySource {
  readonly length: number;
  readonly #request: Request;
  readonly #body: ReadableStream<Uint8Array>;
  #reader: ReadableStreamBYOBReader | undefined;

  constructor(request: Request, body: ReadableStream<Uint8Array>) {
    this.length = Number(request.headers.get("content-length") ?? Number.NaN);
    this.#request = request;
    this.#body = body;
  }

  async whole(): Promise<Uint8Array> {
    return new Uint8Array(await this.#request.arrayBuffer());
  }

  async read(): Promise<Uint8Array | undefined> {
    this.#reader ??= this.#body.getReader({ mode: "byob" });
    const { done, value } = await this.#reader.read(new Uint8Array(CHUNK));
    return done ? undefined : value;
  }
}
