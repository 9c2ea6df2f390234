// The chains of one family in the kernel (rules.ts says which), written by iptables-restore where they differ from what was written
// last. They are a few dozen rules, so that a look at all of them is cheap.
import type { Family } from "../../plan/endpoints.ts";
import { isOfIpvs } from "../iptables/cleanup.ts";
import { isThere, type Jump, jumpLine } from "../iptables/jumps.ts";
import { SERVICES } from "../iptables/names.ts";
import type { Chains as ChainMap } from "../iptables/render.ts";
import { restoreInput } from "../iptables/restore.ts";
import type { Tools as Iptables } from "../iptables/tools.ts";
import { oneLine } from "../kernel/ran.ts";
import { IPVS_OUT_FILTER } from "./names.ts";
import { jumps, modules, type Rules } from "./rules.ts";
import { Unable } from "./tools.ts";

const tables = ["filter", "nat"] as const;

export class Chains {
  readonly #iptables: Iptables;
  #written: Rules | undefined;
  #areOfIptables = false;
  /** Rules of KUBE-IPVS-OUT-FILTER that the kernel did not take, and why. They are not tried again before forget(). */
  #refused: { readonly rules: string; readonly why: string } | undefined;

  constructor(iptables: Iptables) {
    this.#iptables = iptables;
  }

  get family(): Family {
    return this.#iptables.family;
  }

  /** Whoever was here: everything is written next time. */
  forget(): void {
    this.#written = undefined;
    this.#areOfIptables = false;
    this.#refused = undefined;
  }

  /** Reads what is there, for the next write. That says what cannot be read. */
  async look(): Promise<void> {
    const { code, stdout } = await this.#iptables.list("nat", SERVICES);
    this.#areOfIptables = code === 0 && stdout.includes(`\n-A ${SERVICES} `) && !isOfIpvs(stdout);
  }

  /** What look() read are the chains of iptables mode, not yet written over. What they translate never meets ipvs. */
  get areOfIptables(): boolean {
    return this.#areOfIptables;
  }

  /**
   * Rejects where nothing can be written. Returns why the kernel cannot have the rules that keep this node from some frontends, where
   * that is so; all others are there then.
   */
  async write(wanted: Rules): Promise<string | undefined> {
    this.#areOfIptables = false;
    const own = (wanted.filter.get(IPVS_OUT_FILTER) ?? []).join("\n");
    const refused = this.#refused?.rules === own ? this.#refused.why : undefined;
    const rules =
      refused === undefined ? wanted : { ...wanted, filter: new Map([...wanted.filter, [IPVS_OUT_FILTER, []]]) };
    const missing = this.#written === undefined ? await this.#missingJumps() : [];
    const inputs = tables.map((table) => ({
      table,
      first: missing.filter((jump) => jump.table === table).map(jumpLine),
      chains: differing(this.#written?.[table], rules[table]),
    }));
    const input = restoreInput(inputs);
    if (input === "") return refused;
    const ran = await this.#iptables.restore(input);
    if (ran.code === 0) {
      this.#written = rules;
      return refused;
    }
    this.#written = undefined;
    const why = this.#iptables.unable(ran);
    if (why === undefined && own !== "" && refused === undefined) {
      this.#refused = { rules: own, why: oneLine(ran.stderr) };
      return await this.write(wanted);
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
      const own = jumps.filter((jump) => jump.table === table);
      const whole =
        code === 0
          ? own.every((jump) => isThere(jump, stdout)) &&
            [...this.#written[table]].every(([chain, rules]) => isWhole(stdout, chain, rules))
          : await this.#mayHave(own);
      if (!whole) {
        this.#written = undefined;
        return false;
      }
    }
    return true;
  }

  async #missingJumps(): Promise<readonly Jump[]> {
    const looked = await this.#iptables.missing(jumps);
    if ("missing" in looked) return looked.missing;
    const { failed } = looked;
    throw new Unable(this.#iptables.unable(failed) ?? `iptables failed: ${oneLine(failed.stderr)}`);
  }

  /** Of a table that cannot be read as a whole. Only what cannot be asked is no answer. */
  async #mayHave(own: readonly Jump[]): Promise<boolean> {
    const looked = await this.#iptables.missing(own);
    return "failed" in looked || looked.missing.length === 0;
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
