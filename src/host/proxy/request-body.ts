// A request's body on its way to the edge. undici destroys what it is given as a body, sent or not; node's own request must
// not be that, because its end would be its connection's, and the answer with it. Owns the reading of `req`, under
// back-pressure; destroyed early, it throws the rest away, so that the client can read its answer.
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";

export class RequestBody extends Readable {
  readonly #req: IncomingMessage;
  #begun: (() => void) | undefined;
  readonly #onData = (chunk: Buffer): void => {
    if (!this.push(chunk)) this.#req.pause();
    this.#begin();
  };
  readonly #onEnd = (): void => {
    this.push(null);
    this.#begin();
  };

  /** `begun` is called once, when the first byte, or the end, is there. */
  constructor(req: IncomingMessage, begun: () => void) {
    super({ highWaterMark: 64 * 1024 });
    this.#req = req;
    this.#begun = begun;
    req.on("data", this.#onData).on("end", this.#onEnd);
    // A client that leaves: whoever owns the answer sees that, too.
    this.on("error", () => {});
  }

  #begin(): void {
    const begun = this.#begun;
    this.#begun = undefined;
    begun?.();
  }

  override _read(): void {
    this.#req.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#begun = undefined;
    this.#req.off("data", this.#onData).off("end", this.#onEnd).resume();
    done(error);
  }
}
