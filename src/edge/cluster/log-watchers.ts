// Who reads a cluster's access log: each a stream of lines, with its filter. Memory only: a reader of an object that is evicted is
// disconnected, and asks again. What a reader does not take in time is counted and left out, so it holds a bounded number of lines;
// one that takes nothing for IDLE_MS is let go.
import { isWanted, type LogFilter, type LogLine, type LogRecord } from "../../shared/control/access-log.ts";

/** Readers of one cluster at the same time. */
const WATCHERS_MAX = 8;
/** Lines that wait for one reader. */
const LINES_MAX = 1_000;
/** How often a reader is told that all is well, and the edge's other parts that somebody reads, ms. */
const BEAT_MS = 5_000;
const IDLE_MS = 60_000;
/** For so long after a beat records are made, ms; two beats may be lost. */
export const WATCHED_MS = 3 * BEAT_MS;

const encoder = new TextEncoder();

/** One reader. */
class Watcher {
  readonly filter: LogFilter;
  readonly stream: ReadableStream<Uint8Array>;
  #lines: string[] = [];
  #leftOut = 0;
  #takenAt: number;
  /** The reader waits for a line. */
  #wake: (() => void) | undefined;
  #over = false;
  #isCancelled = false;

  constructor(filter: LogFilter, now: () => number, gone: (watcher: Watcher) => void) {
    this.filter = filter;
    this.#takenAt = now();
    this.stream = new ReadableStream({
      type: "bytes",
      pull: async (controller) => {
        this.#takenAt = now();
        if (!this.#over && this.#lines.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
        if (this.#isCancelled) return;
        if (this.#lines.length > 0) controller.enqueue(encoder.encode(this.#take()));
        else controller.close();
      },
      cancel: () => {
        this.#isCancelled = true;
        this.end();
        gone(this);
      },
    });
  }

  write(line: LogLine): void {
    if (this.#lines.length < LINES_MAX) this.#lines.push(`${JSON.stringify(line)}\n`);
    else if (line.kind !== "alive") this.#leftOut += line.kind === "left-out" ? line.count : 1;
    this.#wake?.();
  }

  isIdle(now: number): boolean {
    return this.#wake === undefined && now - this.#takenAt > IDLE_MS;
  }

  end(): void {
    this.#over = true;
    this.#wake?.();
  }

  #take(): string {
    const text = this.#lines.join("");
    const leftOut: LogLine = { kind: "left-out", count: this.#leftOut };
    const more = this.#leftOut === 0 ? "" : `${JSON.stringify(leftOut)}\n`;
    this.#lines = [];
    this.#leftOut = 0;
    return text + more;
  }
}

/** As src/edge/effects.ts has them. */
interface Effects {
  readonly now: () => number;
  readonly later: (ms: number, call: () => void) => unknown;
}

export class LogWatchers {
  readonly #effects: Effects;
  readonly #onWatched: (until: number) => void;
  readonly #watchers = new Set<Watcher>();
  #until = 0;
  #isBeating = false;

  /** `onWatched` is called when somebody begins to read, and at every beat while somebody does. */
  constructor(effects: Effects, onWatched: (until: number) => void) {
    this.#effects = effects;
    this.#onWatched = onWatched;
  }

  /** Until when records are wanted, epoch ms; what is past, or 0: nobody reads. */
  get until(): number {
    return this.#until;
  }

  /** Undefined: too many read already. */
  watch(filter: LogFilter): ReadableStream<Uint8Array> | undefined {
    if (this.#watchers.size >= WATCHERS_MAX) return undefined;
    const watcher = new Watcher(filter, this.#effects.now, (each) => this.#watchers.delete(each));
    this.#watchers.add(watcher);
    watcher.write({ kind: "alive" });
    this.#extend();
    return watcher.stream;
  }

  add(records: readonly LogRecord[], leftOut: number): void {
    for (const watcher of this.#watchers) {
      for (const request of records) if (isWanted(request, watcher.filter)) watcher.write({ kind: "request", request });
      if (leftOut > 0) watcher.write({ kind: "left-out", count: leftOut });
    }
  }

  /** The cluster is deleted. */
  endAll(): void {
    for (const watcher of this.#watchers) watcher.end();
    this.#watchers.clear();
  }

  #beat(): void {
    this.#isBeating = false;
    const now = this.#effects.now();
    for (const watcher of this.#watchers) {
      if (watcher.isIdle(now)) {
        watcher.end();
        this.#watchers.delete(watcher);
      } else watcher.write({ kind: "alive" });
    }
    if (this.#watchers.size > 0) this.#extend();
  }

  #extend(): void {
    this.#until = this.#effects.now() + WATCHED_MS;
    this.#onWatched(this.#until);
    if (!this.#isBeating) this.#effects.later(BEAT_MS, () => this.#beat());
    this.#isBeating = true;
  }
}
