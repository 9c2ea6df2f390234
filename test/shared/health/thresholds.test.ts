import * as fc from "fast-check";
import { expect, test } from "vitest";
import { initial, step, type ThresholdConfig } from "../../../src/shared/health/thresholds.ts";

/** "+" a success, "-" a failure → "u" up or "d" down after each. */
const run = (results: string, config: ThresholdConfig): string => {
  let state = initial;
  return Array.from(results, (result) => {
    state = step(state, result === "+", config);
    return state.healthy ? "u" : "d";
  }).join("");
};

test.each([
  { failures: 2, successes: 1, results: "-+-+--+", states: "uuuuudu" },
  { failures: 3, successes: 2, results: "---+-++--+---", states: "uudddduuuuuud" },
  { failures: 1, successes: 1, results: "-+-", states: "dud" },
  { failures: 3, successes: 3, results: "--+--+", states: "uuuuuu" },
])("$failures failures, $successes successes: $results", ({ results, states, ...config }) => {
  expect(run(results, config)).toBe(states);
});

test("nothing changes: the same object, so that nothing is stored", () => {
  expect(step(initial, true, { failures: 2, successes: 1 })).toBe(initial);
});

test("flips exactly where the last results all contradict it (oracle: look back)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean()),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 4 }),
      (results, failures, successes) => {
        let healthy = true;
        let flippedAt = 0;
        const expected = results.map((ok, i) => {
          const needed = healthy ? failures : successes;
          const last = results.slice(Math.max(flippedAt, i + 1 - needed), i + 1);
          if (last.length === needed && last.every((each) => each !== healthy)) {
            healthy = ok;
            flippedAt = i + 1;
          }
          return healthy ? "u" : "d";
        });
        const text = results.map((ok) => (ok ? "+" : "-")).join("");
        expect(run(text, { failures, successes })).toBe(expected.join(""));
      },
    ),
  );
});
