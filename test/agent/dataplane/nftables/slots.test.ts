// How endpoints share slots.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { slotsOf } from "../../../../agent/dataplane/nftables/slots.ts";
import { to } from "../kernel-plans.ts";

const endpoints = (...weights: number[]) => weights.map((weight, at) => to(`10.244.0.${at + 1}`, { weight }));
const counts = (slots: readonly number[]) =>
  slots.reduce<number[]>((sum, at) => Object.assign(sum, { [at]: (sum[at] ?? 0) + 1 }), []);

describe("slots", () => {
  test.each(["random", "rr"] as const)("%s: one for each endpoint, whatever its weight", (algorithm) => {
    expect(slotsOf(endpoints(1, 5, 2), algorithm).slots).toEqual([0, 1, 2]);
  });

  test("an algorithm that nftables cannot do is random", () => {
    expect(slotsOf(endpoints(1, 5), "lc")).toEqual({ choice: "random", slots: [0, 1] });
  });

  test.each(["wrr", "sh"] as const)("%s: as few as say the weights exactly", (algorithm) => {
    expect(counts(slotsOf(endpoints(10, 30, 20), algorithm).slots)).toEqual([1, 3, 2]);
    expect(slotsOf(endpoints(7, 7), algorithm).slots).toEqual([0, 1]);
  });

  test("wrr: any weights are met within a few slots, and whoever has one is reached", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 40 }), (weights) => {
        const { slots } = slotsOf(endpoints(...weights), "wrr");
        const total = weights.reduce((a, b) => a + b, 0);
        const found = counts(slots);
        weights.forEach((weight, at) => {
          expect(found[at]).toBeGreaterThan(0);
          expect(Math.abs((found[at] ?? 0) / slots.length - weight / total)).toBeLessThan(
            weights.length / slots.length + 0.01,
          );
        });
        expect(slots.length).toBeLessThan(600);
      }),
    );
  });

  test("maglev: shares are even, and an endpoint that goes moves few slots of others", () => {
    const ten = endpoints(...Array<number>(10).fill(1));
    const before = slotsOf(ten, "maglev").slots;
    expect(before).toHaveLength(251);
    for (const count of counts(before)) expect(Math.abs(count - 25.1)).toBeLessThan(2);
    const after = slotsOf(ten.slice(0, 9), "maglev").slots;
    const moved = before.filter((at, slot) => at !== 9 && after[slot] !== at);
    expect(moved.length).toBeLessThan(251 * 0.15);
  });

  test("maglev does not depend on the endpoints' order", () => {
    const three = endpoints(1, 2, 3);
    const name = (list: typeof three) => slotsOf(list, "maglev").slots.map((at) => list[at]?.address);
    expect(name(three.toReversed())).toEqual(name(three));
  });
});
