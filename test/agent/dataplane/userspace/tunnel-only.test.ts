// The executor of `--proxy none`.
import { expect, it } from "vitest";
import { tunnelOnlyExecutor } from "../../../../agent/dataplane/userspace/tunnel-only.ts";
import type { ForwardingPlan } from "../../../../agent/plan/plan.ts";

it("gives the plan to the tunnel's endpoints, and has no problem with it", async () => {
  const plans: ForwardingPlan[] = [];
  const executor = tunnelOnlyExecutor({ update: (plan) => plans.push(plan) });
  const plan: ForwardingPlan = { node: "n1", services: [] };
  expect(await executor.apply(plan)).toEqual({ problems: [] });
  expect(plans).toEqual([plan]);
});
