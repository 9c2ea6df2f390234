// nft and the kernel's tables, as far as the executor uses them: it carries out scripts as a whole or not at all, with the kernel's
// refusals. kernel.test.ts runs the same plans in a real kernel, which is how this fake is known to be right.
import type { Ran, Run } from "../../../../agent/dataplane/kernel/run.ts";

export interface FakeTable {
  readonly sets: Map<string, Map<string, string>>;
  readonly chains: Map<string, string[]>;
}

export class FakeNft {
  tables = new Map<string, FakeTable>();
  /** Scripts that changed something, in order. */
  readonly scripts: string[] = [];
  /** A line that is refused, as by a kernel that has not the means. */
  refuses: RegExp | undefined;
  /** What it says of such a line. */
  why = "Invalid argument";
  /** Whether nft names the line at fault. */
  names = true;
  /** Each run, by what it was given: whether it is killed before it did anything. */
  kills: ((input: string) => boolean) | undefined;
  /** What it says instead of listing anything. */
  unreadable: string | undefined;
  /** What was only tried. */
  readonly trials: string[] = [];

  readonly run: Run = (_program, args, input = "") => {
    if (this.kills?.(input) === true)
      return Promise.resolve({ code: undefined, stdout: "", stderr: "nft was ended by SIGKILL. " });
    if (args[0] === "list") return Promise.resolve(this.#list(args));
    const check = args[0] === "-c";
    if (check) this.trials.push(input);
    const before = structuredClone(this.tables);
    const errors = this.#script(input);
    if (errors.length > 0 || check) this.tables = before;
    else this.scripts.push(input);
    return Promise.resolve({ code: errors.length > 0 ? 1 : 0, stdout: "", stderr: errors.join("\n") });
  };

  table(family: "ip" | "ip6"): FakeTable {
    const table = this.tables.get(`${family} postern`);
    if (table === undefined) throw new Error("No such file or directory");
    return table;
  }

  #list([, , family, name, set = ""]: readonly string[]): Ran {
    if (this.unreadable !== undefined) return { code: 1, stdout: "", stderr: this.unreadable };
    const elements = this.tables.get(`${family} ${name}`)?.sets.get(set);
    if (elements === undefined) return { code: 1, stdout: "", stderr: "Error: No such file or directory" };
    return {
      code: 0,
      stdout: `elements = { ${[...elements].map(([key, text]) => `${key}${text}`).join(", ")} }`,
      stderr: "",
    };
  }

  /** What was refused, as nft says it. */
  #script(input: string): string[] {
    const errors: string[] = [];
    let open: ((element: string) => void) | undefined;
    input.split("\n").forEach((line, index) => {
      const at = (why: string) =>
        errors.push(`${this.names ? `/dev/stdin:${index + 1}:1-9: ` : ""}Error: Could not process rule: ${why}`);
      try {
        if (this.refuses?.test(line) === true) throw new Error(this.why);
        if (line === "}") open = undefined;
        else if (open !== undefined) open(line.replace(/,$/, ""));
        else if (line !== "") open = this.#command(line);
      } catch (error) {
        at((error as Error).message);
      }
    });
    return errors;
  }

  /** What takes the elements of the lines that follow. */
  #command(line: string): ((element: string) => void) | undefined {
    const [verb = "", what = "", family = "", name = "", ...rest] = line.split(" ");
    const key = `${family} ${name}`;
    if (what === "table") {
      if (verb === "delete" && !this.tables.delete(key)) throw new Error("No such file or directory");
      if (verb === "create" && this.tables.has(key)) throw new Error("File exists");
      if (verb !== "delete" && verb !== "flush" && !this.tables.has(key))
        this.tables.set(key, { sets: new Map(), chains: new Map() });
      if (verb === "flush") for (const rules of this.#table(key).chains.values()) rules.length = 0;
      return undefined;
    }
    const table = this.#table(key);
    const [first = "", ...more] = rest;
    if (what === "set" || what === "map") {
      if (verb === "add" && !table.sets.has(first)) table.sets.set(first, new Map());
      if (verb === "flush") setOf(table, first).clear();
    } else if (what === "chain") {
      if (verb === "add" && !table.chains.has(first)) table.chains.set(first, []);
      if (verb === "flush") chainOf(table, first).length = 0;
      if (verb === "delete") {
        if (leadsTo(table, first)) throw new Error("Device or resource busy");
        if (!table.chains.delete(first)) throw new Error("No such file or directory");
      }
    } else if (what === "rule") {
      const text = more.join(" ");
      for (const [, chain = ""] of text.matchAll(/(?:goto|jump) ([\w-]+)/g)) chainOf(table, chain);
      for (const [, set = ""] of text.matchAll(/@([\w-]+)/g)) setOf(table, set);
      chainOf(table, first).push(text);
    } else if (what === "element") {
      const set = setOf(table, first);
      const take = verb === "add" ? adder(table, set) : deleter(set);
      const inline = /\{ (.*) \}$/.exec(line)?.[1];
      if (inline === undefined) return take;
      take(inline);
    } else throw new Error(`syntax error: ${line}`);
    return undefined;
  }

  #table(key: string): FakeTable {
    const table = this.tables.get(key);
    if (table === undefined) throw new Error("No such file or directory");
    return table;
  }
}

function setOf({ sets }: FakeTable, name: string): Map<string, string> {
  const set = sets.get(name);
  if (set === undefined) throw new Error("No such file or directory");
  return set;
}

function chainOf({ chains }: FakeTable, name: string): string[] {
  const chain = chains.get(name);
  if (chain === undefined) throw new Error("No such file or directory");
  return chain;
}

/** 'key comment "…" : value' */
const adder = (table: FakeTable, set: Map<string, string>) => (element: string) => {
  const [, key = "", comment = "", value = ""] =
    /^(.*?)( comment "[^"]*")?(?: : ((?:goto )?\S.*))?$/.exec(element) ?? [];
  const chain = /^goto (.*)$/.exec(value)?.[1];
  if (chain !== undefined) chainOf(table, chain);
  const known = set.get(key);
  const text = set.size === 0 && value === "" && comment !== "" ? comment : value;
  if (known !== undefined && known !== text) throw new Error("File exists");
  set.set(key, text);
};

const deleter = (set: Map<string, string>) => (key: string) => {
  if (!set.delete(key)) throw new Error("No such file or directory");
};

function leadsTo({ sets, chains }: FakeTable, name: string): boolean {
  const values = [...sets.values()].flatMap((set) => [...set.values()]);
  const rules = [...chains.values()].flat();
  return values.includes(`goto ${name}`) || rules.some((rule) => new RegExp(`(goto|jump) ${name}\\b`).test(rule));
}
