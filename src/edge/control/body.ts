// Reads the body of a published snapshot within its limits. They are enforced while it streams: a body that promises little and
// sends much, or a small archive that unpacks to much, is given up at the first byte too many.
import { SNAPSHOT_MAX_BYTES } from "../../shared/model/snapshot.ts";

export const COMPRESSED_MAX_BYTES = 2 * 1024 * 1024;
/** gzip unpacks to at most 1,032 times as much: one piece makes the decompressor hold 16 MiB at most. */
const PIECE_BYTES = 16 * 1024;

type Why = "compressed-too-large" | "too-large" | "not-gzip" | "not-utf-8";
export type BodyText = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly why: Why };

type Bytes = AsyncIterable<Uint8Array>;

/** Ends the reading of a body: leaving the loops on the way up cancels their streams. */
class Fault extends Error {
  readonly why: Why;

  constructor(why: Why, cause?: unknown) {
    super(why, { cause });
    this.why = why;
  }
}

/** How much is still read of a body that was refused, and for how long. */
const VAIN_BYTES = 8 * 1024 * 1024;
const VAIN_MS = 5_000;

/**
 * Reads what is left of a body, and drops it: an answer that comes while its request is still being sent is lost where the
 * sender, or a proxy before it, looks for one only when it has sent all. Not for long, and not more than an honest sender has.
 */
export async function readOut(body: ReadableStream<Uint8Array> | null): Promise<void> {
  if (body === null || body.locked) return;
  const reader = body.getReader();
  const timer = setTimeout(() => void reader.cancel().catch(() => undefined), VAIN_MS);
  try {
    for (let left = VAIN_BYTES; left > 0; ) {
      const { done, value } = await reader.read();
      if (done) return;
      left -= value.length;
    }
    await reader.cancel();
  } catch {
    // The sender closed the connection: nothing is left to read.
  } finally {
    clearTimeout(timer);
  }
}

export async function readBody(body: Bytes | null, encoding: "gzip" | "identity"): Promise<BodyText> {
  if (body === null) return encoding === "gzip" ? { ok: false, why: "not-gzip" } : { ok: true, text: "" };
  try {
    const plain = encoding === "gzip" ? gunzip(limited(body, COMPRESSED_MAX_BYTES, "compressed-too-large")) : body;
    return { ok: true, text: await decode(limited(plain, SNAPSHOT_MAX_BYTES, "too-large")) };
  } catch (error) {
    if (error instanceof Fault) return { ok: false, why: error.why };
    throw error;
  }
}

async function* limited(source: Bytes, max: number, why: Why): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > max) throw new Fault(why);
    yield chunk;
  }
}

async function decode(source: Bytes): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  const text = (chunk?: Uint8Array): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (cause) {
      throw new Fault("not-utf-8", cause);
    }
  };
  let all = "";
  for await (const chunk of source) all += text(chunk);
  return all + text();
}

/**
 * workerd's DecompressionStream takes whatever it is given and keeps the output in memory, however slowly it is read (seen: 64
 * MiB from one archive). So it gets small pieces, and gives up each one's output before the next. A wait costs about 2 ms.
 */
async function* gunzip(source: Bytes): AsyncGenerator<Uint8Array> {
  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  let reading: ReturnType<typeof reader.read> | undefined;
  try {
    for await (const chunk of source)
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        await corrupt(writer.write(chunk.slice(at, at + PIECE_BYTES)));
        for (;;) {
          reading ??= reader.read();
          const next = await corrupt(Promise.race([reading, scheduler.wait(0)]));
          if (next === undefined) break;
          reading = undefined;
          if (next.value !== undefined) yield next.value;
        }
      }
    // Awaited last: it may settle only once the rest is read. A broken end may fail the reading first.
    const closed = corrupt(writer.close());
    closed.catch(() => undefined);
    for (;;) {
      const next = await corrupt(reading ?? reader.read());
      reading = undefined;
      if (next.done) break;
      yield next.value;
    }
    await closed;
  } finally {
    reading?.catch(() => undefined);
    await reader.cancel().catch(() => undefined);
  }
}

async function corrupt<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw new Fault("not-gzip", cause);
  }
}
