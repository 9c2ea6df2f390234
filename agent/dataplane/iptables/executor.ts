// The executor of --proxy all with mode iptables: one set of tables an address family, in kube-proxy's shape. README.md says why.
import type { EndpointAlgorithm } from "../../../src/shared/model/snapshot.ts";
import type { KernelNode, PlanService } from "../../plan/plan.ts";
import type { Checked, KernelExecutor, NodeProblem, Written } from "../executor.ts";
import type { Run } from "../kernel/run.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { worstOf } from "../kernel/worst-of.ts";
import { factsOf } from "./facts.ts";
import { FamilyTables } from "./family.ts";
import { forEach } from "../kernel/ran.ts";
import { Tools } from "./tools.ts";

export const iptablesAlgorithms: readonly EndpointAlgorithm[] = ["random", "rr"];

export interface IptablesEffects {
  readonly run: Run;
  /** The addresses of this machine's interfaces. */
  readonly localAddresses: () => readonly string[];
}

export function iptablesExecutor(settings: KernelSettings, { run, localAddresses }: IptablesEffects): KernelExecutor {
  const families = settings.families.map((family) => ({ family, tables: new FamilyTables(new Tools(family, run)) }));
  let node: KernelNode | undefined;
  const facts = (family: (typeof families)[number]["family"], of: KernelNode) =>
    factsOf(family, settings, of, localAddresses());
  return {
    async apply(plan) {
      node = plan.kernel ?? { addresses: [], podCIDRs: [], serviceCIDRs: [] };
      const services = plan.services.filter(({ kernel }) => kernel !== undefined);
      const problems = services.flatMap(algorithmProblem);
      const written: Written[] = [];
      const failed: string[] = [];
      for (const { family, tables } of families) {
        // A family that fails leaves the other alone.
        const applied = await tables.apply(services, facts(family, node));
        if ("failed" in applied) failed.push(applied.failed);
        else problems.push(...applied.problems);
        if ("written" in applied && applied.written !== undefined) written.push(applied.written);
      }
      if (failed.length > 0) throw new Error(failed.join("; "));
      return { problems, written };
    },
    // Rules outlive the process, so that a restart or an upgrade changes nothing for a packet.
    clear: () => Promise.resolve(),
    async check() {
      if (node === undefined) return "intact";
      const found: Checked[] = [];
      for (const { family, tables } of families) found.push(await tables.check(facts(family, node)));
      return worstOf(found);
    },
    renew() {
      for (const { tables } of families) tables.renew();
    },
    // What is connected goes on by conntrack alone.
    async cleanup() {
      await forEach(families, ({ tables }) => tables.cleanup());
      return 0;
    },
  };
}

function algorithmProblem({ key, algorithm }: PlanService): NodeProblem[] {
  if (iptablesAlgorithms.includes(algorithm)) return [];
  const others = otherModes.filter(({ algorithms }) => algorithms.includes(algorithm)).map(({ mode }) => mode);
  const message =
    `postern.dev/endpoint-algorithm: ${algorithm} cannot be done by iptables (possible: ${iptablesAlgorithms.join(", ")}); ` +
    `endpoints are chosen at random. Of the other modes ${others.join(" and ") || "none"} can`;
  return [{ service: key, reason: "EndpointAlgorithmNotSupported", message }];
}

const otherModes: readonly { readonly mode: string; readonly algorithms: readonly EndpointAlgorithm[] }[] = [
  { mode: "nftables", algorithms: ["random", "rr", "wrr", "sh", "maglev"] },
  { mode: "ipvs", algorithms: ["rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq", "maglev"] },
];
