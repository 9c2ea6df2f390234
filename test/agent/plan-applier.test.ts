// The order of things: the node does what the plan says before anybody is told, and no plan is forgotten.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Programmer } from "../../agent/plan-applier.ts";
import type { Applied } from "../../agent/dataplane/executor.ts";
import type { ForwardingPlan } from "../../agent/plan/plan.ts";

const plan = (node: string): ForwardingPlan => ({ node, services: [] });
const fine: Applied = { problems: [] };
const inUse: Applied = { problems: [{ service: "default/web", reason: "port-in-use", message: "port 80 is in use" }] };

describe("programmer", () => {
  let happened: string[];
  let finish: (applied: Applied) => void;
  let programmer: Programmer;
  const turns = async (count: number) => {
    for (let turn = 0; turn < count; turn++) await Promise.resolve();
  };
  beforeEach(() => {
    vi.useFakeTimers();
    happened = [];
    programmer = new Programmer({
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
    await programmer.stop();
    vi.useRealTimers();
  });

  it("agrees only when the plan is applied, however often it is wanted meanwhile", async () => {
    programmer.want(plan("a"));
    programmer.want(plan("a"));
    await turns(10);
    expect(programmer.agrees).toBe(false);
    expect(happened).toEqual(["apply a"]);
    finish(fine);
    await turns(10);
    expect(happened).toEqual(["apply a", "applied", "agreed"]);
    programmer.want(plan("a"));
    expect(happened).toEqual(["apply a", "applied", "agreed", "agreed"]);
  });

  it("applies the latest plan alone after the one under way, and agrees after that", async () => {
    programmer.want(plan("a"));
    for (const node of ["b", "c"]) programmer.want(plan(node));
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
      programmer.want(plan("a"));
      finish(fine);
      await turns(count);
      programmer.want(plan("b"));
      await turns(10);
      expect(happened).toContain("apply b");
      expect(programmer.agrees).toBe(false);
    },
  );

  it("tries again what could not be done, and is not agreed meanwhile", async () => {
    programmer.want(plan("a"));
    finish(inUse);
    await vi.advanceTimersByTimeAsync(1_999);
    expect(happened).toEqual(["apply a", "applied", "agreed"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(happened).toEqual(["apply a", "applied", "agreed", "apply a"]);
    expect(programmer.agrees).toBe(false);
  });

  it("does nothing once stopped", async () => {
    programmer.want(plan("a"));
    const stopped = programmer.stop();
    programmer.want(plan("b"));
    finish(inUse);
    await stopped;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(happened).toEqual(["apply a", "applied"]);
  });
});
