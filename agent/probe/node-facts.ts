// Collects what a report says, from the parts of the agent that know it. It decides nothing and keeps nothing.
import { type NodeReport, REPORT_MAX, type SourceReport } from "../../src/shared/model/node-report.ts";
import type { ProbeQuestion } from "../../src/shared/wire/messages.ts";
import type { Applied } from "../dataplane/executor.ts";
import type { Backends } from "../endpoints/endpoints.ts";
import type { Standing } from "../plan-applier.ts";
import type { KubeService } from "../source/resources.ts";
import type { Observed } from "../source/source.ts";
import { type DialTcp, dialTcp } from "./dial-tcp.ts";
import { hostFacts } from "./host-facts.ts";
import { type KernelFacts, kernelReport } from "./kernel-report.ts";
import type { Facts } from "./prober.ts";
import { cut, serviceReport } from "./service-report.ts";

export interface NodeFactsOptions {
  readonly software: string;
  readonly node: string;
  readonly proxy: NodeReport["proxy"];
  readonly source: () => SourceReport;
  readonly observed: () => Observed | undefined;
  readonly isExposed: (service: KubeService) => boolean;
  readonly backends: Pick<Backends, "lookUp" | "problems">;
  readonly standing: () => Standing;
  readonly executorProblems: () => Applied["problems"];
  readonly kernel: () => KernelFacts | undefined;
  /** Asks the kernel whether its rules are as they were left; undefined: it cannot be asked now. */
  readonly checkKernel: () => Promise<unknown> | undefined;
  readonly dial?: DialTcp;
  readonly host?: typeof hostFacts;
}

/** The kernel is not asked again so soon, ms, and is waited for so long. */
const CHECK_EVERY_MS = 10_000;
const CHECK_MS = 1_000;

export async function nodeFacts(options: NodeFactsOptions, { service }: ProbeQuestion): Promise<Facts> {
  const { software, node, proxy, backends, dial = dialTcp, host = hostFacts } = options;
  const [overdue, facts, report] = await Promise.all([
    checkKernel(options),
    host(),
    service === undefined
      ? undefined
      : serviceReport(
          {
            ...{ service, node, observed: options.observed(), isExposed: options.isExposed },
            ports: backends.lookUp(service),
          },
          dial,
        ),
  ]);
  const problems = options.executorProblems();
  const broken = backends.problems();
  const told = broken.slice(0, REPORT_MAX.faults);
  return {
    ...{ software: cut(software), node: cut(node), proxy },
    uptimeMs: Math.round(process.uptime() * 1000),
    source: options.source(),
    planApplied: options.standing() === "applied",
    kernel: kernelReport({ kernel: options.kernel(), standing: options.standing(), problems, overdue }),
    ...facts,
    brokenEndpoints: told.map(({ endpoint, reason }) => ({ endpoint: cut(endpoint), reason: cut(reason) })),
    brokenEndpointsLeftOut: broken.length - told.length,
    ...(report === undefined ? {} : { service: report }),
  };
}

/** True: the kernel was asked, and has not answered in time. */
async function checkKernel({ kernel, checkKernel: check }: NodeFactsOptions): Promise<boolean> {
  const last = kernel()?.lastCheck?.at ?? Number.NEGATIVE_INFINITY;
  if (Date.now() - last < CHECK_EVERY_MS) return false;
  const checked = check();
  if (checked === undefined) return false;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<true>((resolve) => (timer = setTimeout(() => resolve(true), CHECK_MS)));
  // A check that fails is the plan applier's to tell of.
  const answered = checked.then(
    () => false,
    () => false,
  );
  return await Promise.race([answered, late]).finally(() => clearTimeout(timer));
}
