// Takes "100 Continue" out of the bytes in front of an answer. A client must be able to read a 1xx that it did not ask for
// (RFC 9110 §15.2), and undici can, but for this one, on which it breaks the connection off. Bytes in, bytes out. At most one
// head, of HEAD_MOST bytes, is held back, and only while it may still become a 100.

/** The longest interim head that is held back, in bytes. */
const HEAD_MOST = 16 * 1024;
/** How many of them are left out of one answer. What a server sends beyond that is undici's to judge. */
const SKIPPED_MOST = 16;

const NOTHING = Buffer.alloc(0);
const CR = 0x0d;
const START = Buffer.from("HTTP/1.x 1xx ", "latin1");

export class InterimHeads {
  /** The answer's own head has begun, or something that is no head: every byte from here on passes. */
  over = true;
  #held: Buffer = NOTHING;
  #skipped = 0;

  /** A request is being written: what comes next is the beginning of its answer. */
  expect(): void {
    this.over = false;
    this.#held = NOTHING;
    this.#skipped = 0;
  }

  /** What may be read of `chunk` and of what was held back before it. Empty: nothing yet. */
  pass(chunk: Buffer): Buffer {
    const all = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = NOTHING;
    // "HTTP/1.1 2…": nearly every answer.
    if (all.length >= START.length && !isInterim(all, 0)) {
      this.over = true;
      return all;
    }
    const passed: Buffer[] = [];
    let at = 0;
    while (at < all.length) {
      const end = isInterim(all, at) ? endOfHead(all, at) : "none";
      const length = (typeof end === "number" ? end : all.length) - at;
      if (end === "more" && length <= HEAD_MOST) {
        this.#held = all.subarray(at);
        break;
      }
      const skip = typeof end === "number" && all[at + 10] === 0x30 && all[at + 11] === 0x30;
      if (typeof end !== "number" || (skip && (length > HEAD_MOST || ++this.#skipped > SKIPPED_MOST))) {
        this.over = true;
        passed.push(all.subarray(at));
        break;
      }
      if (!skip) passed.push(all.subarray(at, end));
      at = end;
    }
    const [only = NOTHING] = passed;
    return passed.length > 1 ? Buffer.concat(passed) : only;
  }
}

/** Whether `bytes` from `at` are the beginning of an interim head, as far as they go. A 101 is final. */
function isInterim(bytes: Buffer, at: number): boolean {
  const length = Math.min(bytes.length - at, START.length);
  for (let i = 0; i < length; i++) {
    const byte = bytes.readUInt8(at + i);
    // The version's second digit, and the status's; without a phrase the line ends there.
    if (i === 7 || i === 10 || i === 11 ? byte < 0x30 || byte > 0x39 : byte !== START[i] && !(i === 12 && byte === CR))
      return false;
  }
  return length < START.length || bytes[at + 10] !== 0x30 || bytes[at + 11] !== 0x31;
}

/** Where the head that begins at `at` ends. "none": it has a bare LF, which undici refuses; "more": its end has not come yet. */
function endOfHead(bytes: Buffer, at: number): number | "none" | "more" {
  for (let line = at; ; ) {
    const lf = bytes.indexOf(0x0a, line);
    if (lf < 0) return "more";
    if (bytes[lf - 1] !== CR) return "none";
    if (lf - line === 1) return lf + 1;
    line = lf + 1;
  }
}
