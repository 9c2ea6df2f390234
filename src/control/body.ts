// Reads the body of a published snapshot within its limits. They are enforced while it streams: a body that promises little and
// sends much, or a small archive that unpacks to much, is given up at the first byte too many.
import { SNAPSHOT_MAX_BYTES } from "../wire/snapshot.ts";

export const COMPRESSED_MAX_BYTES = 2 * 1024 * 1024;
/** gzip unpacks to at most about 1,000 times as much: what one write can make the decompressor hold. */
const PIECE_BYTES = 2 * 1024;

export type BodyText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly why: "compressed-too-large" | "too-large" | "not-gzip" | "not-utf-8" };

export async function readBody(
  body: ReadableStream<Uint8Array> | null,
  encoding: "gzip" | "identity",
): Promise<BodyText> {
  if (body === null) return { ok: true, text: "" };
  if (encoding === "identity") return await collect(body.getReader());
  const gunzip = new DecompressionStream("gzip");
  const [fed, unpacked] = await Promise.all([
    feed(body.getReader(), gunzip.writable.getWriter()),
    collect(gunzip.readable.getReader()),
  ]);
  // The end that found the fault makes the other fail as well: the limits are the cause then.
  return fed === "compressed-too-large" ? { ok: false, why: fed } : unpacked;
}

async function feed(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  writer: WritableStreamDefaultWriter<BufferSource>,
): Promise<"compressed-too-large" | undefined> {
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > COMPRESSED_MAX_BYTES) {
        await writer.abort(new Error("too large"));
        return "compressed-too-large";
      }
      for (let at = 0; at < next.value.length; at += PIECE_BYTES)
        await writer.write(next.value.slice(at, at + PIECE_BYTES));
    }
    await writer.close();
  } catch {
    // Reported by collect(), which sees the same stream break.
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  return undefined;
}

async function collect(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<BodyText> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > SNAPSHOT_MAX_BYTES) {
        await reader.cancel("too large");
        return { ok: false, why: "too-large" };
      }
      chunks.push(next.value);
    }
  } catch {
    return { ok: false, why: "not-gzip" };
  }
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
    let text = "";
    for (const chunk of chunks) text += decoder.decode(chunk, { stream: true });
    return { ok: true, text: text + decoder.decode() };
  } catch {
    return { ok: false, why: "not-utf-8" };
  }
}
