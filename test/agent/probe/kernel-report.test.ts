// What the agent's syncs and its last look at the kernel come to.
import { expect, test } from "vitest";
import { type KernelFacts, kernelReport } from "../../../agent/probe/kernel-report.ts";
import type { Standing } from "../../../agent/plan-applier.ts";
import { kernelReportSchema } from "../../../src/shared/model/node-report.ts";

const well: KernelFacts = { lastSync: 1_000, keepsUp: true, lastCheck: { at: 2_000, intact: true } };
const problem = { service: "default/web", reason: "RulesRefused", message: "m".repeat(1_000) };

/** [what, facts, standing, problems, overdue, state] */
test.each<readonly [string, KernelFacts | undefined, Standing, number, boolean, string]>([
  ["no kernel of ours", undefined, "applied", 0, false, "off"],
  ["all is well", well, "applied", 0, false, "in-step"],
  ["never looked at, and well", { ...well, lastCheck: undefined }, "applied", 0, false, "in-step"],
  ["the last sync failed", well, "failed", 0, false, "differs"],
  ["it is behind", { ...well, keepsUp: false }, "busy", 0, false, "differs"],
  ["it is behind, and never synced", { ...well, lastSync: undefined, keepsUp: false }, "busy", 0, false, "differs"],
  ["it has just begun", { ...well, lastSync: undefined, lastCheck: undefined }, "busy", 0, false, "unknown"],
  ["a sync is under way", well, "busy", 0, false, "unknown"],
  ["somebody changed the rules", { ...well, lastCheck: { at: 2_000, intact: false } }, "busy", 0, false, "differs"],
  [
    "somebody had, before the last sync",
    { ...well, lastCheck: { at: 900, intact: false } },
    "applied",
    0,
    false,
    "in-step",
  ],
  ["a Service is refused", well, "applied", 1, false, "differs"],
  ["the kernel did not answer", well, "applied", 0, true, "unknown"],
])("%s", (_, kernel, standing, problems, overdue, state) => {
  const report = kernelReport({ kernel, standing, problems: Array.from({ length: problems }, () => problem), overdue });
  expect(report.state).toBe(state);
  expect(report.why === undefined).toBe(state === "in-step" || state === "off");
  expect(kernelReportSchema.parse(report)).toEqual(report);
});

test("faults are cut to what fits, and counted", () => {
  const report = kernelReport({
    kernel: well,
    standing: "applied",
    problems: Array.from({ length: 70 }, () => problem),
    overdue: false,
  });
  expect([report.faults.length, report.faultsLeftOut, report.faults[0]?.message.length]).toEqual([20, 50, 256]);
});
