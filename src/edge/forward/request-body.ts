// A request's body on its way to a node, possibly to a second one. Small bodies of known length are read whole and can be sent
// again; larger ones stream, and can be sent again as long as the beginning is still kept, that is until a node has
// granted more credit than a stream starts with (so some endpoint has begun to read).
// Promise: a node gets a body from its beginning to its end, or its stream is reset: never a part with an end.
// Owned by the loop (loop.ts), which calls forget() on every way out; what it keeps counts in the object's budget until then.
import { STREAM_QUEUE_MAX, STREAM_WINDOW } from "../../shared/wire/limits.ts";
import type { Budget } from "../../shared/wire/session.ts";
import type { Effects, Resendable } from "./transport.ts";

/** Bodies of at most this many bytes, by Content-Length, are read before the request is sent. */
const WHOLE_MAX = STREAM_WINDOW;
/** Most that can be written before a node grants credit: its first window, what may queue, and one chunk. */
const KEPT_MAX = STREAM_WINDOW + STREAM_QUEUE_MAX + STREAM_WINDOW;
/**
 * workerd closes the client's connection as soon as an answer is out and the request unread, and the answer may be lost with
 * it. So what is left is read and thrown away first: as long as some comes each second, and no more than this.
 */
const DRAIN_IDLE_MS = 1_000;
const DRAIN_MS = 60_000;
const DRAIN_MAX = 128 * 1024 * 1024;

/** A client's body, as a platform hands it over. Either method may reject: the client broke it off. */
export interface BodySource {
  /** As Content-Length says; NaN where it does not. */
  readonly length: number;
  /** All of it. Called once, and not after read(). */
  readonly whole: () => Promise<Uint8Array>;
  /** The next bytes; undefined: there are no more. */
  readonly read: () => Promise<Uint8Array | undefined>;
}

/** Where a body goes: one stream of one node. */
export interface BodySink {
  /** False: wait for resume(). */
  write(bytes: Uint8Array, end: boolean): boolean;
  flush(): void;
  /** The client broke it off. */
  onBroken(): void;
}

export interface RequestBody extends Resendable {
  /** What goes with the OPEN, end and all, where it does not stream. */
  readonly whole: Uint8Array | undefined;
  /** attach() sends it, and its end. */
  readonly streamed: boolean;
  /** All of it has been read from the client. */
  readonly ended: boolean;
  /** Sends all of it there, from its beginning; detaches from any stream before. */
  attach(sink: BodySink): void;
  detach(): void;
  /** There is room again in the stream attached. */
  resume(): void;
  /** Nobody wants the rest: reads and throws it away. Resolves when no more is to be expected; never rejects. */
  drain(): Promise<void>;
}

/** No body at all: most requests. */
export const noBody: RequestBody = {
  whole: undefined,
  streamed: false,
  ended: true,
  broken: false,
  replayable: true,
  attach: () => {},
  detach: () => {},
  resume: () => {},
  forget: () => {},
  drain: () => Promise.resolve(),
};

/**
 * Reads the body where it is small enough to be sent with the head; otherwise, or where memory is short, takes its stream.
 * undefined: the client broke it off.
 */
export async function requestBody(
  source: BodySource,
  budget: Budget,
  effects: Effects,
): Promise<RequestBody | undefined> {
  const { length } = source;
  // `!`: what is no number streams as well.
  if (!(length <= WHOLE_MAX) || !hasRoom(budget)) return new StreamedBody(source, budget, effects);
  budget.held += length;
  try {
    return new WholeBody(await source.whole(), budget, length);
  } catch {
    budget.held -= length;
    return undefined;
  }
}

/** Half of the budget is for what may be sent again, the rest for what is on its way. */
const hasRoom = (budget: Budget): boolean => budget.held <= budget.limit / 2;

class WholeBody implements RequestBody {
  readonly whole: Uint8Array;
  readonly streamed = false;
  readonly ended = true;
  readonly broken = false;
  readonly replayable = true;
  readonly #budget: Budget;
  #counted: number;

  constructor(whole: Uint8Array, budget: Budget, counted: number) {
    this.whole = whole;
    this.#budget = budget;
    this.#counted = counted;
  }

  attach(): void {}
  detach(): void {}
  resume(): void {}

  forget(): void {
    this.#budget.held -= this.#counted;
    this.#counted = 0;
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }
}

class StreamedBody implements RequestBody {
  readonly whole = undefined;
  readonly streamed = true;
  readonly #source: BodySource;
  readonly #budget: Budget;
  readonly #effects: Effects;
  /** All that was read; undefined once a part of it was let go. */
  #kept: Uint8Array[] | undefined = [];
  #keptBytes = 0;
  #sink: BodySink | undefined;
  #paused = false;
  #reading = false;
  #pulling: Promise<void> | undefined;
  ended = false;
  broken = false;

  constructor(source: BodySource, budget: Budget, effects: Effects) {
    this.#source = source;
    this.#budget = budget;
    this.#effects = effects;
  }

  get replayable(): boolean {
    return this.#kept !== undefined && !this.broken;
  }

  attach(sink: BodySink): void {
    if (this.#kept === undefined) throw new Error("the beginning of the body is not kept any more");
    this.#sink = sink;
    this.#paused = false;
    for (const chunk of this.#kept) this.#paused = !sink.write(chunk, false);
    if (this.ended) sink.write(new Uint8Array(0), true);
    sink.flush();
    this.#goOn();
  }

  detach(): void {
    this.#sink = undefined;
  }

  resume(): void {
    this.#paused = false;
    this.#goOn();
  }

  forget(): void {
    this.#budget.held -= this.#keptBytes;
    this.#keptBytes = 0;
    this.#kept = undefined;
  }

  async drain(): Promise<void> {
    this.detach();
    this.forget();
    // Its read may still be pending.
    if ((await this.#soon(this.#pulling)) === "idle") return;
    const { now } = this.#effects;
    const until = now() + DRAIN_MS;
    for (let left = DRAIN_MAX; left > 0 && now() < until && !this.ended && !this.broken; ) {
      const bytes = await this.#soon(this.#read());
      if (bytes === "idle" || bytes === undefined) return;
      left -= bytes.length;
    }
  }

  #goOn(): void {
    if (!this.#reading) this.#pulling = this.#pull();
  }

  async #pull(): Promise<void> {
    this.#reading = true;
    while (this.#sink !== undefined && !this.#paused && !this.ended && !this.broken) {
      const chunk = await this.#read();
      // Asked anew: an attempt may have failed, or a new one begun, while this read was pending.
      const sink = this.#sink as BodySink | undefined;
      if (sink === undefined) continue;
      if (this.broken) sink.onBroken();
      else this.#paused = !sink.write(chunk, this.ended);
      sink.flush();
    }
    this.#reading = false;
  }

  /** The next bytes, kept where there is room for them; none where the body has ended, or broke. */
  async #read(): Promise<Uint8Array> {
    try {
      const bytes = await this.#source.read();
      if (bytes !== undefined) {
        this.#keep(bytes);
        return bytes;
      }
      this.ended = true;
    } catch {
      this.broken = true;
    }
    return new Uint8Array(0);
  }

  #keep(chunk: Uint8Array): void {
    if (this.#kept === undefined) return;
    if (this.#keptBytes + chunk.length > KEPT_MAX || !hasRoom(this.#budget)) return this.forget();
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    this.#budget.held += chunk.length;
  }

  /** "idle" where it takes longer than DRAIN_IDLE_MS. */
  async #soon<T>(promise: Promise<T> | undefined): Promise<T | "idle" | undefined> {
    const { promise: idle, resolve } = Promise.withResolvers<"idle">();
    const stop = this.#effects.later(DRAIN_IDLE_MS, () => resolve("idle"));
    const outcome = await Promise.race([promise, idle]);
    stop();
    return outcome;
  }
}
