// A request's body for a fetch: bytes can be sent again, a stream once.
import type { Resendable } from "../forward/transport.ts";
import { mayHaveBody } from "./passing.ts";

/** Bodies of at most so many bytes are read first, so that they can be sent again. */
const REPLAYABLE_BYTES = 64 * 1024;

export class DirectBody implements Resendable {
  /** That is seen by the fetch, which fails. */
  readonly broken = false;
  replayable = true;
  readonly #body: ReadableStream | ArrayBuffer | null;

  constructor(body: ReadableStream | ArrayBuffer | null) {
    this.#body = body;
  }

  /** For one try. */
  take(): ReadableStream | ArrayBuffer | null {
    if (this.#body instanceof ReadableStream) this.replayable = false;
    return this.#body;
  }

  forget(): void {}
}

const noBody = new DirectBody(null);

/** As it came, or, where it may be sent twice and is small and of known length, as bytes. undefined: the client broke it off. */
export async function directBody(request: Request, repeatable: boolean): Promise<DirectBody | undefined> {
  if (request.body === null || !mayHaveBody(request)) return noBody;
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  if (!repeatable || !(length <= REPLAYABLE_BYTES)) return new DirectBody(request.body);
  try {
    return new DirectBody(await request.arrayBuffer());
  } catch {
    return undefined;
  }
}
