// Which epochs a snapshot may be in. Times in ms.
import { describe, expect, it } from "vitest";
import { EPOCH_MAX, epochLimit, nextEpoch } from "../../../src/edge/cluster/epochs.ts";

const YEAR = 365 * 86_400_000;

describe("epochLimit", () => {
  // [age, granted, limit]
  it.each([
    [0, 0, 1_000_000],
    [10_000, 0, 1_000_010],
    [-5_000, 0, 1_000_000],
    [0, 1_000_001, 1_000_001],
    [YEAR, 7, 32_536_000],
    [500 * YEAR, 0, EPOCH_MAX],
    [0, 1e15, EPOCH_MAX],
  ])("of a cluster %i ms old, %i granted: %i", (age, granted, limit) => {
    expect(epochLimit(1_000, granted, 1_000 + age)).toBe(limit);
  });
});

describe("nextEpoch", () => {
  it.each([
    [0, 0, 1],
    [3, 9, 10],
    [9, 3, 10],
    [EPOCH_MAX - 1, 0, EPOCH_MAX],
    [EPOCH_MAX, 0, undefined],
    [0, 999_999_999_999_999, undefined],
  ])("after %i granted and %i used: %s", (granted, used, next) => {
    expect(nextEpoch(granted, used)).toBe(next);
  });
});
