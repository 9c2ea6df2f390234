// Rules of the kernel against the plan, from what the agent knows of its syncs and its last look at the kernel. Pure.
import { type KernelReport, REPORT_MAX } from "../../src/shared/model/node-report.ts";
import type { Applied } from "../dataplane/executor.ts";
import type { Standing } from "../plan-applier.ts";
import { cut } from "./service-report.ts";

export interface KernelFacts {
  /** End of the last sync that succeeded, epoch ms; undefined: there was none. */
  readonly lastSync: number | undefined;
  /** False: a change has waited for longer than it may. */
  readonly keepsUp: boolean;
  /** The last time that the kernel was asked whether its rules are as they were left, and what it said. */
  readonly lastCheck: { readonly at: number; readonly intact: boolean } | undefined;
}

export interface KernelReportOptions {
  /** Undefined: this agent programs no kernel. */
  readonly kernel: KernelFacts | undefined;
  readonly standing: Standing;
  /** What the executor could not do of the plan that it applied last. */
  readonly problems: Applied["problems"];
  /** The kernel was asked just now, and has not answered in time. */
  readonly overdue: boolean;
}

export function kernelReport({ kernel, standing, problems, overdue }: KernelReportOptions): KernelReport {
  const [state, why] = kernel === undefined ? (["off"] as const) : stateOf(kernel, standing, problems.length, overdue);
  const told = problems.slice(0, REPORT_MAX.faults);
  return {
    state,
    ...(why === undefined ? {} : { why }),
    lastSync: kernel?.lastSync ?? null,
    checkedAt: kernel?.lastCheck?.at ?? null,
    faults: told.map(({ service, reason, message }) => ({
      service: cut(service),
      reason: cut(reason),
      message: cut(message),
    })),
    faultsLeftOut: problems.length - told.length,
  };
}

function stateOf(
  { lastSync, keepsUp, lastCheck }: KernelFacts,
  standing: Standing,
  problems: number,
  overdue: boolean,
): readonly [state: KernelReport["state"], why?: string] {
  if (standing === "failed") return ["differs", "the last sync failed, and is tried again: the agent's log says why"];
  if (!keepsUp) return ["differs", "a change has waited for two sync periods, and is not in the kernel yet"];
  if (lastSync === undefined) return ["unknown", "no sync has ended since the agent started"];
  // What was found changed is made anew by the sync that follows.
  if (lastCheck !== undefined && !lastCheck.intact && lastCheck.at >= lastSync)
    return ["differs", "another program changed the rules; they are being made anew"];
  if (standing === "busy") return ["unknown", "a sync is under way"];
  if (problems > 0) return ["differs", "the kernel does not do all of some Services"];
  if (overdue) return ["unknown", "the kernel did not say in time whether it has the rules"];
  return ["in-step"];
}
