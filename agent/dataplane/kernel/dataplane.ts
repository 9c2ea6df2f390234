// What surrounds an executor that programs the kernel, in the order in which it must happen: sysctls before the first rules, UDP
// flows after the rules that make them wrong, and what other modes left on the node once our own rules stand, so that there is no
// moment without rules. While another agent is at work on the node (during an upgrade, the one before), nothing of others is taken away:
// it would make its rules again, and leave them behind. Owns no rules. The rules outlive the process; `clear` takes away nothing.
import { ofFamily } from "../../../src/shared/net/ranges.ts";
import type { Family } from "../../plan/endpoints.ts";
import type { ForwardingPlan, KernelPort } from "../../plan/plan.ts";
import type { Checked, Executor, KernelApplied, KernelExecutor } from "../executor.ts";
import { changedFamilies, type Cleaned, cleanFlows, udpPorts } from "./conntrack.ts";
import { cleanupLeftovers, type KernelEffects, type Leftover, leftovers } from "./create.ts";
import { nodePortAddresses, type NodePortAddresses } from "./node-port-addresses.ts";
import type { KernelSettings } from "./settings.ts";
import { applySysctls, type ConntrackSettings, cores, wantedSysctls } from "./sysctls.ts";

export interface KernelDataplaneOptions {
  readonly settings: KernelSettings;
  readonly conntrack: ConntrackSettings;
  readonly effects: KernelEffects;
  readonly executor: KernelExecutor;
  /** No other agent programs this node's kernel any more. */
  readonly isAlone: () => boolean;
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
  /** Something of it could not be set, and is to be tried once more. */
  #unset = false;
  /** The UDP ports that the kernel serves; undefined before the first apply. */
  #served: readonly KernelPort[] | undefined;
  /** The kernel may have forwarded otherwise than any plan says: its rules were changed, or could not be written. */
  #suspect = false;
  /** What of others is to be taken away yet: at first all; then what failed, and what stays as long as connections go through it. */
  #others: readonly Leftover[];
  /** What was said of each. */
  readonly #saidOf = new Map<Leftover, string>();
  /** Taking away was tried. */
  #begun = false;
  #retired = false;
  /** Ends with the apply or check under way. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: KernelDataplaneOptions) {
    this.#options = options;
    this.#others = leftovers.filter((each) => each !== options.settings.mode);
  }

  /** Rejects where the executor does: nothing of the plan may have been applied. */
  apply(plan: ForwardingPlan): Promise<KernelApplied> {
    return this.#working(() => this.#apply(plan), { problems: [] });
  }

  check(): Promise<Checked> {
    return this.#working<Checked>(async () => {
      if (this.#begun ? this.#others.length > 0 : this.#options.isAlone()) await this.#removeOthers();
      const found = await this.#options.executor.check();
      this.#suspect ||= found === "changed";
      return found;
    }, "intact");
  }

  /** The next apply writes everything over what is there. */
  renew(): void {
    this.#options.executor.renew();
  }

  /** From now on the kernel is left as it is: another agent of this node goes on with it. Resolves when nothing is under way any more. */
  async retire(): Promise<void> {
    this.#retired = true;
    await this.#work;
  }

  async clear(): Promise<void> {}

  /** Where the health checks of Services are answered now: at NodePorts' addresses of the families that Services have. */
  healthCheckAddresses(plan: ForwardingPlan): NodePortAddresses {
    const found = this.#used(plan).map((family) => ({ family, addresses: this.#nodePortAddresses(family, plan) }));
    if (found.every(({ addresses }) => addresses === "all")) return "all";
    const any = { IPv4: ["0.0.0.0"], IPv6: ["::"] };
    return found.flatMap(({ family, addresses }) => (addresses === "all" ? any[family] : addresses));
  }

  async #working<T>(work: () => Promise<T>, retired: T): Promise<T> {
    if (this.#retired) return retired;
    const done = work();
    this.#work = done.catch(() => undefined);
    return await done;
  }

  async #apply(plan: ForwardingPlan): Promise<KernelApplied> {
    const { executor, isAlone } = this.#options;
    await this.#prepare(plan);
    let applied: KernelApplied;
    try {
      applied = await executor.apply(plan);
    } catch (error) {
      this.#suspect = true;
      throw error;
    } finally {
      await this.#prepareAgain();
    }
    if (!this.#begun && isAlone()) {
      await this.#removeOthers();
      // Modes share names of chains: whatever of ours went along is made again.
      if ((await executor.check()) !== "intact") applied = await executor.apply(plan);
    }
    await this.#cleanFlows(plan);
    return applied;
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
    const used = this.#used(plan);
    if (used.every((family) => this.#prepared.includes(family))) return;
    this.#prepared = used;
    this.#unset = (await this.#setSysctls()).length > 0;
  }

  /** Those of connection tracking and of ipvs are there once the first rules have made the kernel load these. */
  async #prepareAgain(): Promise<void> {
    if (!this.#unset) return;
    this.#unset = false;
    this.#options.warn("sysctls", await this.#setSysctls());
  }

  /** What could not be set, in words. */
  #setSysctls(): Promise<readonly string[]> {
    const { settings, conntrack, setSysctls = applySysctls } = this.#options;
    return setSysctls(wantedSysctls(settings, conntrack, this.#prepared, cores()));
  }

  async #cleanFlows(plan: ForwardingPlan): Promise<void> {
    const { settings, effects, warn, onCleaned } = this.#options;
    const ports = udpPorts(plan);
    const families = this.#suspect ? this.#used(plan) : changedFamilies(this.#served ?? [], ports);
    this.#suspect = false;
    if (families.length === 0) {
      this.#served = ports;
      return;
    }
    const began = performance.now();
    const local = [...(plan.kernel?.addresses ?? []), ...effects.localAddresses()];
    const addresses = settings.families.flatMap((family) => {
      const found = this.#nodePortAddresses(family, plan);
      return found === "all" ? ofFamily(local, family) : found;
    });
    const cleaned = await cleanFlows(effects.run, families, this.#served ?? [], ports, addresses);
    this.#served = ports;
    onCleaned?.(cleaned, performance.now() - began);
    warn(
      "conntrack",
      cleaned.flatMap(({ family, problem }) =>
        problem === undefined ? [] : [`UDP flows of ${family} to endpoints that are gone may go on: ${problem}`],
      ),
    );
  }

  async #removeOthers(): Promise<void> {
    const { settings, effects, info, cleanup = cleanupLeftovers } = this.#options;
    this.#begun = true;
    const outcomes = await cleanup(settings, effects, this.#others, true);
    for (const { of, outcome, open } of outcomes) {
      // How many are still open changes from check to check.
      const isSaid = this.#saidOf.get(of) === outcome || (open > 0 && this.#saidOf.has(of));
      if (!isSaid) info(`what ${of} may have left on this node: ${outcome}`);
      this.#saidOf.set(of, outcome);
    }
    this.#others = outcomes.filter(({ open, failed }) => open > 0 || failed).map(({ of }) => of);
  }
}
