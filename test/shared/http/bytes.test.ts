import fc from "fast-check";
import { expect, test } from "vitest";
import { bytesOfText, isByteString, textOfBytes } from "../../../src/shared/http/bytes.ts";

test("text and its UTF-8 bytes, both ways", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const bytes = bytesOfText(text);
      expect(isByteString(bytes)).toBe(true);
      expect(Buffer.from(bytes, "latin1")).toEqual(Buffer.from(text, "utf8"));
      expect(textOfBytes(bytes)).toBe(text);
    }),
  );
});

test("bytes that are no UTF-8 are no text", () => {
  expect(textOfBytes("caf\xe9")).toBeUndefined();
  expect(textOfBytes("天")).toBeUndefined();
  expect(textOfBytes("\xef\xbb\xbfmark")).toBe("\ufeffmark");
});
