// One transaction for nft, as text. Its order is what nft and the kernel need: chains before what leads to them, deletions before
// additions, so that an element may get another value. It knows whose each line is. Pure.
import { hash32 } from "../../../src/shared/balance/hash.ts";
import type { KernelSettings } from "../kernel/settings.ts";
import type { Element } from "../kernel/claims.ts";
import { affinityMap, chains, type NftFamily, STAMP, TABLE, writtenSets } from "./layout.ts";

/** Elements of a set, one a line: nft says by line which of them it refuses. */
interface Lines {
  readonly text: string[];
  readonly owners: string[];
}

export class Script {
  readonly #family: NftFamily;
  readonly #added = new Map<string, Lines>();
  readonly #deleted = new Map<string, Lines>();
  readonly #chains: Lines = { text: [], owners: [] };
  /** Chains that it deletes. */
  readonly sweeps: string[] = [];
  /** Of whom the next lines are: "namespace/name", "" for the node. */
  owner = "";
  /** What the digest of the table grows by with this script, in two halves of 32 bits. */
  readonly digest = { a: 0, b: 0 };

  constructor(family: NftFamily) {
    this.#family = family;
  }

  add({ set, key, value, comment }: Element): void {
    const note = comment === undefined ? "" : ` comment "${comment}"`;
    this.#push(linesOf(this.#added, set), `${key}${note}${value === undefined ? "" : ` : ${value}`}`);
    this.count(`${set} ${key} ${value ?? ""}`, 1);
  }

  delete({ set, key, value }: Element): void {
    this.#push(linesOf(this.#deleted, set), key);
    this.count(`${set} ${key} ${value ?? ""}`, -1);
  }

  addChain(name: string, rules: readonly string[]): void {
    // An earlier agent may have left one of that name, with the same rules.
    const lines = ["add chain", "flush chain"].map((verb) => this.#line(verb, name));
    for (const line of [...lines, ...rules.map((rule) => this.#line("add rule", `${name} ${rule}`))])
      this.#push(this.#chains, line);
  }

  sweepChain(name: string): void {
    this.sweeps.push(name);
  }

  /** `what`, an element or the rules of a chain, is in the table that the digest is of, or no more. */
  count(what: string, sign: 1 | -1): void {
    this.digest.a = (this.digest.a + sign * hash32(what)) >>> 0;
    this.digest.b = (this.digest.b + sign * hash32(`${what} `)) >>> 0;
  }

  get empty(): boolean {
    const sizes = [this.#added.size, this.#deleted.size, this.#chains.text.length, this.sweeps.length];
    return sizes.every((size) => size === 0);
  }

  get addsChains(): boolean {
    return this.#chains.text.length > 0;
  }

  /** Elements that it adds. */
  get size(): number {
    return [...this.#added.values()].reduce((sum, { text }) => sum + text.length, 0);
  }

  /** "" where it changes nothing. Line by line as ownersOf() counts them. */
  text(): string {
    const elements = (verb: string, sets: ReadonlyMap<string, Lines>) =>
      [...sets].map(([set, { text }]) => this.#elements(verb, set, text));
    const lines = (texts: readonly string[]) => texts.map((line) => `${line}\n`);
    return [
      ...lines(this.#chains.text),
      ...elements("delete", this.#deleted),
      ...elements("add", this.#added),
      // Added, since one that is gone already would keep all others from being deleted.
      ...lines(this.sweeps.flatMap((name) => ["add chain", "delete chain"].map((verb) => this.#line(verb, name)))),
    ].join("");
  }

  /** Whose these lines are, counted from 1 in text(). Lines of nobody are left out. */
  ownersOf(lines: readonly number[]): readonly string[] {
    const elements = (sets: ReadonlyMap<string, Lines>) =>
      [...sets.values()].flatMap(({ owners }) => [undefined, ...owners, undefined]);
    const all = [...this.#chains.owners, ...elements(this.#deleted), ...elements(this.#added)];
    return lines.flatMap((line) => all[line - 1] ?? []);
  }

  /**
   * The same in pieces of at most `size` elements, for a table that nobody uses yet. Frontends come last, so that a Service appears
   * when all of it is there.
   */
  *chunks(size: number): Iterable<string> {
    if (this.addsChains) yield this.#chains.text.map((line) => `${line}\n`).join("");
    const isFrontend = (set: string) => set.endsWith("frontends");
    const sets = [...this.#added].toSorted(([a], [b]) => Number(isFrontend(a)) - Number(isFrontend(b)));
    for (const [set, { text }] of sets)
      for (let at = 0; at < text.length; at += size) yield this.#elements("add", set, text.slice(at, at + size));
  }

  #push({ text, owners }: Lines, line: string): void {
    text.push(line);
    owners.push(this.owner);
  }

  #elements(verb: string, set: string, text: readonly string[]): string {
    return `${this.#line(`${verb} element`, set)} {\n${text.join(",\n")}\n}\n`;
  }

  /** ("add element", "slots-tcp") → "add element ip postern slots-tcp" */
  #line(verb: string, rest: string): string {
    return `${verb} ${this.#family} ${TABLE} ${rest}`;
  }
}

/**
 * The table without Services, to be followed by a Table's first script in the same transaction. "keep": over what is there, so
 * that the kernel's memory of clients stays. "replace": whatever is there goes, which another version's table needs. "nothing": fails
 * where there is a table. "rules": a transaction by itself; only the rules are written anew, and elements stay.
 */
export function skeleton(
  family: NftFamily,
  settings: KernelSettings,
  over: "keep" | "replace" | "nothing" | "rules",
): string {
  const at = `${family} ${TABLE}`;
  const sets = [...writtenSets(family)];
  const all = chains(family, settings);
  return [
    `${over === "nothing" ? "create" : "add"} table ${at}`,
    ...(over === "replace" ? [`delete table ${at}`, `add table ${at}`] : []),
    ...sets.map(([name, definition]) => `add ${place(at, name)} { ${definition} }`),
    `add ${place(at, "map affinity")} { ${affinityMap(family)} }`,
    ...(over === "keep" ? [`flush table ${at}`, ...sets.map(([name]) => `flush ${place(at, name)}`)] : []),
    ...all.map(({ name, hook }) => `add chain ${at} ${name}${hook === undefined ? "" : ` { ${hook}; }`}`),
    ...(over === "rules" ? all.map(({ name }) => `flush chain ${at} ${name}`) : []),
    ...all.flatMap(({ name, rules }) => rules.map((rule) => `add rule ${at} ${name} ${rule}`)),
    "",
  ].join("\n");
}

/** Says what the table holds after the transaction that it is part of. `known`: the table has a stamp already. */
export function stamp(family: NftFamily, text: string, known: boolean): string {
  const at = `${family} ${TABLE} ${STAMP}`;
  return `${known ? `delete element ${at} { 1 }\n` : ""}add element ${at} { 1 comment "${text}" }\n`;
}

/** "set cluster-ips" → "set ip postern cluster-ips" */
function place(at: string, name: string): string {
  const [kind = "", bare = ""] = name.split(" ");
  return `${kind} ${at} ${bare}`;
}

function linesOf(sets: Map<string, Lines>, set: string): Lines {
  let lines = sets.get(set);
  if (lines === undefined) sets.set(set, (lines = { text: [], owners: [] }));
  return lines;
}
