// One address family of this node: makes its iptables equal to what the Services need, with as few processes as that takes. It
// remembers what it wrote, and never reads the rules back while nobody else changes them. Calls are serialised by the caller.
//
// Promises: an unchanged plan starts no process. A Service whose rules are refused keeps those it had, and keeps no other Service
// from being served. Rules of others are neither moved nor removed.
import type { PlanService } from "../../plan/plan.ts";
import type { Checked, NodeProblem, Written } from "../executor.ts";
import type { Ran } from "../kernel/run.ts";
import { madeHere } from "./cleanup.ts";
import type { Facts } from "./facts.ts";
import { lacksRecent, missingModules, refusedServices, type Trial } from "./faults.ts";
import { type Jump, jumpLine, jumpsOf } from "./jumps.ts";
import { CANARY, FIREWALL, isServiceChain } from "./names.ts";
import { type FamilyRules, familyRules, type ServiceRules, serviceRules } from "./render.ts";
import { changedServices, type Difference, difference, inSections, isEmpty, restoreInput } from "./restore.ts";
import type { TableInput } from "./restore.ts";
import { oneLine } from "../kernel/ran.ts";
import type { Tools } from "./tools.ts";

export type NodeFacts = Omit<Facts, "recent">;

/**
 * Beyond so many chains of Services nothing is written anew that is as it was: it takes many seconds, for which a change would have to
 * wait. kube-proxy has such a limit, too.
 */
const RENEW_MAX = 20_000;

export class FamilyTables {
  readonly #tools: Tools;
  /** What was written last. */
  #last: FamilyRules | undefined;
  /** The kernel holds #last, as far as we know. */
  #known = false;
  /** Chains of the nat table that may be there without being in #last. */
  readonly #strays = new Set<string>();
  /** Chains of whoever was here before this process have been looked for. */
  #tidied = false;
  /** Rules by Service; a Service that did not change is the same object. Valid for #factsKey. */
  #rendered = new WeakMap<PlanService, ServiceRules>();
  #factsKey = "";
  #recent = true;
  /** Services whose rules the kernel refuses. One that changes gets another chance. */
  readonly #refused = new Map<string, { readonly service: PlanService; readonly why: string }>();
  /** The next apply writes everything. */
  #renewing = false;
  /** It could not be written when it was tried last, and no Service has it: it is tried again when one has, or all is renewed. */
  #unable = false;
  /** Of the apply under way. */
  #rules: Written["rules"];
  #refusals = { changes: 0, everything: 0 };

  constructor(tools: Tools) {
    this.#tools = tools;
  }

  /** `failed`: why nothing could be written. */
  async apply(
    services: readonly PlanService[],
    given: NodeFacts,
  ): Promise<
    { readonly problems: readonly NodeProblem[]; readonly written?: Written | undefined } | { readonly failed: string }
  > {
    const isUsed = () => services.some((service) => hasPorts(service, given));
    if (this.#unable && !isUsed()) return { problems: [] };
    this.#unable = false;
    this.#forgetChanged(services);
    [this.#rules, this.#refusals] = [undefined, { changes: 0, everything: 0 }];
    let failure = this.#known && !this.#isToRenew() ? await this.#write("changes", services, given) : notKnown;
    // An update that fails may mean that our chains are not as they were.
    if (failure?.isFinal === false) failure = await this.#write("everything", services, given);
    if (failure === undefined) {
      this.#renewing = false;
      const [rules, refused] = [this.#rules, this.#refusals];
      const written = rules && { family: this.#tools.family, rules, refused };
      return { problems: this.#problems(services, given), written };
    }
    this.#known = false;
    // A machine without IPv6 is no problem of a cluster that has none.
    this.#unable = !isUsed();
    return this.#unable ? { problems: [] } : { failed: failure.why };
  }

  renew(): void {
    this.#renewing = true;
    this.#unable = false;
  }

  #isToRenew(): boolean {
    if (!this.#renewing) return false;
    let chains = 0;
    for (const { own } of this.#last?.services.values() ?? []) chains += own.size;
    return chains <= RENEW_MAX;
  }

  /** Takes out what is refused and writes the rest, until it is there or nothing more can be taken out. */
  async #write(
    what: "changes" | "everything",
    services: readonly PlanService[],
    given: NodeFacts,
  ): Promise<Failure | undefined> {
    for (;;) {
      const facts: Facts = { ...given, recent: this.#recent };
      const to = this.#render(services, facts);
      const ran = what === "changes" ? await this.#update(to) : await this.#rewrite(to, facts);
      if (ran.code === 0) return undefined;
      this.#refusals[what]++;
      const refused = `iptables refused the rules of ${given.family}: ${oneLine(ran.stderr)}`;
      if (what === "changes" && !this.#known) return { why: refused, isFinal: false };
      const why = this.#tools.unable(ran) ?? (await missingModules(facts, this.#trial));
      if (why !== undefined) return { why, isFinal: true };
      if (!(await this.#exclude(services, facts))) return { why: refused, isFinal: false };
    }
  }

  /** Due also where the last apply failed. */
  async check(given: NodeFacts): Promise<Checked> {
    if (!this.#known) return this.#unable ? "intact" : "due";
    const facts = { ...given, recent: this.#recent };
    const isTimeToRetry = this.#refused.size > 0 || !this.#recent;
    this.#refused.clear();
    this.#recent = true;
    const looked = await this.#tools.missing(jumpsOf(facts));
    if ("failed" in looked) {
      // Only the lock is no answer to the question; a missing chain is.
      if (this.#tools.unable(looked.failed) === undefined) this.#known = false;
    } else if (looked.missing.length > 0 || !(await this.#hasCanaries())) this.#known = false;
    if (!this.#known) return "changed";
    return isTimeToRetry || this.#factsKey !== JSON.stringify(facts) ? "due" : "intact";
  }

  /** Removes all that is ours, or a kube-proxy's in iptables mode, in both flavours. */
  async cleanup(): Promise<void> {
    this.#known = false;
    this.#last = undefined;
    await this.#tools.remove(madeHere, CANARY);
    this.#strays.clear();
  }

  #forgetChanged(services: readonly PlanService[]): void {
    if (this.#refused.size === 0) return;
    const current = new Set(services);
    for (const [key, { service }] of this.#refused) if (!current.has(service)) this.#refused.delete(key);
  }

  #render(services: readonly PlanService[], facts: Facts): FamilyRules {
    const factsKey = JSON.stringify(facts);
    if (factsKey !== this.#factsKey) this.#rendered = new WeakMap();
    this.#factsKey = factsKey;
    const rules = new Map<string, ServiceRules>();
    for (const service of services) {
      const { key, kernel } = service;
      if (kernel === undefined) continue;
      const each = this.#refused.has(key)
        ? this.#last?.services.get(key)
        : (this.#rendered.get(service) ?? serviceRules(key, kernel, facts));
      if (each === undefined) continue;
      if (!this.#refused.has(key)) this.#rendered.set(service, each);
      rules.set(key, each);
    }
    return familyRules(rules, facts);
  }

  /** Writes what differs from the last time. */
  async #update(to: FamilyRules): Promise<Ran> {
    const changes = difference(this.#last, to);
    if (isEmpty(changes)) {
      this.#last = to;
      return nothingToDo;
    }
    const sections = await this.#sections({ table: "nat", chains: changes.nat, gone: changes.gone });
    const ran = await this.#tools.restore(restoreInput([{ table: "filter", chains: changes.filter }, ...sections]));
    if (ran.code === 0) {
      this.#last = to;
      this.#rules = countRules(to, changes);
    } else {
      for (const chain of changes.nat.keys()) if (isServiceChain(chain)) this.#strays.add(chain);
      // Some of the sections may be there.
      if (sections.length > 1) this.#known = false;
    }
    return ran;
  }

  /** Writes everything, whatever is there. */
  async #rewrite(to: FamilyRules, facts: Facts): Promise<Ran> {
    const looked = await this.#tools.missing(jumpsOf(facts));
    if ("failed" in looked) return looked.failed;
    // Made, and never declared, which would empty it.
    const guarded = looked.missing.some(({ chain }) => chain === FIREWALL);
    const made = guarded && (await this.#tools.lacks("filter", FIREWALL)) ? [`-N ${FIREWALL}`] : [];
    const jumps = (table: Jump["table"]) => looked.missing.filter((jump) => jump.table === table);
    const all = difference(undefined, to);
    const { filter, nat } = all;
    const gone = [...new Set([...this.#strays, ...difference(this.#last, to).gone])].filter((chain) => !nat.has(chain));
    const ran = await this.#tools.restore(
      restoreInput([
        { table: "mangle", chains: new Map([[CANARY, []]]) },
        {
          table: "filter",
          first: [...made, ...jumps("filter").map(jumpLine)],
          chains: filter,
        },
        ...(await this.#sections({ table: "nat", first: jumps("nat").map(jumpLine), chains: nat, gone })),
      ]),
    );
    if (ran.code !== 0) {
      for (const chain of nat.keys()) if (isServiceChain(chain)) this.#strays.add(chain);
      return ran;
    }
    this.#last = to;
    this.#rules = countRules(to, all);
    this.#known = true;
    this.#strays.clear();
    if (!this.#tidied) this.#tidied = await this.#tidy(nat);
    return ran;
  }

  /**
   * Removes chains of Services that are gone since kube-proxy, or an agent before us, was here. Only now, since packets already
   * meet the new rules, and reading a large table takes long. A failure leaves chains that nothing leads to.
   */
  async #tidy(current: ReadonlyMap<string, unknown>): Promise<boolean> {
    const { code, stdout } = await this.#tools.save("nat");
    if (code !== 0) return false;
    const chains = [...stdout.matchAll(/^:(\S+) /gm)].flatMap(([, chain = ""]) => chain);
    const gone = chains.filter((chain) => isServiceChain(chain) && !current.has(chain));
    if (gone.length === 0) return true;
    const sections = await this.#sections({ table: "nat", chains: new Map(), gone });
    return (await this.#tools.restore(restoreInput(sections))).code === 0;
  }

  async #sections(input: TableInput): Promise<readonly TableInput[]> {
    return inSections(input, await this.#tools.sectionSize());
  }

  async #hasCanaries(): Promise<boolean> {
    for (const table of ["mangle", "filter", "nat"]) if (await this.#tools.lacks(table, CANARY)) return false;
    return true;
  }

  /** Takes out what the kernel refuses. False: it refuses nothing of it by itself. */
  async #exclude(services: readonly PlanService[], facts: Facts): Promise<boolean> {
    if (facts.recent && services.some((service) => hasAffinity(service, facts))) {
      if (await lacksRecent(facts, this.#trial)) {
        this.#recent = false;
        return true;
      }
    }
    const to = this.#render(services, facts);
    const byKey = new Map(services.map((service) => [service.key, service]));
    const suspects = new Map(
      changedServices(this.#known ? this.#last : undefined, to).flatMap((key) => {
        const rules = to.services.get(key);
        return rules === undefined ? [] : [[key, rules]];
      }),
    );
    const refused = await refusedServices(suspects, facts, this.#trial);
    for (const [key, why] of refused) {
      const service = byKey.get(key);
      if (this.#refused.has(key)) this.#forgetRules(key);
      if (service !== undefined) this.#refused.set(key, { service, why });
    }
    return refused.size > 0;
  }

  /** Even the rules that the Service had are refused now. */
  #forgetRules(key: string): void {
    if (this.#last === undefined) return;
    const services = new Map(this.#last.services);
    for (const chain of services.get(key)?.own.keys() ?? []) this.#strays.add(chain);
    services.delete(key);
    this.#last = { ...this.#last, services };
  }

  /** What is tried stays in the canary chains, and of a failed write the filter table may be there. So both are written again. */
  readonly #trial: Trial = (input) => {
    if (this.#last !== undefined) {
      const nat = new Map(this.#last.nat);
      nat.delete(CANARY);
      this.#last = { ...this.#last, filter: new Map(), nat };
    }
    return this.#tools.restore(input);
  };

  #problems(services: readonly PlanService[], facts: NodeFacts): readonly NodeProblem[] {
    const refused = [...this.#refused].map(
      ([service, { why }]): NodeProblem => ({
        service,
        reason: "RulesRefused",
        message: `iptables refused the rules of ${facts.family} of this Service, which keeps the rules that it had, if any: ${why}`,
      }),
    );
    const forgetful = this.#recent ? [] : services.filter((service) => hasAffinity(service, facts));
    const message =
      "sessionAffinity ClientIP is not kept, since the kernel has no xt_recent. Load it on the node: modprobe xt_recent";
    const forgotten = forgetful.map(
      ({ key }): NodeProblem => ({ service: key, reason: "AffinityNotSupported", message }),
    );
    return [...refused, ...forgotten];
  }
}

interface Failure {
  readonly why: string;
  /** Nothing on this node can be written, so there is nothing more to try. */
  readonly isFinal: boolean;
}

function countRules({ filter, nat, services }: FamilyRules, written: Difference): Written["rules"] {
  const count = (chains: Iterable<readonly unknown[]>): number => {
    let rules = 0;
    for (const each of chains) rules += each.length;
    return rules;
  };
  let own = 0;
  for (const each of services.values()) own += count(each.own.values());
  return {
    filter: { total: count(filter.values()), last: count(written.filter.values()) },
    nat: { total: count(nat.values()) + own, last: count(written.nat.values()) },
  };
}

const notKnown: Failure = { why: "", isFinal: false };
const nothingToDo: Ran = { code: 0, stdout: "", stderr: "" };
const hasPorts = ({ kernel }: PlanService, { family }: NodeFacts): boolean =>
  kernel?.ports.some((port) => port.family === family) === true;
const hasAffinity = ({ kernel }: PlanService, { family }: NodeFacts): boolean =>
  kernel?.ports.some((port) => port.family === family && port.affinitySeconds !== undefined) === true;
