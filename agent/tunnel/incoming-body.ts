// A request body that is still arriving by the tunnel, as undici reads it. Bytes count as consumed, so that the edge gets credit for
// them, when they are handed to the endpoint's socket. A body that is not as long as Content-Length says breaks with WRONG_LENGTH.
// It is lost with its stream.
import { Readable } from "node:stream";

/** The code of the error that such a body breaks with. */
export const WRONG_LENGTH = "POSTERN_BODY_LENGTH";

export class IncomingBody extends Readable {
  readonly #consumed: (bytes: number) => void;
  /** Bytes that Content-Length still promises; NaN: it says nothing. */
  #owed: number;
  #waiting: Uint8Array[] = [];
  #wanted = false;
  /** All of it has arrived. */
  complete = false;
  /** An endpoint has begun to read: it cannot be sent again. */
  touched = false;

  constructor(consumed: (bytes: number) => void, first: Uint8Array | undefined, declared: number | undefined) {
    super({ highWaterMark: 0, autoDestroy: false });
    this.#consumed = consumed;
    this.#owed = declared ?? Number.NaN;
    if (first !== undefined) {
      this.#waiting.push(first);
      this.#owed -= first.length;
    }
    // undici destroys it with the error that it reports anyway.
    this.on("error", () => {});
  }

  receive(bytes: Uint8Array, end: boolean): void {
    this.complete = end;
    // Nobody reads any more.
    if (this.destroyed) return this.#consumed(bytes.length);
    if (bytes.length > 0) this.#waiting.push(bytes);
    this.#owed -= bytes.length;
    if (this.#owed < 0 || (end && this.#owed > 0)) return void this.destroy(new WrongLength());
    if (this.#wanted) this._read();
  }

  override _read(): void {
    this.#wanted = true;
    this.touched = true;
    while (this.#wanted) {
      const chunk = this.#waiting.shift();
      if (chunk === undefined) break;
      this.#wanted = this.push(chunk);
      this.#consumed(chunk.length);
    }
    if (this.complete && this.#waiting.length === 0) {
      this.#wanted = false;
      this.push(null);
    }
  }

  /** Nobody will read the rest. */
  discard(): void {
    let bytes = 0;
    for (const chunk of this.#waiting) bytes += chunk.length;
    this.#waiting = [];
    this.#consumed(bytes);
    this.destroy();
  }
}

class WrongLength extends Error {
  readonly code = WRONG_LENGTH;

  constructor() {
    super("the body is not as long as Content-Length says");
  }
}
