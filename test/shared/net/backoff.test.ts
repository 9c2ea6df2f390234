// How long is waited after failures in a row.
import { expect, test } from "vitest";
import { backoff, jitteredBackoff } from "../../../src/shared/net/backoff.ts";

const times = { firstMs: 500, maxMs: 30_000 };

test("doubles from the first pause up to the longest, and stays there", () => {
  expect([0, 1, 2, 5, 6, 7, 64, 5_000].map((before) => backoff(before, times))).toEqual([
    500, 1_000, 2_000, 16_000, 30_000, 30_000, 30_000, 30_000,
  ]);
});

test("with jitter, anywhere between nothing and that", () => {
  expect([0, 0.5, 0.999_99].map((chance) => jitteredBackoff(1, times, () => chance))).toEqual([0, 500, 999]);
  expect(jitteredBackoff(64, times, () => 0.25)).toBe(7_500);
});
