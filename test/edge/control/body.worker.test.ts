// The limits of a body bite while it streams: what lies behind the first byte too many is never asked for.
import { describe, expect, it } from "vitest";
import { COMPRESSED_MAX_BYTES, readBody } from "../../../src/edge/control/body.ts";
import { SNAPSHOT_MAX_BYTES } from "../../../src/shared/model/snapshot.ts";
import { gzipOf, noise } from "../worker/edge.ts";

/** A body that is sent as it is asked for. */
function inPieces(bytes: Uint8Array, size: number): { body: ReadableStream<Uint8Array>; sent: () => number } {
  let at = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (at >= bytes.length) return controller.close();
        controller.enqueue(bytes.slice(at, at + size));
        at += size;
        return undefined;
      },
    },
    { highWaterMark: 0 },
  );
  return { body, sent: () => at };
}

describe("readBody", () => {
  it("gives an archive up that unpacks to too much", async () => {
    const archive = await gzipOf(64, () => new Uint8Array(64 * 1024));
    const { body, sent } = inPieces(archive, 1024);
    expect(await readBody(body, "gzip")).toEqual({ ok: false, why: "too-large" });
    expect(sent()).toBeLessThan(archive.length / 2);
  });

  it("gives an archive up that is too large", async () => {
    const { body, sent } = inPieces(await gzipOf(4, noise), 16 * 1024);
    expect(await readBody(body, "gzip")).toEqual({ ok: false, why: "compressed-too-large" });
    expect(sent()).toBeLessThanOrEqual(COMPRESSED_MAX_BYTES + 16 * 1024);
  });

  it("gives plain text up that is too large", async () => {
    const { body, sent } = inPieces(new Uint8Array(SNAPSHOT_MAX_BYTES * 2).fill(0x20), 64 * 1024);
    expect(await readBody(body, "identity")).toEqual({ ok: false, why: "too-large" });
    expect(sent()).toBeLessThanOrEqual(SNAPSHOT_MAX_BYTES + 64 * 1024);
  });

  it("joins characters that were cut", async () => {
    const { body } = inPieces(new TextEncoder().encode("a€𝄞b"), 1);
    expect(await readBody(body, "identity")).toEqual({ ok: true, text: "a€𝄞b" });
  });
});
