import type { PlanOptions } from "../../../agent/plan/forwarding.ts";
import type { ForwardingPlan } from "../../../agent/plan/plan.ts";
import { Planner } from "../../../agent/plan/planner.ts";
import type { Observed } from "../../../agent/source/source.ts";

/** Of a node that has no plan yet. */
export const buildPlan = (observed: Observed, node: string, options: PlanOptions): ForwardingPlan =>
  new Planner(node).plan(observed, options);
