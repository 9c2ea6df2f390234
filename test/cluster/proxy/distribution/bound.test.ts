// The bound is judged: it lets chance pass, and nothing that is more than chance.
import { expect, test } from "vitest";
import { bounds, faultOf } from "./bound.ts";

const counts = (numbers: Record<string, number>) => new Map(Object.entries(numbers));
const weights = { a1: 1 / 8, b1: 2 / 8, c1: 5 / 8 };

test("5.5 standard deviations on either side", () => {
  // The deviation of 10,000 fair coins is 50.
  expect(bounds(10_000, 1 / 2, 0)).toEqual({ from: 4_725, to: 5_275 });
  expect(bounds(10_000, 1 / 2, 0.01)).toEqual({ from: 4_625, to: 5_375 });
});

test.each([
  ["as expected", { a1: 1_250, b1: 2_500, c1: 6_250 }, undefined],
  ["by chance", { a1: 1_300, b1: 2_400, c1: 6_300 }, undefined],
  ["weights are ignored", { a1: 3_333, b1: 3_333, c1: 3_334 }, "a1 has 3333, not"],
  ["one gets nothing", { b1: 2_500, c1: 7_500 }, "a1 has 0, not"],
  ["somebody else", { a1: 1_250, b1: 2_500, c1: 6_249, gateway: 1 }, "answered by gateway"],
])("%s", (_, seen, fault) => {
  if (fault === undefined) expect(faultOf(counts(seen), weights)).toBeUndefined();
  else expect(faultOf(counts(seen), weights)).toContain(fault);
});
