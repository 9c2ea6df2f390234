// The chains of one family in the kernel (rules.ts says which), written by iptables-restore where they differ from what was written
// last. They are a few dozen rules, so that a look at all of them is cheap.
import type { Family } from "../../plan/endpoints.ts";
import { isOfIpvs } from "../iptables/cleanup.ts";
import { isThere, jumpLine } from "../iptables/jumps.ts";
import { SERVICES } from "../iptables/names.ts";
import type { Chains as ChainMap } from "../iptables/render.ts";
import { restoreInput } from "../iptables/restore.ts";
import { oneLine, type Tools as Iptables } from "../iptables/tools.ts";
import { IPVS_OUT_FILTER } from "./names.ts";
import { jumps, modules, type Rules } from "./rules.ts";
import { Unable } from "./tools.ts";

const tables = ["filter", "nat"] as const;

export class Chains {
  readonly #iptables: Iptables;
  #written: Rules | undefined;

  constructor(iptables: Iptables) {
    this.#iptables = iptables;
  }

  get family(): Family {
    return this.#iptables.family;
  }

  /** Whoever was here: everything is written next time. */
  forget(): void {
    this.#written = undefined;
  }

  /**
   * Rejects where nothing can be written. Returns why the kernel cannot have the rules that keep this node from some frontends, where
   * that is so; all others are there then.
   */
  async write(rules: Rules): Promise<string | undefined> {
    const missing = this.#written === undefined ? await this.#missingJumps() : [];
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

  /** Those of iptables mode are there. What they translate never meets ipvs. */
  async areOfIptables(): Promise<boolean> {
    const { code, stdout } = await this.#iptables.save("nat");
    return code === 0 && stdout.includes(`\n-A ${SERVICES} `) && !isOfIpvs(stdout);
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

  async #missingJumps(): Promise<typeof jumps> {
    const missing: (typeof jumps)[number][] = [];
    for (const table of tables) {
      const ran = await this.#iptables.save(table);
      if (ran.code !== 0) throw new Unable(this.#iptables.unable(ran) ?? `iptables failed: ${oneLine(ran.stderr)}`);
      missing.push(...jumps.filter((jump) => jump.table === table && !isThere(jump, ran.stdout)));
    }
    return missing;
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
