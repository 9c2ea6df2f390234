// How long the agent waits before it asks the API server again. Chance is the test's: `longest` is the pause that jitter takes from.
import { describe, expect, it } from "vitest";
import { afterList, afterWatch, type Ending } from "../../../../agent/source/kube/resume.ts";

const refused = (status: number, afterMs = 0): Ending & { kind: "status" } => ({
  ...{ kind: "status", status, reason: "", message: "", code: status, afterMs },
});
const unreachable = { kind: "unreachable", why: "connect ECONNREFUSED" } as const;
const almostOne = (): number => 1 - Number.EPSILON;
const longest = (ending: Exclude<Ending, { kind: "closed" | "silent" | "malformed" }>, failures: number): number =>
  Math.round(afterWatch(ending, failures, almostOne).afterMs / 250) * 250;

describe("the pause after failures", () => {
  it.each([
    [0, 250],
    [1, 500],
    [4, 4_000],
    [5, 5_000],
    [50, 5_000],
  ])("where nobody answers, after %i before: up to %i ms, so that the rest is heard soon after it is back", (n, ms) =>
    expect(longest(unreachable, n)).toBe(ms),
  );
  it.each([
    [4, 4_000],
    [7, 30_000],
    [50, 30_000],
  ])("of an API server that answers and cannot, after %i before: up to %i ms", (n, ms) =>
    expect(longest(refused(503), n)).toBe(ms),
  );
  it("of an API server that starts, after a minute without it: up to 8 s, where it refuses before it has read the roles", () => {
    let failures = 0;
    for (let tries = 0; tries < 30; tries++) ({ failures } = afterWatch(unreachable, failures, almostOne));
    expect(longest(refused(403), failures)).toBe(8_000);
    expect(longest(refused(503), failures)).toBe(8_000);
    // What it refuses once it answers counts as before.
    const after = afterWatch(refused(503), failures, almostOne).failures;
    expect(longest(refused(503), after)).toBe(16_000);
  });
  it("is what the API server asks for, and jitter on top", () => {
    expect(longest(refused(429, 60_000), 0)).toBe(60_250);
    expect(afterWatch(refused(429, 60_000), 0, () => 0).afterMs).toBe(60_000);
  });
  it("is over once something was heard", () => {
    expect(afterWatch({ kind: "closed", heard: true }, 9, almostOne)).toMatchObject({ afterMs: 0, failures: 0 });
  });
});

describe("the next step", () => {
  it("is the same again where nobody answers, and a person hears of it from the fourth time on", () => {
    const steps = [0, 2, 3].map((failures) => afterList(unreachable, failures, almostOne));
    expect(steps.map(({ do: next }) => next)).toEqual(["list", "list", "list"]);
    expect(steps.map(({ problem }) => problem !== undefined)).toEqual([false, false, true]);
    expect(afterWatch(unreachable, 0, almostOne).do).toBe("watch");
  });
  it("is a list where the version is too old, which is no failure to hear of", () => {
    expect(afterWatch(refused(410), 9, almostOne)).toMatchObject({ do: "list", problem: undefined });
  });
});
