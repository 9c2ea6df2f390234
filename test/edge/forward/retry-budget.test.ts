import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RetryBudget } from "../../../src/edge/forward/retry-budget.ts";

const requests = (budget: RetryBudget, count: number, now: number): void => {
  for (let n = 0; n < count; n++) budget.request(now);
};
/** How many of `tried` retries are allowed. */
const allowed = (budget: RetryBudget, tried: number, now: number): number => {
  let count = 0;
  for (let n = 0; n < tried; n++) if (budget.retry(now)) count++;
  return count;
};
const epoch = Date.UTC(2026, 10, 24);

describe("RetryBudget", () => {
  test("a node with 1,000 requests in flight can be lost, however quiet it was before", () => {
    expect(allowed(new RetryBudget(), 5_000, epoch)).toBe(1_000);
  });

  test("a fifth of the requests of the last ten seconds, where that is more", () => {
    const budget = new RetryBudget();
    requests(budget, 20_000, epoch);
    requests(budget, 20_000, epoch + 5_000);
    expect(allowed(budget, 20_000, epoch + 9_000)).toBe(8_000);
    // The first 20,000 have passed out of the window, the retries have not.
    expect(allowed(budget, 20_000, epoch + 10_000)).toBe(0);
    // All of it has.
    expect(allowed(budget, 20_000, epoch + 19_000)).toBe(1_000);
  });

  test("a clock that goes back neither throws nor gives anything away", () => {
    const budget = new RetryBudget();
    expect(allowed(budget, 1_000, epoch)).toBe(1_000);
    expect(allowed(budget, 10, epoch - 60_000)).toBe(0);
    requests(budget, 10, epoch - 60_000);
    expect(allowed(budget, 10, epoch)).toBe(0);
  });

  test("agrees with an oracle that remembers every event", () => {
    const event = fc.record({ after: fc.nat(4_000), requests: fc.nat(4_000), retries: fc.nat(1_500) });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), fc.nat(20_000), (events, start) => {
        const budget = new RetryBudget();
        const seen: { slot: number; requests: number; retries: number }[] = [];
        let now = start;
        for (const each of events) {
          now += each.after;
          const slot = Math.floor(now / 1000);
          const window = seen.filter((old) => old.slot > slot - 10);
          const sum = (of: "requests" | "retries") => window.reduce((total, old) => total + old[of], 0);
          const limit = Math.max(1_000, (sum("requests") + each.requests) * 0.2);
          const expected = Math.min(each.retries, Math.max(0, Math.ceil(limit - sum("retries"))));
          requests(budget, each.requests, now);
          expect(allowed(budget, each.retries, now)).toBe(expected);
          seen.push({ slot, requests: each.requests, retries: expected });
        }
      }),
      { numRuns: 50 },
    );
  });
});
