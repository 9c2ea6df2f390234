// What surrounds an executor that programs the kernel, in the order in which it must happen: sysctls before the first rules, UDP
// flows after the rules that make them wrong, and what other modes left on the node once our own rules stand, so that there is no
// moment without rules. Owns no rules. The rules outlive the process; `clear` takes away nothing.
import { ofFamily } from "../../../src/shared/net/ranges.ts";
import type { Family } from "../../plan/endpoints.ts";
import type { ForwardingPlan, KernelPort } from "../../plan/plan.ts";
import type { Executor, KernelApplied, KernelExecutor } from "../executor.ts";
import { type Cleaned, cleanFlows, udpPorts } from "./conntrack.ts";
import { cleanupLeftovers, type KernelEffects, type Leftover, leftovers } from "./create.ts";
import { nodePortAddresses, type NodePortAddresses } from "./node-port-addresses.ts";
import type { KernelSettings } from "./settings.ts";
import { applySysctls, type ConntrackSettings, cores, wantedSysctls } from "./sysctls.ts";

export interface KernelDataplaneOptions {
  readonly settings: KernelSettings;
  readonly conntrack: ConntrackSettings;
  readonly effects: KernelEffects;
  readonly executor: KernelExecutor;
  /** What is wrong with the node or was found on it, for the log; `topic` replaces what was said of it before. */
  readonly warn: (topic: string, texts: readonly string[]) => void;
  readonly info: (text: string) => void;
  readonly onCleaned?: (cleaned: readonly Cleaned[], ms: number) => void;
  /** For tests. */
  readonly setSysctls?: typeof applySysctls;
  readonly cleanup?: typeof cleanupLeftovers;
}

export class KernelDataplane implements Executor {
  readonly #options: KernelDataplaneOptions;
  /** Whose sysctls were set. */
  #prepared: readonly Family[] = [];
  /** Something of it could not be set. */
  #unset = false;
  /** The UDP ports that the kernel serves; undefined before the first apply. */
  #served: readonly KernelPort[] | undefined;
  #othersGone = false;
  /** What of others stays as long as connections go through it. */
  #open: readonly Leftover[] = [];
  #retired = false;

  constructor(options: KernelDataplaneOptions) {
    this.#options = options;
  }

  /** Rejects where the executor does: nothing of the plan may have been applied. */
  async apply(plan: ForwardingPlan): Promise<KernelApplied> {
    if (this.#retired) return { problems: [] };
    const { executor } = this.#options;
    await this.#prepare(plan);
    let applied = await executor.apply(plan);
    if (!this.#othersGone) {
      this.#othersGone = true;
      await this.#removeOthers(leftovers.filter((each) => each !== this.#options.settings.mode));
      await this.#prepareAgain(plan);
      // Modes share names of chains: whatever of ours went along is made again.
      if (!(await executor.check())) applied = await executor.apply(plan);
    }
    await this.#cleanFlows(plan);
    return applied;
  }

  async check(): Promise<boolean> {
    if (this.#retired) return true;
    if (this.#open.length > 0) await this.#removeOthers(this.#open);
    return await this.#options.executor.check();
  }

  /** The next apply writes everything over what is there. */
  renew(): void {
    this.#options.executor.renew();
  }

  /** From now on the kernel is left as it is: another agent of this node goes on with it. */
  retire(): void {
    this.#retired = true;
  }

  async clear(): Promise<void> {}

  /** Where the health checks of Services are answered now: at NodePorts' addresses of the families that Services have. */
  healthCheckAddresses(plan: ForwardingPlan): NodePortAddresses {
    const found = this.#used(plan).map((family) => ({ family, addresses: this.#nodePortAddresses(family, plan) }));
    if (found.every(({ addresses }) => addresses === "all")) return "all";
    const any = { IPv4: ["0.0.0.0"], IPv6: ["::"] };
    return found.flatMap(({ family, addresses }) => (addresses === "all" ? any[family] : addresses));
  }

  #nodePortAddresses(family: Family, { kernel }: ForwardingPlan): NodePortAddresses {
    const { settings, effects } = this.#options;
    return nodePortAddresses(family, settings, kernel?.addresses ?? [], effects.localAddresses());
  }

  /** The families that Services have. */
  #used({ services }: ForwardingPlan): readonly Family[] {
    const used = new Set<Family>();
    for (const { kernel } of services) for (const { family } of kernel?.ports ?? []) used.add(family);
    return this.#options.settings.families.filter((family) => used.has(family));
  }

  /** Once for each family, when the first Service of it comes: on a cluster of one family nothing is said of the other. */
  async #prepare(plan: ForwardingPlan): Promise<void> {
    const { settings, conntrack, warn, setSysctls = applySysctls } = this.#options;
    const used = this.#used(plan);
    if (used.every((family) => this.#prepared.includes(family))) return;
    this.#prepared = used;
    const said = await setSysctls(wantedSysctls(settings, conntrack, used, cores()));
    this.#unset = said.length > 0;
    warn("sysctls", said);
  }

  /** ipvs' sysctls are there once the executor has made the kernel load it. */
  async #prepareAgain(plan: ForwardingPlan): Promise<void> {
    if (!this.#unset || this.#options.settings.mode !== "ipvs") return;
    this.#prepared = [];
    await this.#prepare(plan);
  }

  async #cleanFlows(plan: ForwardingPlan): Promise<void> {
    const { settings, effects, warn, onCleaned } = this.#options;
    const ports = udpPorts(plan);
    const began = performance.now();
    const local = [...(plan.kernel?.addresses ?? []), ...effects.localAddresses()];
    const addresses = settings.families.flatMap((family) => {
      const found = this.#nodePortAddresses(family, plan);
      return found === "all" ? ofFamily(local, family) : found;
    });
    const cleaned = await cleanFlows(effects.run, this.#served, ports, addresses);
    this.#served = ports;
    if (cleaned.length === 0) return;
    onCleaned?.(cleaned, performance.now() - began);
    warn(
      "conntrack",
      cleaned.flatMap(({ family, problem }) =>
        problem === undefined ? [] : [`UDP flows of ${family} to endpoints that are gone may go on: ${problem}`],
      ),
    );
  }

  async #removeOthers(others: readonly Leftover[]): Promise<void> {
    const { settings, effects, info, cleanup = cleanupLeftovers } = this.#options;
    const outcomes = await cleanup(settings, effects, others, true);
    // That it is still open was said at first.
    for (const { of, outcome, open } of outcomes)
      if (open === 0 || !this.#open.includes(of)) info(`what ${of} may have left on this node: ${outcome}`);
    this.#open = outcomes.filter(({ open }) => open > 0).map(({ of }) => of);
  }
}
