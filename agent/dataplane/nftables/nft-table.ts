// One family's table in the kernel: which transactions bring it to what a plan asks for, and what is done where nft refuses one.
// - Nothing is known of the kernel's table at first, and after a failure: then all is written, over what is there, unless its stamp
//   says that it holds just that.
// - A refused transaction changes nothing in the kernel. nft names lines; the Service that is refused alone as well is left out until
//   it changes, all others are served, and its owner is told. Where that finds none, halving does. After each check() those that are
//   left out are tried by themselves: a module may have been loaded.
// - nft that was killed, or could not be started, says nothing of any Service, and neither does one that refuses what all of them need:
//   the apply rejects, and the next one tries again.
import { setImmediate as turn } from "node:timers/promises";
import type { Family } from "../../plan/endpoints.ts";
import type { KernelNode, PlanService } from "../../plan/plan.ts";
import { hash32 } from "../../../src/shared/balance/hash.ts";
import type { Checked, NodeProblem, Written } from "../executor.ts";
import type { Ran, Run } from "../kernel/run.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import { AFFINE_IDS, ENDPOINT_IDS } from "./elements.ts";
import { lacking, unable, wordsOf } from "./faults.ts";
import { HOOKED, STAMP, TABLE } from "./layout.ts";
import { type Script, skeleton, stamp } from "./script.ts";
import { Table } from "./table.ts";

/** Sorted as in a plan. */
type Services = readonly PlanService[];

export interface NftablesEffects {
  readonly run: Run;
  /** The addresses of this machine's interfaces. */
  readonly localAddresses: () => readonly string[];
  /** Milliseconds; the machine's clock if absent. */
  readonly now?: () => number;
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
/** So many trials by halves may fail, each of which may be of nearly all Services. A part that fails after them is refused as a whole. */
const FAILURES_MAX = 200;

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
  /** nft was killed while it wrote a new table. What there is of it nobody has relied on yet, and it is made anew in pieces. */
  #unfinished = false;
  /** The next apply tries again what is left out. */
  #retrying = false;
  /** Taken when they were tried alone. Refused once more, since others are in the way, they wait until all is renewed. */
  #retried = new WeakSet<PlanService>();
  /** Services that nft refused, and why. */
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
    if (this.#retrying) await this.#retry(services, node);
    await this.#write(services, node);
    this.#renewing = false;
    const written = { family: this.#family, failedCleanups: this.#failedCleanups };
    return { problems: this.#problems(), written };
  }

  renew(): void {
    this.#renewing = true;
    this.#retrying = true;
    this.#retried = new WeakSet();
  }

  /** Changed where somebody took the table or the rules of a hook away, or wrote the table. Costs the same whatever it holds. */
  async check(): Promise<Checked> {
    this.#retrying = true;
    if (this.#table !== undefined && !(await this.#isIntact(this.#table))) {
      this.#table = undefined;
      return "changed";
    }
    return this.#refused.size === 0 ? "intact" : "due";
  }

  forget(): void {
    this.#table = undefined;
  }

  async #isIntact(table: Table): Promise<boolean> {
    if ((await this.#stampInKernel()) !== this.#stampOf(table)) return false;
    // Each of these chains is held by the rule of a hook. Deleting it, which is only tried, must be refused.
    const tries = HOOKED.map((chain) => `delete chain ${this.#nft} ${TABLE} ${chain}\n`);
    const { stderr } = await this.#trial(tries.join(""));
    const busy = new Set([...stderr.matchAll(/^\/dev\/stdin:(\d+):.*(?:busy)/gim)].map(([, line]) => line));
    return busy.size === HOOKED.length;
  }

  /** Until the kernel has all but the refused. Rejects where it cannot have it. */
  async #write(services: Services, node: KernelNode): Promise<void> {
    if (this.#table !== undefined && (await this.#update(this.#table, services, node))) return;
    for (;;) {
      const known = await this.#stampInKernel();
      if (known === undefined || this.#unfinished) {
        if (await this.#loadNew(this.#accepted(services), node)) return;
        await this.#mustBeAble(node);
      }
      const { table, script } = this.#whole(this.#accepted(services), node);
      // Rules may be gone where the stamp is not.
      const stands = known === this.#stampOf(table) && !this.#renewing && (await this.#isIntact(table));
      const ran = stands ? nothingToDo : await this.#load(table, script, known);
      if (ran.code === 0) {
        this.#table = table;
        return;
      }
      await this.#mustBeAble(node);
      if (await this.#refuseNamed(services, node, this.#named(script, ran, this.#skeleton("replace")))) continue;
      const bad = await this.#halve(this.#accepted(services), [], node, { left: FAILURES_MAX });
      if (bad.size === 0) throw this.#failure(wordsOf(ran));
      for (const [key, why] of bad) this.#refuse(services, key, why);
    }
  }

  /** From what the kernel has to what it should have. False: nft refused that. */
  async #update(held: Table, services: Services, node: KernelNode): Promise<boolean> {
    // Until nft says so it is not known to be there.
    this.#table = undefined;
    const script = held.update(this.#accepted(services), node);
    // Before nft runs: what is used no more since just now is too young, however long that takes.
    const sweep = held.sweep();
    const ran = script.empty
      ? nothingToDo
      : await this.#nftFile(`${script.text()}${stamp(this.#nft, this.#stampOf(held), true)}`);
    if (ran.code !== 0) {
      await this.#mustBeAble(node);
      await this.#refuseNamed(services, node, this.#named(script, ran, ""));
      return false;
    }
    this.#table = held;
    await this.#cleanUp(held, sweep);
    if (!this.#renewing || (await this.#renewOver(held, services, node))) return true;
    this.#table = undefined;
    return false;
  }

  async #cleanUp(table: Table, sweep: Script): Promise<void> {
    if (sweep.empty) return;
    const { code } = await this.#effects.run("nft", ["-f", "-"], sweep.text());
    table.swept(sweep, code === 0);
    if (code !== 0) this.#failedCleanups++;
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
    this.#table = undefined;
    if ((await this.#nftFile(`${this.#skeleton("keep")}${script.text()}${end}`)).code !== 0) return false;
    this.#table = table;
    table.inherit(held);
    await this.#cleanUp(table, table.sweep(0));
    return true;
  }

  /** A table where there is none: in pieces that are written while the next ones are rendered. False: nft refused one. */
  async #loadNew(services: Services, node: KernelNode): Promise<boolean> {
    const table = this.#newTable();
    const writing: Promise<Ran>[] = [];
    let alone = false;
    let failed: Ran | undefined;
    const settle = async (left: number) => {
      for (let ran: Ran | undefined; writing.length > left; ) {
        ran = await writing.shift();
        if (ran?.code !== 0) failed ??= ran;
      }
    };
    for await (const piece of this.#pieces(table, services, node)) {
      await settle(alone || piece.alone ? 0 : WRITERS - 1);
      if (failed !== undefined) break;
      // What it says is asked for once none runs any more.
      writing.push(this.#effects.run("nft", ["-f", "-"], piece.text));
      ({ alone } = piece);
    }
    await settle(0);
    this.#unfinished = failed !== undefined && failed.code === undefined;
    if (failed !== undefined) this.#ended(failed);
    else this.#table = table;
    return failed === undefined;
  }

  /** The transactions of a new table, each with all of its Services, if they are not too large. `table` is what they make. */
  async *#pieces(table: Table, services: Services, node: KernelNode): AsyncGenerator<Piece> {
    // A table that is in use is not taken away until all of another one is there.
    let [text, size, alone] = [this.#skeleton(this.#unfinished ? "replace" : "nothing"), 0, true];
    for (let count = 0; count === 0 || count < services.length; ) {
      count += STEP;
      const script = table.update(services.slice(0, count), node);
      if (size > 0 && size + script.size > CHUNK) {
        yield { text, alone };
        [text, size, alone] = ["", 0, false];
      }
      if (script.size > CHUNK) {
        if (text !== "") yield { text, alone };
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
      if (ran.code !== 0) found = this.#refuse(services, key, wordsOf(ran)) || found;
    }
    return found;
  }

  /** Leaves out no longer what nft takes by itself now: all of it, else of at most NAMED_MAX Services, each in its turn. */
  async #retry(services: Services, node: KernelNode): Promise<void> {
    this.#retrying = false;
    const left = services.filter((each) => this.#refused.has(each.key) && !this.#retried.has(each));
    if (left.length === 0) return;
    const all = await this.#tryOnly(left, node);
    const inTurn = [...this.#refused.values()].map(({ service }) => service).filter((each) => !this.#retried.has(each));
    for (const service of all.code === 0 ? left : inTurn.slice(0, NAMED_MAX)) {
      const ran = all.code === 0 ? all : await this.#tryOnly([service], node);
      this.#refused.delete(service.key);
      if (ran.code === 0) this.#retried.add(service);
      // Behind those that have waited longer.
      else this.#refused.set(service.key, { service, why: wordsOf(ran) });
    }
  }

  #refuse(services: Services, key: string, why: string): boolean {
    const service = services.find((each) => each.key === key);
    if (service === undefined || this.#refused.has(key)) return false;
    this.#refused.set(key, { service, why });
    return true;
  }

  /** Those of `suspects` that nft refuses together with `sound`, which it takes: each with the reason. */
  async #halve(
    suspects: Services,
    sound: Services,
    node: KernelNode,
    failures: { left: number },
  ): Promise<Map<string, string>> {
    const ran = await this.#tryOnly([...sound, ...suspects], node);
    if (ran.code === 0) return new Map();
    const [only, ...more] = suspects;
    if (only !== undefined && more.length === 0) return new Map([[only.key, wordsOf(ran)]]);
    if (failures.left-- <= 0)
      return new Map(suspects.map(({ key }) => [key, "too many Services were refused before it; mend those first"]));
    const middle = Math.ceil(suspects.length / 2);
    const [left, right] = [suspects.slice(0, middle), suspects.slice(middle)];
    const bad = await this.#halve(left, sound, node, failures);
    const good = left.filter(({ key }) => !bad.has(key));
    return new Map([...bad, ...(await this.#halve(right, [...sound, ...good], node, failures))]);
  }

  /** Rejects where nft refuses what every Service needs: then it is the fault of none. */
  async #mustBeAble(node: KernelNode): Promise<void> {
    const why = await lacking(this.#nft, this.#anew([], node), (text) => this.#trial(text));
    if (why !== undefined) throw this.#failure(why);
  }

  async #tryOnly(services: Services, node: KernelNode): Promise<Ran> {
    return await this.#trial(this.#anew(services, node));
  }

  /** A script that makes the table with nothing but these. */
  #anew(services: Services, node: KernelNode): string {
    return `${this.#skeleton("replace")}${this.#whole(services, node).script.text()}`;
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
      now: this.#effects.now ?? (() => performance.now()),
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
        message: `nftables (${this.#family}) refused the rules of this Service: ${why}. It is not forwarded on this node until nftables takes them, which is tried again, or it changes; all others are`,
      }),
    );
    const conflicts = (this.#table?.conflicts ?? []).map(
      ({ loser, winner, key }): NodeProblem => ({
        service: loser.split(" ")[0] ?? "",
        reason: "FrontendConflict",
        message: `${key.replaceAll(" . ", " ")} is served for ${winner} already: give one of them another address or port`,
      }),
    );
    const forgetful = [...(this.#table?.forgetful ?? [])].map((name): NodeProblem => {
      const [service = "", ...port] = name.split(" ");
      return {
        service,
        reason: "AffinityNotSupported",
        message: `sessionAffinity ClientIP is not kept for ${port.join(" ")} of ${this.#family}: nftables can remember clients of ${ENDPOINT_IDS - 1} endpoints a port, and of ${(AFFINE_IDS >> 1) - 1} ports. Let it have fewer, or use --proxy-mode iptables`,
      };
    });
    return [...refused, ...conflicts, ...forgetful];
  }

  #skeleton(over: Parameters<typeof skeleton>[2]): string {
    return skeleton(this.#nft, this.#settings, over);
  }

  #stampOf(table: Table): string {
    return `${hash32(this.#skeleton("replace")).toString(16)} ${table.digest}`;
  }

  /** Undefined where nft says that it is not there, "" where it does not say what it is. */
  async #stampInKernel(): Promise<string | undefined> {
    const ran = await this.#effects.run("nft", ["list", "set", this.#nft, TABLE, STAMP]);
    const { stdout, stderr } = this.#ended(ran);
    return stderr.includes("No such file or directory") ? undefined : (/comment "([^"]*)"/.exec(stdout)?.[1] ?? "");
  }

  async #nftFile(text: string): Promise<Ran> {
    return this.#ended(await this.#effects.run("nft", ["-f", "-"], text));
  }

  /** nft looks at it, and the kernel too, but nothing is changed. */
  async #trial(text: string): Promise<Ran> {
    return this.#ended(await this.#effects.run("nft", ["-c", "-f", "-"], text));
  }

  /** Throws where nft was killed or could not be started: that is no answer. */
  #ended(ran: Ran): Ran {
    if (ran.code === undefined) throw this.#failure(unable(ran) ?? wordsOf(ran));
    return ran;
  }

  #failure(why: string): Error {
    return new Error(`nft cannot write the rules of ${this.#family}: ${why}`);
  }
}

const nothingToDo: Ran = { code: 0, stdout: "", stderr: "" };
