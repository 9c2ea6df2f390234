// The executor of --proxy all with mode ipvs: kube-proxy's device, sets and chains, and a virtual server for each frontend. README.md
// says why. What it made outlives the process.
import type { KernelNode } from "../../plan/plan.ts";
import type { Checked, KernelApplied, KernelExecutor, NodeProblem } from "../executor.ts";
import type { Run } from "../kernel/run.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { worstOf } from "../kernel/worst-of.ts";
import { cleanup } from "./cleanup.ts";
import { type Facts, factsOf } from "./facts.ts";
import { ALL_SERVICES, KernelState } from "./kernel-state.ts";
import { LAST_RESORT, nodeScheduler, schedulerOf } from "./schedulers.ts";
import { type Services, State } from "./state.ts";
import { Unable } from "./tools.ts";

export interface IpvsEffects {
  readonly run: Run;
  /** The addresses of this machine's interfaces, without those of the device `kube-ipvs0`. */
  readonly localAddresses: () => readonly string[];
  /** Milliseconds. */
  readonly now?: () => number;
}

/** So often destinations that drain are asked for their connections, ms. */
const DRAIN_CHECK = 60_000;

export function ipvsExecutor(settings: KernelSettings, effects: IpvsEffects): KernelExecutor {
  return new IpvsExecutor(settings, effects);
}

class IpvsExecutor implements KernelExecutor {
  readonly #settings: KernelSettings;
  readonly #effects: IpvsEffects;
  readonly #kernel: KernelState;
  #wanted = new State();
  #services: Services = new Map();
  #node: KernelNode | undefined;
  #factsKey = "";
  /** Schedulers that were asked for, and whether the kernel has them. */
  readonly #schedulers = new Map<string, boolean>();
  #drainsChecked = Number.NEGATIVE_INFINITY;

  constructor(settings: KernelSettings, effects: IpvsEffects) {
    this.#settings = settings;
    this.#effects = effects;
    this.#kernel = new KernelState(settings, effects.run);
  }

  async apply({ services, kernel }: Parameters<KernelExecutor["apply"]>[0]): Promise<KernelApplied> {
    const node = kernel ?? { addresses: [], podCIDRs: [], serviceCIDRs: [] };
    this.#node = node;
    this.#services = new Map(services.filter((each) => each.kernel !== undefined).map((each) => [each.key, each]));
    try {
      await this.#findSchedulers();
      const facts = this.#facts(node);
      this.#factsKey = JSON.stringify(facts);
      await this.#kernel.write(this.#wanted, this.#wanted.update(this.#services, facts), facts);
      return { problems: this.#problems(facts) };
    } catch (error) {
      this.#kernel.forget();
      throw error;
    }
  }

  clear(): Promise<void> {
    return Promise.resolve();
  }

  /** All that is there is read again, and what differs is written. */
  renew(): void {
    this.#kernel.forget();
  }

  async check(): Promise<Checked> {
    const node = this.#node;
    if (node === undefined) return "intact";
    const now = (this.#effects.now ?? Date.now)();
    const endDrained = now - this.#drainsChecked >= DRAIN_CHECK;
    if (endDrained) this.#drainsChecked = now;
    let found: Checked = "due";
    try {
      const kernel = await this.#kernel.check(this.#wanted, endDrained);
      const lacks = this.#kernel.hasRefusals || [...this.#schedulers.values()].includes(false);
      const isSame = this.#factsKey === JSON.stringify(this.#facts(node));
      if (!lacks) return kernel === "intact" && !isSame ? "due" : kernel;
      found = worstOf(["due", kernel]);
    } catch (error) {
      if (!(error instanceof Unable)) throw error;
    }
    this.#schedulers.clear();
    this.#kernel.forget();
    return found;
  }

  async cleanup(leaveOpen = false): Promise<number> {
    this.#kernel.forget();
    this.#wanted = new State();
    return await cleanup(this.#effects.run, this.#settings.ipvs.excludeCIDRs, leaveOpen);
  }

  /** Of the families that Services have. */
  #facts(node: KernelNode): readonly Facts[] {
    const local = this.#effects.localAddresses();
    const missing = [...this.#schedulers].flatMap(([name, has]) => (has ? [] : [name])).sort();
    const used = new Set(
      [...this.#services.values()].flatMap(({ kernel }) => (kernel?.ports ?? []).map((each) => each.family)),
    );
    return this.#settings.families
      .filter((family) => used.has(family))
      .map((family) => factsOf(family, this.#settings, node, local, missing));
  }

  /** Asks the kernel for those that it was not asked for yet. */
  async #findSchedulers(): Promise<void> {
    const scheduler = this.#scheduler;
    const asked = [...this.#services.values()].flatMap(({ kernel }) =>
      (kernel?.ports ?? []).map(({ algorithm }) => algorithm),
    );
    for (const algorithm of new Set(asked)) {
      const { name } = schedulerOf(algorithm, { scheduler, missing: [] });
      for (const each of [name, LAST_RESORT])
        if (!this.#schedulers.has(each)) this.#schedulers.set(each, await this.#kernel.hasScheduler(each));
    }
    if (this.#schedulers.get(LAST_RESORT) !== false) return;
    this.#schedulers.clear();
    throw new Unable(
      `the kernel has ipvs without its schedulers. Load them on the node, as root: modprobe -a ip_vs_${LAST_RESORT}`,
    );
  }

  get #scheduler(): string {
    return nodeScheduler(this.#settings);
  }

  #problems(facts: readonly Facts[]): readonly NodeProblem[] {
    const refused = this.#kernel.refusals(this.#wanted).map(
      ({ service, message }): NodeProblem => ({
        service,
        reason: "RulesRefused",
        message: `ipvs mode could not make a part of what ${service === ALL_SERVICES ? "all Services need" : "this Service needs"}, the rest is served: ${message}`,
      }),
    );
    const conflicts = this.#wanted.conflicts.map(
      ({ loser, winner, key }): NodeProblem => ({
        service: loser,
        reason: "FrontendConflict",
        message: `${key} is served for ${winner} already: give one of them another address or port`,
      }),
    );
    return [...this.#missing(facts), ...refused, ...conflicts];
  }

  /** Services that get another scheduler than the one that they ask for, since the kernel has not that one. */
  #missing(facts: readonly Facts[]): readonly NodeProblem[] {
    const missing = facts[0]?.missing ?? [];
    if (missing.length === 0) return [];
    const dealt = (service: string, name: string): NodeProblem => ({
      service,
      reason: "EndpointAlgorithmNotSupported",
      message: `this node's kernel has no scheduler ${name}, so that endpoints are dealt by ${LAST_RESORT}. Load it on the node, as root: modprobe ip_vs_${name}`,
    });
    const own = [...this.#services.values()].flatMap((service) => {
      const name = schedulerOf(service.algorithm, { scheduler: this.#scheduler, missing: [] }).name;
      return service.algorithm !== "random" && missing.includes(name) ? [dealt(service.key, name)] : [];
    });
    return missing.includes(this.#scheduler) ? [dealt(ALL_SERVICES, this.#scheduler), ...own] : own;
  }
}
