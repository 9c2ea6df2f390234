// How long a client that has sent its FIN may take nothing of its answer.
import { expect, test } from "vitest";
import { quietMsAfterEnd } from "../../../src/host/proxy/client-end.ts";

const limits = { halfClosedMs: 10_000, leftMs: 1_000 };

test.each([
  ["a half-close: a FIN right after the request", 0, false, 10_000],
  ["within a second of it", 999, false, 10_000],
  ["a FIN later than that", 1_000, false, 1_000],
  ["a FIN while the answer comes", 0, true, 1_000],
])("%s", (_, sinceAskedMs, answerBegun, quietMs) => {
  expect(quietMsAfterEnd({ sinceAskedMs, answerBegun }, limits)).toBe(quietMs);
});
