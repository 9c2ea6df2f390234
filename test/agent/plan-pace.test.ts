// How the plan applier spreads applies over time: bursts collapse, failures are repeated, changes by others are found; and, for
// any history, what it promises always. The clock is the test's.
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Applied } from "../../agent/dataplane/executor.ts";
import { PlanApplier, type PlanApplierOptions } from "../../agent/plan-applier.ts";
import type { ForwardingPlan } from "../../agent/plan/plan.ts";

const plan = (node: string): ForwardingPlan => ({ node, services: [] });
const fine: Applied = { problems: [] };
const partly: Applied = { problems: [{ service: "default/web", reason: "port-in-use", message: "port 80 is in use" }] };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

interface Bench {
  readonly applier: PlanApplier;
  /** "queued", "begin a", "end a", "failed", "check", "agreed", each with the time at which it happened. */
  readonly log: (readonly [number, string])[];
  readonly words: () => string[];
  /** What the next applies come to; when it is empty, all goes well. */
  readonly outcomes: (Applied | Error)[];
  intact: boolean;
}

function bench(parts: Partial<PlanApplierOptions["pace"]> = {}, applyMs = 0): Bench {
  const began = performance.now();
  const log: (readonly [number, string])[] = [];
  const say = (what: string) => log.push([performance.now() - began, what]);
  const outcomes: (Applied | Error)[] = [];
  const rig: Bench = {
    ...{ log, outcomes, intact: true, words: () => log.map(([, what]) => what) },
    applier: new PlanApplier({
      apply: async ({ node }) => {
        say(`begin ${node}`);
        if (applyMs > 0) await new Promise((resolve) => setTimeout(resolve, applyMs));
        say(`end ${node}`);
        const outcome = outcomes.shift() ?? fine;
        if (outcome instanceof Error) throw outcome;
        return outcome;
      },
      onApplied: () => undefined,
      onFailed: () => say("failed"),
      onAgreed: () => say("agreed"),
      observer: { queued: () => say("queued"), began: () => undefined, ended: () => undefined },
      pace: {
        restMs: 1_000,
        againMs: 30_000,
        check: {
          everyMs: 30_000,
          intact: async () => {
            say("check");
            if (applyMs > 0) {
              await new Promise((resolve) => setTimeout(resolve, applyMs));
              say("checked");
            }
            return rig.intact;
          },
        },
        ...parts,
      },
    }),
  };
  return rig;
}

describe("pace", () => {
  it("makes a handful of applies of 1,000 changes within two seconds, the first two at once and the last with the last change", async () => {
    const { applier, log } = bench({}, 100);
    for (let change = 0; change < 1000; change++) {
      applier.want(plan(String(change)));
      await pass(2);
    }
    await pass(2_000);
    const begins = log.filter(([, what]) => what.startsWith("begin"));
    expect(begins.map(([at]) => at)).toEqual([0, 100, 1_100, 2_100]);
    expect(begins.at(-1)?.[1]).toBe("begin 999");
    expect(applier.agrees).toBe(true);
  });

  it("rests from the end of an apply, not from its begin, and takes one rest later", async () => {
    const { applier, log } = bench({}, 100);
    for (const name of ["a", "b", "c"]) {
      applier.want(plan(name));
      await pass(60);
    }
    await pass(9_820);
    for (const name of ["d", "e", "f"]) {
      applier.want(plan(name));
      await pass(110);
    }
    await pass(2_000);
    expect(log.filter(([, what]) => what.startsWith("begin"))).toEqual([
      ...[
        [0, "begin a"],
        [100, "begin b"],
        [1_100, "begin c"],
      ],
      ...[
        [10_000, "begin d"],
        [10_110, "begin e"],
        [11_100, "begin f"],
      ],
    ]);
  });

  it("does not agree with an apply that failed, repeats it, and does not wait for that when something new comes", async () => {
    const { applier, outcomes, words } = bench();
    outcomes.push(new Error("nft: no"), new Error("nft: no"));
    applier.want(plan("a"));
    await pass(0);
    expect(applier.agrees).toBe(false);
    expect(words()).toEqual(["queued", "begin a", "end a", "failed"]);
    await pass(29_999);
    expect(words()).toHaveLength(4);
    await pass(1);
    expect(words().slice(4)).toEqual(["check", "begin a", "end a", "failed"]);
    applier.want(plan("b"));
    await pass(1_000);
    expect(words().slice(8)).toEqual(["queued", "begin b", "end b", "agreed"]);
    expect(applier.agrees).toBe(true);
  });

  it("asks in quiet times whether the node is as it was left, and applies again where it is not", async () => {
    const rig = bench();
    rig.applier.want(plan("a"));
    await pass(60_000);
    expect(rig.words().slice(4)).toEqual(["check", "check"]);
    rig.intact = false;
    await pass(30_000);
    expect(rig.words().slice(6)).toEqual(["check", "queued", "begin a", "end a", "agreed"]);
  });

  it("asks also where changes leave no quiet, and applies again what others changed", async () => {
    const rig = bench();
    const change = async (name: string, times: number) => {
      for (let time = 0; time < times; time++) {
        rig.applier.want(plan(`${name}${time}`));
        await pass(10_000);
      }
    };
    await change("a", 7);
    expect(rig.log.filter(([, what]) => what === "check")).toEqual([
      [30_000, "check"],
      [60_000, "check"],
    ]);
    rig.log.length = 0;
    rig.intact = false;
    await change("b", 3);
    expect(rig.words().filter((what) => what.startsWith("begin") || what === "check")).toEqual([
      ...["begin b0", "begin b1", "begin b2", "check", "begin b2"],
    ]);
  });

  it("asks also where one apply follows the other", async () => {
    const { applier, words } = bench({}, 700);
    for (let time = 0; time < 100; time++) {
      applier.want(plan(String(time)));
      await pass(700);
    }
    expect(words().filter((what) => what === "check")).toHaveLength(2);
  });

  it("checks now where it is asked to, once, and goes on as before", async () => {
    const rig = bench({}, 100);
    expect([rig.applier.checkNow(), rig.applier.standing]).toEqual([undefined, "nothing"]);
    rig.applier.want(plan("a"));
    expect([rig.applier.checkNow(), rig.applier.standing]).toEqual([undefined, "busy"]);
    await pass(10_000);
    expect(rig.applier.standing).toBe("applied");
    const intact = rig.applier.checkNow();
    expect(rig.applier.checkNow()).toBeUndefined();
    await pass(100);
    expect(await intact).toBe(true);
    // The next one by itself comes a whole time later.
    await pass(29_950);
    expect(rig.log.slice(4).map(([, what]) => what)).toEqual(["check", "checked"]);
    await pass(100);
    expect(rig.words().slice(6)).toEqual(["check"]);
    await pass(1_000);
    rig.intact = false;
    const changed = rig.applier.checkNow();
    await pass(100);
    expect(await changed).toBe(false);
    await pass(1_000);
    expect(rig.words().slice(8)).toEqual(["check", "checked", "queued", "begin a", "end a", "agreed"]);
  });

  it("repeats what could not be done as soon after a check that was asked for as after one that was not", async () => {
    const { applier, outcomes, words } = bench({ againMs: 5_000 });
    outcomes.push(partly);
    applier.want(plan("a"));
    await pass(1_000);
    await applier.checkNow();
    await pass(5_000);
    expect(words().slice(4)).toEqual(["check", "check", "begin a", "end a", "agreed"]);
  });

  it("lets a check end before it applies what came meanwhile", async () => {
    const { applier, log } = bench({}, 500);
    applier.want(plan("a"));
    await pass(30_600);
    applier.want(plan("b"));
    await pass(1_000);
    expect(log.slice(4)).toEqual([
      [30_500, "check"],
      [30_600, "queued"],
      [31_000, "checked"],
      [31_000, "begin b"],
      [31_500, "end b"],
      [31_500, "agreed"],
    ]);
  });

  it("asks also while a part of the plan cannot be done", async () => {
    const { applier, outcomes, words } = bench();
    outcomes.push(partly, partly);
    applier.want(plan("a"));
    await pass(30_000);
    expect(words()).toEqual(["queued", "begin a", "end a", "agreed", "check", "begin a", "end a", "agreed"]);
  });

  it("ends while it rests, and nothing comes afterwards", async () => {
    const { applier, words } = bench();
    applier.want(plan("a"));
    await pass(0);
    applier.want(plan("b"));
    await pass(0);
    applier.want(plan("c"));
    await applier.stop();
    applier.want(plan("d"));
    await pass(120_000);
    const applied = ["a", "b"].flatMap((each) => ["queued", `begin ${each}`, `end ${each}`, "agreed"]);
    expect(words()).toEqual([...applied, "queued"]);
  });
});

describe("whatever happens", () => {
  it("applies the last plan within the rest, never overlaps, keeps the rest, and says agreed only for the last plan", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("want" as const), node: fc.constantFrom("a", "b", "c") }),
      fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 40_000 }) }),
      fc.record({ do: fc.constant("fail" as const) }),
      fc.record({ do: fc.constant("touch" as const), intact: fc.boolean() }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.integer({ min: 0, max: 3_000 }),
        async (steps, applyMs) => {
          const rig = bench({}, applyMs);
          let wanted: string | undefined;
          for (const each of steps) {
            if (each.do === "want") rig.applier.want(plan((wanted = each.node)));
            else if (each.do === "pass") await pass(each.ms);
            else if (each.do === "fail") rig.outcomes.push(new Error("no"));
            else rig.intact = each.intact;
          }
          rig.intact = true;
          rig.outcomes.length = 0;
          // An apply under way, the repetition of one that failed, and the check before it.
          await pass(2 * (30_000 + 1_000 + 2 * applyMs));
          // A check may be under way, and ends by the test's clock.
          const stopped = rig.applier.stop();
          await pass(applyMs);
          await stopped;
          let [applying, checking, last] = [false, false, ""];
          const ends: number[] = [];
          for (const [at, what] of rig.log) {
            if (what === "check") {
              expect([applying, checking]).toEqual([false, false]);
              checking = applyMs > 0;
            }
            if (what === "checked") checking = false;
            // A check asks, and changes nothing.
            if (what === "agreed") expect(applying).toBe(false);
            if (what.startsWith("begin")) {
              expect([applying, checking]).toEqual([false, false]);
              // From the end of one to the begin of the next but n: n rests.
              ends.forEach((end, i) => expect(at - end).toBeGreaterThanOrEqual(1_000 * (ends.length - 1 - i)));
              [applying, last] = [true, what.slice(6)];
            } else if (what.startsWith("end")) {
              applying = false;
              ends.push(at);
            }
          }
          expect(rig.applier.agrees).toBe(wanted !== undefined);
          if (wanted !== undefined) expect(last).toBe(wanted);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
