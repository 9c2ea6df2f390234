// The order of things: the node does what the plan says before anybody is told, and no plan is forgotten.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PlanApplier } from "../../agent/plan-applier.ts";
import type { Applied } from "../../agent/dataplane/executor.ts";
import type { ForwardingPlan } from "../../agent/plan/plan.ts";

const plan = (node: string): ForwardingPlan => ({ node, services: [] });
const fine: Applied = { problems: [] };
const inUse: Applied = { problems: [{ service: "default/web", reason: "port-in-use", message: "port 80 is in use" }] };

describe("plan applier", () => {
  let happened: string[];
  let finish: (applied: Applied) => void;
  let applier: PlanApplier;
  const turns = async (count: number) => {
    for (let turn = 0; turn < count; turn++) await Promise.resolve();
  };
  beforeEach(() => {
    vi.useFakeTimers();
    happened = [];
    applier = new PlanApplier({
      apply: async ({ node }) => {
        happened.push(`apply ${node}`);
        return await new Promise<Applied>((resolve) => (finish = resolve));
      },
      onApplied: () => happened.push("applied"),
      onAgreed: () => happened.push("agreed"),
    });
  });
  afterEach(async () => {
    finish(fine);
    await applier.stop();
    vi.useRealTimers();
  });

  it("agrees only when the plan is applied, however often it is wanted meanwhile", async () => {
    applier.want(plan("a"));
    applier.want(plan("a"));
    await turns(10);
    expect(applier.agrees).toBe(false);
    expect(happened).toEqual(["apply a"]);
    finish(fine);
    await turns(10);
    expect(happened).toEqual(["apply a", "applied", "agreed"]);
    applier.want(plan("a"));
    expect(happened).toEqual(["apply a", "applied", "agreed", "agreed"]);
  });

  it("applies the latest plan alone after the one under way, and agrees after that", async () => {
    applier.want(plan("a"));
    for (const node of ["b", "c"]) applier.want(plan(node));
    finish(fine);
    await turns(10);
    expect(happened).toEqual(["apply a", "applied", "apply c"]);
    finish(fine);
    await turns(10);
    expect(happened).toEqual(["apply a", "applied", "apply c", "applied", "agreed"]);
  });

  it.each(Array.from({ length: 10 }, (_, index) => index))(
    "applies a plan that comes %i turns after another was done",
    async (count) => {
      applier.want(plan("a"));
      finish(fine);
      await turns(count);
      applier.want(plan("b"));
      await turns(10);
      expect(happened).toContain("apply b");
      expect(applier.agrees).toBe(false);
    },
  );

  it("tries again what could not be done, and is not agreed meanwhile", async () => {
    applier.want(plan("a"));
    finish(inUse);
    await vi.advanceTimersByTimeAsync(1_999);
    expect(happened).toEqual(["apply a", "applied", "agreed"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(happened).toEqual(["apply a", "applied", "agreed", "apply a"]);
    expect(applier.agrees).toBe(false);
  });

  it("does nothing once stopped", async () => {
    applier.want(plan("a"));
    const stopped = applier.stop();
    applier.want(plan("b"));
    finish(inUse);
    await stopped;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(happened).toEqual(["apply a", "applied"]);
  });
});
