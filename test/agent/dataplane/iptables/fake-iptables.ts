// iptables in memory: takes what iptables-restore reads, prints what `iptables -S` and iptables-save print. Like the kernel it
// takes a table wholly or not at all, empties a chain that is declared again, and refuses to remove one that is in use.
import type { Ran, Run } from "../../../../agent/dataplane/kernel/run.ts";

type Table = Map<string, string[]>;

const builtIn: Readonly<Record<string, readonly string[]>> = {
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
};

export class FakeIptables {
  readonly tables = new Map<string, Table>(
    Object.entries(builtIn).map(([name, chains]) => [name, new Map(chains.map((chain) => [chain, []]))]),
  );
  /** What was run: the program, and for a restore its input. */
  readonly calls: { readonly program: string; readonly input: string }[] = [];
  /** Rules that match it are refused, as by a kernel that lacks a module. */
  refuses: RegExp | undefined;
  /** Programs that there are. */
  installed: RegExp = /^iptables/;
  /** "filter", "filter INPUT": where nft has put rules that iptables cannot express; in a chain they come first. */
  readonly foreign = new Set<string>();
  /** Answers instead of the programs. */
  broken: Ran | undefined;

  readonly run: Run = (program, args, input = "") => {
    this.calls.push({ program, input });
    return Promise.resolve(this.#answer(program, args, input));
  };

  chain(table: string, name: string): readonly string[] | undefined {
    return this.tables.get(table)?.get(name);
  }

  /** Chains with their rules, in an order that does not depend on how they came to be. */
  dump(): string {
    return [...this.tables].map(([name, table]) => `*${name}\n${chainsOf(table).sort().join("\n")}`).join("\n");
  }

  #answer(program: string, args: readonly string[], input: string): Ran {
    if (!this.installed.test(program))
      return { code: undefined, stdout: "", stderr: `${program} cannot be run: spawn ${program} ENOENT` };
    if (this.broken !== undefined) return this.broken;
    if (args[0] === "--version") return done("iptables v1.8.9 (nf_tables)\n");
    if (program.endsWith("-restore")) return this.#restore(input);
    const of = args[args.indexOf("-t") + 1] ?? "";
    const table = this.tables.get(of) ?? new Map<string, string[]>();
    if (program.endsWith("-save")) {
      const tables = args.includes("-t") ? [[of, table] as const] : [...this.tables];
      const text = tables.map(([name, each]) =>
        this.foreign.has(name) ? `# Table \`${name}' is incompatible, use 'nft' tool.\n` : saved(name, each),
      );
      return done(text.join(""));
    }
    const [command, name = "", ...rule] = args.slice(args.indexOf("-t") + 2);
    if (command === "-C") return this.#has(of, name, rule);
    // As iptables 1.8.9 says of a chain that is not there, too.
    return table.has(name) && !this.foreign.has(`${of} ${name}`)
      ? done(listed(name, table).join("\n") + "\n")
      : failed(`iptables v1.8.9 (nf_tables): chain \`${name}' in table \`${of}' is incompatible, use 'nft' tool.`);
  }

  #has(table: string, name: string, rule: readonly string[]): Ran {
    const chain = this.chain(table, name) ?? [];
    const target = targetOf(rule.join(" ")) ?? "";
    if (target.startsWith("KUBE-") && this.chain(table, target) === undefined)
      return { ...failed(`Chain '${target}' does not exist`), code: 2 };
    const text = rule.map((word) => (word.includes(" ") ? `"${word}"` : word)).join(" ");
    if (chain.includes(text)) return done("");
    return this.foreign.has(`${table} ${name}`)
      ? { ...failed("iptables v1.8.9 (nf_tables): Parsing nftables rule failed"), code: 3 }
      : failed("iptables: Bad rule (does a matching rule exist in that chain?).");
  }

  #restore(input: string): Ran {
    for (const text of input.split(/^COMMIT\n/m)) {
      const [head = "", ...lines] = text.split("\n");
      const before = this.tables.get(head.slice(1));
      if (before === undefined) continue;
      const table: Table = new Map([...before].map(([chain, rules]) => [chain, [...rules]]));
      for (const line of lines) {
        const problem = this.#execute(line, table);
        if (problem !== undefined) return failed(problem);
      }
      const removed = new Set(lines.flatMap((line) => (line.startsWith("-X ") ? line.slice(3) : [])));
      const used = [...table.values()].flat().map(targetOf);
      if (removed.size > 0 && used.some((target) => target !== undefined && removed.has(target)))
        return failed("CHAIN_DEL failed (Device or resource busy)");
      this.tables.set(head.slice(1), table);
    }
    return done("");
  }

  #execute(line: string, table: Table): string | undefined {
    const [command = "", chain = "", ...rest] = line.split(" ");
    const rule = rest.join(" ");
    if (this.refuses?.test(line) === true) return `RULE_APPEND failed (No such file or directory): ${line}`;
    if (command.startsWith(":")) table.set(command.slice(1), []);
    else if (command === "-A") table.get(chain)?.push(rule);
    else if (command === "-N" && table.has(chain)) return "Chain already exists";
    else if (command === "-N") table.set(chain, []);
    else if (command === "-I") table.get(chain)?.unshift(rule);
    else if (command === "-D")
      table.set(
        chain,
        (table.get(chain) ?? []).filter((each) => each !== rule),
      );
    else if (command === "-X") table.delete(chain);
    else if (command !== "") return `what is ${line}?`;
    const target = command === "-A" || command === "-I" ? targetOf(rule) : undefined;
    if (target?.startsWith("KUBE-") === true && !table.has(target)) return `Chain '${target}' does not exist`;
    return table.has(chain) || !["-A", "-I"].includes(command) ? undefined : `Chain '${chain}' does not exist`;
  }
}

const targetOf = (rule: string) => / -j (\S+)/.exec(` ${rule}`)?.[1];
const done = (stdout: string): Ran => ({ code: 0, stdout, stderr: "" });
const failed = (stderr: string): Ran => ({ code: 1, stdout: "", stderr });
const isBuiltIn = (chain: string) => /^[A-Z]+$/.test(chain);
const listed = (chain: string, table: Table | undefined) => [
  isBuiltIn(chain) ? `-P ${chain} ACCEPT` : `-N ${chain}`,
  ...(table?.get(chain) ?? []).map((rule) => `-A ${chain} ${rule}`),
];
const chainsOf = (table: Table) => [...table.keys()].map((chain) => listed(chain, table).join("\n"));
const saved = (name: string, table: Table) =>
  `*${name}\n${[...table.keys()].map((chain) => `:${chain} ${isBuiltIn(chain) ? "ACCEPT" : "-"} [0:0]\n`).join("")}` +
  `${[...table].flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}\n`)).join("")}COMMIT\n`;
