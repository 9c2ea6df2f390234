// One family's table in the kernel: which transactions bring it to what a plan asks for, and what is done where nft refuses one.
// - Nothing is known of the kernel's table at first, and after a failure: then all is written, over what is there, unless its stamp
//   says that it holds just that.
// - A refused transaction changes nothing in the kernel. nft names lines; the Service that is refused alone as well is left out until
//   it changes, all others are served, and its owner is told. Where that finds none, halving does.
import { setImmediate as turn } from "node:timers/promises";
import type { Family } from "../../plan/endpoints.ts";
import type { KernelNode, PlanService } from "../../plan/plan.ts";
import { hash32 } from "../../../src/shared/balance/hash.ts";
import type { NodeProblem, Written } from "../executor.ts";
import type { Ran, Run } from "../kernel/run.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { HOOKED, STAMP, TABLE } from "./layout.ts";
import { type Script, skeleton, stamp } from "./script.ts";
import { Table } from "./table.ts";

/** Sorted as in a plan. */
type Services = readonly PlanService[];

export interface NftablesEffects {
  readonly run: Run;
  /** The addresses of this machine's interfaces. */
  readonly localAddresses: () => readonly string[];
}

/**
 * A transaction that adds more than so many elements holds a processor for tenths of a second. A new table, and one that is only
 * renewed, are written in pieces of this size.
 */
const CHUNK = 20_000;
/** A new table is rendered so many Services at a time: nft is given what was rendered before meanwhile, and streams go on. */
const STEP = 250;
/** So many processes write a new table at once. Four fifths of what nft needs is reading text, and that is nobody's but its own. */
const WRITERS = 2;
/** Services whose lines nft names are tried alone, if they are so few. Else one fault had many consequences. */
const NAMED_MAX = 16;

/** `alone`: nothing else may be written meanwhile, since later ones lead to its chains, or since it says that all is there. */
interface Piece {
  readonly text: string;
  readonly alone: boolean;
}

export class NftTable {
  readonly #settings: KernelSettings;
  readonly #effects: NftablesEffects;
  readonly #family: Family;
  readonly #nft: "ip" | "ip6";
  /** What the kernel has. Undefined where that is not known. */
  #table: Table | undefined;
  /** The next apply writes everything. */
  #renewing = false;
  #failedCleanups = 0;
  /** Services that nft refused, and why: until they change. */
  readonly #refused = new Map<string, { readonly service: PlanService; readonly why: string }>();

  constructor(family: Family, settings: KernelSettings, effects: NftablesEffects) {
    this.#family = family;
    this.#nft = family === "IPv4" ? "ip" : "ip6";
    this.#settings = settings;
    this.#effects = effects;
  }

  /** Rejects where nothing could be written. */
  async apply(
    services: Services,
    node: KernelNode,
  ): Promise<{ readonly problems: readonly NodeProblem[]; readonly written: Written }> {
    this.#failedCleanups = 0;
    for (const [key, { service }] of this.#refused) if (!services.includes(service)) this.#refused.delete(key);
    const failure = await this.#write(services, node);
    if (failure !== undefined) {
      this.#table = undefined;
      throw new Error(`nft cannot write the rules of ${this.#family}: ${failure}`);
    }
    this.#renewing = false;
    const written = { family: this.#family, failedCleanups: this.#failedCleanups };
    return { problems: this.#problems(), written };
  }

  renew(): void {
    this.#renewing = true;
  }

  /** False where somebody took the table or the rules of a hook away, or wrote the table. Costs the same whatever it holds. */
  async check(): Promise<boolean> {
    if (this.#table === undefined) return true;
    if ((await this.#stampInKernel()) !== this.#stampOf(this.#table)) return this.#lost();
    // Each of these chains is held by the rule of a hook. Deleting it, which is only tried, must be refused.
    const tries = HOOKED.map((chain) => `delete chain ${this.#nft} ${TABLE} ${chain}\n`);
    const { stderr } = await this.#effects.run("nft", ["-c", "-f", "-"], tries.join(""));
    const busy = new Set([...stderr.matchAll(/^\/dev\/stdin:(\d+):.*(?:busy)/gim)].map(([, line]) => line));
    return busy.size === HOOKED.length || this.#lost();
  }

  forget(): void {
    this.#table = undefined;
  }

  #lost(): false {
    this.#table = undefined;
    return false;
  }

  /** Undefined where the kernel now has all but the refused; else why not. */
  async #write(services: Services, node: KernelNode): Promise<string | undefined> {
    if (this.#table !== undefined) {
      const script = this.#table.update(this.#accepted(services), node);
      const sweep = this.#table.sweep();
      const change = script.empty && sweep.empty ? undefined : script;
      const ran = await this.#change(this.#table, change, sweep);
      if (ran.code === 0 && (!this.#renewing || (await this.#renewOver(this.#table, services, node)))) return undefined;
      this.#table = undefined;
      if (ran.code !== 0) await this.#refuseNamed(services, node, this.#named(script, ran, ""));
    }
    for (;;) {
      const known = await this.#stampInKernel();
      if (known === undefined && (await this.#loadNew(this.#accepted(services), node))) return undefined;
      const { table, script } = this.#whole(this.#accepted(services), node);
      if (known === this.#stampOf(table) && !this.#renewing) {
        this.#table = table;
        // Rules may be gone where the stamp is not.
        if (await this.check()) return undefined;
      }
      const ran = await this.#load(table, script, known);
      if (ran.code === 0) {
        this.#table = table;
        return undefined;
      }
      const base = await this.#tryOnly([], node);
      if (base.code !== 0) return whyOf(base);
      if (await this.#refuseNamed(services, node, this.#named(script, ran, this.#skeleton("replace")))) continue;
      const bad = await this.#halve(this.#accepted(services), [], node);
      if (bad.size === 0) return whyOf(ran);
      for (const [key, why] of bad) this.#refuse(services, key, why);
    }
  }

  async #change(table: Table, script: Script | undefined, sweep: Script): Promise<Ran> {
    if (script === undefined) return { code: 0, stdout: "", stderr: "" };
    const ran = await this.#nftFile(`${script.text()}${stamp(this.#nft, this.#stampOf(table), true)}`);
    if (ran.code === 0) await this.#cleanUp(sweep);
    return ran;
  }

  async #cleanUp(sweep: Script): Promise<void> {
    if (!sweep.empty && (await this.#nftFile(sweep.text())).code !== 0) this.#failedCleanups++;
  }

  /**
   * Everything once more, though nothing has changed. A small table is flushed and filled in one transaction; of a large one the rules
   * are, and elements that are missing are added in pieces. False: not so; what is there is not what was written.
   */
  async #renewOver(held: Table, services: Services, node: KernelNode): Promise<boolean> {
    const { table, script } = this.#whole(this.#accepted(services), node);
    if (script.size > CHUNK) {
      if (this.#stampOf(table) !== this.#stampOf(held)) return false;
      for (const piece of [this.#skeleton("rules"), ...script.chunks(CHUNK)])
        if ((await this.#nftFile(piece)).code !== 0) return false;
      return true;
    }
    const end = stamp(this.#nft, this.#stampOf(table), false);
    if ((await this.#nftFile(`${this.#skeleton("keep")}${script.text()}${end}`)).code !== 0) return false;
    this.#table = table;
    // Chains that `table` does not know.
    await this.#cleanUp(held.sweep(0));
    return true;
  }

  /** A table where there is none: in pieces that are written while the next ones are rendered. False: nft refused one. */
  async #loadNew(services: Services, node: KernelNode): Promise<boolean> {
    const table = this.#newTable();
    const writing: Promise<Ran>[] = [];
    let [taken, alone] = [true, false];
    const settle = async (left: number) => {
      while (writing.length > left) if ((await writing.shift())?.code !== 0) taken = false;
    };
    for await (const piece of this.#pieces(table, services, node)) {
      await settle(alone || piece.alone ? 0 : WRITERS - 1);
      if (!taken) break;
      writing.push(this.#nftFile(piece.text));
      ({ alone } = piece);
    }
    await settle(0);
    if (taken) this.#table = table;
    return taken;
  }

  /** The transactions of a new table, each with all of its Services, if they are not too large. `table` is what they make. */
  async *#pieces(table: Table, services: Services, node: KernelNode): AsyncGenerator<Piece> {
    let [text, size, alone] = [this.#skeleton("replace"), 0, true];
    for (let count = 0; count === 0 || count < services.length; ) {
      count += STEP;
      const script = table.update(services.slice(0, count), node);
      if (size > 0 && size + script.size > CHUNK) {
        yield { text, alone };
        [text, size, alone] = ["", 0, false];
      }
      if (script.size > CHUNK) {
        yield { text, alone };
        // The first of them has the chains.
        for (const chunk of script.chunks(CHUNK)) yield { text: chunk, alone: true };
        [text, alone] = ["", false];
      } else {
        text += script.text();
        size += script.size;
        alone ||= script.addsChains;
      }
      await turn();
    }
    yield { text: `${text}${stamp(this.#nft, this.#stampOf(table), false)}`, alone: true };
  }

  /** All of it in one transaction over what is there, at first so that clients keep their endpoints. */
  async #load(table: Table, script: Script, known: string | undefined): Promise<Ran> {
    const end = stamp(this.#nft, this.#stampOf(table), false);
    if (known !== undefined) {
      const kept = await this.#nftFile(`${this.#skeleton("keep")}${script.text()}${end}`);
      if (kept.code === 0) return kept;
    }
    return await this.#nftFile(`${this.#skeleton("replace")}${script.text()}${end}`);
  }

  /** Of which Services the lines are that nft named, after those of `before`. */
  #named(script: Script, { stderr }: Ran, before: string): ReadonlySet<string> {
    const skipped = before.split("\n").length - 1;
    const lines = [...stderr.matchAll(/^\/dev\/stdin:(\d+):\d+-\d+: Error: /gm)].map(
      ([, line]) => Number(line) - skipped,
    );
    return new Set(script.ownersOf(lines).filter((key) => key !== ""));
  }

  /** Those of them that nft refuses alone too. False where it refuses none. */
  async #refuseNamed(services: Services, node: KernelNode, named: ReadonlySet<string>): Promise<boolean> {
    if (named.size > NAMED_MAX) return false;
    let found = false;
    for (const key of named) {
      const ran = await this.#tryOnly(
        services.filter((each) => each.key === key),
        node,
      );
      if (ran.code !== 0) found = this.#refuse(services, key, whyOf(ran)) || found;
    }
    return found;
  }

  #refuse(services: Services, key: string, why: string): boolean {
    const service = services.find((each) => each.key === key);
    if (service === undefined || this.#refused.has(key)) return false;
    this.#refused.set(key, { service, why });
    return true;
  }

  /** Those of `suspects` that nft refuses together with `sound`, which it takes: each with the reason. */
  async #halve(suspects: readonly PlanService[], sound: Services, node: KernelNode): Promise<Map<string, string>> {
    const ran = await this.#tryOnly([...sound, ...suspects], node);
    if (ran.code === 0) return new Map();
    const [only, ...more] = suspects;
    if (only !== undefined && more.length === 0) return new Map([[only.key, whyOf(ran)]]);
    const middle = Math.ceil(suspects.length / 2);
    const [left, right] = [suspects.slice(0, middle), suspects.slice(middle)];
    const bad = await this.#halve(left, sound, node);
    const good = left.filter(({ key }) => !bad.has(key));
    return new Map([...bad, ...(await this.#halve(right, [...sound, ...good], node))]);
  }

  /** nft looks at it, and the kernel too, but nothing is changed. */
  async #tryOnly(services: Services, node: KernelNode): Promise<Ran> {
    const { script } = this.#whole(services, node);
    return await this.#effects.run("nft", ["-c", "-f", "-"], `${this.#skeleton("replace")}${script.text()}`);
  }

  #whole(services: Services, node: KernelNode): { readonly table: Table; readonly script: Script } {
    const table = this.#newTable();
    return { table, script: table.update(services, node) };
  }

  #newTable(): Table {
    return new Table({
      family: this.#family,
      settings: this.#settings,
      localAddresses: this.#effects.localAddresses,
    });
  }

  #accepted(services: Services): Services {
    return this.#refused.size === 0 ? services : services.filter(({ key }) => !this.#refused.has(key));
  }

  #problems(): readonly NodeProblem[] {
    const refused = [...this.#refused].map(
      ([service, { why }]): NodeProblem => ({
        service,
        reason: "RulesRefused",
        message: `nftables (${this.#family}) refused the rules of this Service: ${why}. It is not forwarded on this node until it changes; all others are`,
      }),
    );
    const conflicts = (this.#table?.conflicts ?? []).map(
      ({ loser, winner, key }): NodeProblem => ({
        service: loser.split(" ")[0] ?? "",
        reason: "FrontendConflict",
        message: `${key.replaceAll(" . ", " ")} is served for ${winner} already: give one of them another address or port`,
      }),
    );
    return [...refused, ...conflicts];
  }

  #skeleton(over: Parameters<typeof skeleton>[2]): string {
    return skeleton(this.#nft, this.#settings, over);
  }

  #stampOf(table: Table): string {
    return `${hash32(this.#skeleton("replace")).toString(16)} ${table.digest}`;
  }

  /** Undefined where there is no table of ours. */
  async #stampInKernel(): Promise<string | undefined> {
    const { code, stdout } = await this.#effects.run("nft", ["list", "set", this.#nft, TABLE, STAMP]);
    return code === 0 ? (/comment "([^"]*)"/.exec(stdout)?.[1] ?? "") : undefined;
  }

  async #nftFile(text: string): Promise<Ran> {
    return await this.#effects.run("nft", ["-f", "-"], text);
  }
}

const whyOf = ({ stderr }: Ran): string => stderr.trim().split("\n").slice(0, 3).join(" ").slice(0, 500);
