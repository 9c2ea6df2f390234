// A request's body on its way to a node, possibly to a second one. Small bodies of known length are read whole and can be sent
// again; larger ones stream, and can be sent again as long as the beginning is still kept, that is until a node has
// granted more credit than a stream starts with (so some endpoint has begun to read).
import { BUDGET, STREAM_QUEUE_MAX, STREAM_WINDOW } from "../wire/limits.ts";
import { Reset } from "../wire/messages.ts";
import type { Budget } from "../wire/session.ts";
import type { Link } from "./link.ts";

/** Bodies of at most this many bytes, by Content-Length, are read before the request is sent. */
const WHOLE_MAX = STREAM_WINDOW;
/** Most that can be written before a node grants credit: its first window, what may queue, and one chunk. */
const KEPT_MAX = STREAM_WINDOW + STREAM_QUEUE_MAX + STREAM_WINDOW;
/** Bytes asked of the client's stream at a time; workerd's default reader gives 4 KiB. */
const CHUNK = 64 * 1024;

export interface RequestBody {
  /** What goes with the OPEN. */
  readonly whole: Uint8Array | undefined;
  /** All of it is in `whole`, or has been read from the client. */
  readonly ended: boolean;
  /** False once a part that was sent is not kept any more. */
  readonly replayable: boolean;
  /** Sends the rest to this stream, from the beginning; detaches from any stream before. */
  attach(link: Link, id: number): void;
  detach(): void;
  /** There is room again in the stream attached. */
  resume(): void;
  /** It will not be sent again: gives back what was kept. */
  forget(): void;
}

/** No body at all: most requests. */
export const noBody: RequestBody = {
  whole: undefined,
  ended: true,
  replayable: true,
  attach: () => {},
  detach: () => {},
  resume: () => {},
  forget: () => {},
};

/** Reads the body where it is small enough to be sent with the head; otherwise takes its stream. */
export async function requestBody(request: Request, budget: Budget): Promise<RequestBody> {
  if (request.body === null) return noBody;
  const length = request.headers.get("content-length");
  if (length === null || Number(length) > WHOLE_MAX) return new StreamedBody(request.body, budget);
  const whole = new Uint8Array(await request.arrayBuffer());
  return { ...noBody, whole };
}

class StreamedBody implements RequestBody {
  readonly whole = undefined;
  readonly #reader: ReadableStreamBYOBReader;
  readonly #budget: Budget;
  #kept: Uint8Array[] | undefined = [];
  #keptBytes = 0;
  #sink: { link: Link; id: number } | undefined;
  #paused = false;
  #reading = false;
  ended = false;
  #broken = false;

  constructor(body: ReadableStream<Uint8Array>, budget: Budget) {
    this.#reader = body.getReader({ mode: "byob" });
    this.#budget = budget;
  }

  get replayable(): boolean {
    return this.#kept !== undefined && !this.#broken;
  }

  attach(link: Link, id: number): void {
    this.#sink = { link, id };
    this.#paused = false;
    for (const chunk of this.#kept ?? []) this.#paused = !link.session.write(id, chunk, false);
    if (this.ended) link.session.write(id, new Uint8Array(0), true);
    link.flush();
    void this.#pull();
  }

  detach(): void {
    this.#sink = undefined;
  }

  resume(): void {
    this.#paused = false;
    void this.#pull();
  }

  forget(): void {
    this.#budget.held -= this.#keptBytes;
    this.#keptBytes = 0;
    this.#kept = undefined;
  }

  async #pull(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#sink !== undefined && !this.#paused && !this.ended && !this.#broken) {
        const { done, value } = await this.#reader.read(new Uint8Array(CHUNK));
        if (done) this.ended = true;
        else this.#keep(value);
        // Asked anew: an attempt may have failed, or a new one begun, while this read was pending.
        const sink = this.#sink as { link: Link; id: number } | undefined;
        if (sink === undefined) continue;
        this.#paused = !sink.link.session.write(sink.id, done ? new Uint8Array(0) : value, done);
        sink.link.flush();
      }
    } catch {
      this.#broken = true;
      this.#sink?.link.release(this.#sink.id, Reset.CANCELLED, "the client broke off its request");
    } finally {
      this.#reading = false;
    }
  }

  #keep(chunk: Uint8Array): void {
    if (this.#kept === undefined) return;
    const full = this.#keptBytes + chunk.length > KEPT_MAX || this.#budget.held > BUDGET / 2;
    if (full) return this.forget();
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    this.#budget.held += chunk.length;
  }
}
