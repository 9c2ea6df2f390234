// The chains of one family in the kernel (rules.ts says which), written by iptables-restore where they differ from what was written
// last. They are a few dozen rules, so that a look at all of them is cheap.
import type { Family } from "../../plan/endpoints.ts";
import { isOfIpvs } from "../iptables/cleanup.ts";
import { isThere, jumpLine } from "../iptables/jumps.ts";
import { SERVICES } from "../iptables/names.ts";
import type { Chains as ChainMap } from "../iptables/render.ts";
import type { Ran } from "../kernel/run.ts";
import { restoreInput } from "../iptables/restore.ts";
import { oneLine, type Tools as Iptables } from "../iptables/tools.ts";
import { IPVS_OUT_FILTER } from "./names.ts";
import { jumps, modules, type Rules } from "./rules.ts";
import { Unable } from "./tools.ts";

const tables = ["filter", "nat"] as const;

export class Chains {
  readonly #iptables: Iptables;
  #written: Rules | undefined;
  /** What look() read, until it is written over: a table of iptables mode takes seconds to read. */
  #saved: ReadonlyMap<string, Ran> | undefined;

  constructor(iptables: Iptables) {
    this.#iptables = iptables;
  }

  get family(): Family {
    return this.#iptables.family;
  }

  /** Whoever was here: everything is written next time. */
  forget(): void {
    this.#written = undefined;
    this.#saved = undefined;
  }

  /** Reads what is there, for the next write. That says what cannot be read. */
  async look(): Promise<void> {
    this.#saved = await this.#save();
  }

  /** What look() read are the chains of iptables mode. What they translate never meets ipvs. */
  get areOfIptables(): boolean {
    const nat = this.#saved?.get("nat");
    return nat?.code === 0 && nat.stdout.includes(`\n-A ${SERVICES} `) && !isOfIpvs(nat.stdout);
  }

  /**
   * Rejects where nothing can be written. Returns why the kernel cannot have the rules that keep this node from some frontends, where
   * that is so; all others are there then.
   */
  async write(rules: Rules): Promise<string | undefined> {
    const saved = this.#saved;
    this.#saved = undefined;
    const missing = this.#written === undefined ? this.#missingJumps(saved ?? (await this.#save())) : [];
    const inputs = tables.map((table) => ({
      table,
      first: missing.filter((jump) => jump.table === table).map(jumpLine),
      chains: differing(this.#written?.[table], rules[table]),
    }));
    const input = restoreInput(inputs);
    if (input === "") return undefined;
    const ran = await this.#iptables.restore(input);
    if (ran.code === 0) {
      this.#written = rules;
      return undefined;
    }
    this.#written = undefined;
    const why = this.#iptables.unable(ran);
    const needsIpvs = (rules.filter.get(IPVS_OUT_FILTER) ?? []).length > 0;
    if (why === undefined && needsIpvs) {
      await this.write({ ...rules, filter: new Map([...rules.filter, [IPVS_OUT_FILTER, []]]) });
      return oneLine(ran.stderr);
    }
    throw new Unable(
      why ??
        `iptables refused the rules of ${this.family} (${oneLine(ran.stderr)}). Load the modules on the node, as root: modprobe -a ${modules(this.family)}`,
    );
  }

  /** False where a jump, a chain or a rule of what was written is gone, or one came to it. */
  async check(): Promise<boolean> {
    if (this.#written === undefined) return false;
    for (const table of tables) {
      const { code, stdout } = await this.#iptables.save(table);
      // Only what cannot be asked is no answer.
      if (code !== 0) continue;
      const there = jumps.every((jump) => jump.table !== table || isThere(jump, stdout));
      const whole = [...this.#written[table]].every(([chain, rules]) => isWhole(stdout, chain, rules));
      if (!there || !whole) {
        this.#written = undefined;
        return false;
      }
    }
    return true;
  }

  #missingJumps(saved: ReadonlyMap<string, Ran>): typeof jumps {
    const missing: (typeof jumps)[number][] = [];
    for (const [table, ran] of saved) {
      if (ran.code !== 0) throw new Unable(this.#iptables.unable(ran) ?? `iptables failed: ${oneLine(ran.stderr)}`);
      missing.push(...jumps.filter((jump) => jump.table === table && !isThere(jump, ran.stdout)));
    }
    return missing;
  }

  async #save(): Promise<ReadonlyMap<string, Ran>> {
    const saved = new Map<string, Ran>();
    for (const table of tables) saved.set(table, await this.#iptables.save(table));
    return saved;
  }
}

/** Their number and what they do, in that order; how they are printed differs between versions. */
function isWhole(saved: string, chain: string, rules: readonly string[]): boolean {
  const prefix = `-A ${chain} `;
  const found = saved.split("\n").filter((line) => line.startsWith(prefix));
  return saved.includes(`:${chain} `) && found.map(targetOf).join() === rules.map(targetOf).join();
}

const targetOf = (rule: string): string => /(?:^| )-j (\S+)/.exec(rule)?.[1] ?? "";

const differing = (from: ChainMap | undefined, to: ChainMap): ChainMap =>
  new Map([...to].filter(([chain, rules]) => from?.get(chain)?.join("\n") !== rules.join("\n")));
