// iptables' programs of one family: which of them to use, how they are called, and what to do about it when they fail.
import type { Family } from "../../plan/endpoints.ts";
import type { Ran, Run } from "../kernel/run.ts";
import { isThere, type Jump, ruleOf } from "./jumps.ts";

/** Chains of the mangle table by which the kubelet, or a kube-proxy before us, shows which flavour this node uses. */
const HINTS = /^:(?:KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY|KUBE-PROXY-CANARY) /m;
/** Seconds to wait for the lock that all programs of the legacy flavour share. */
const WAIT = ["-w", "5"];

export class Tools {
  readonly family: Family;
  readonly #run: Run;
  readonly #plain: string;
  readonly #names: { readonly nft: string; readonly legacy: string };
  #chosen: string | undefined;
  #isNft: boolean | undefined;

  constructor(family: Family, run: Run) {
    this.family = family;
    this.#run = run;
    this.#plain = family === "IPv4" ? "iptables" : "ip6tables";
    this.#names = { nft: `${this.#plain}-nft`, legacy: `${this.#plain}-legacy` };
  }

  /** Rules of the other flavour are met by packets, too, but nobody who looks with one sees those of the other. */
  async #program(): Promise<string> {
    this.#chosen ??= await this.#choose();
    return this.#chosen;
  }

  async #choose(): Promise<string> {
    const { nft, legacy } = this.#names;
    if (HINTS.test((await this.#run(`${nft}-save`, ["-t", "mangle"])).stdout)) return nft;
    // Naming a table would make the kernel create it in this flavour.
    if (HINTS.test((await this.#run(`${legacy}-save`, [])).stdout)) return legacy;
    return this.#plain;
  }

  /**
   * So many chains may be in one transaction. iptables-nft takes a time that grows with their square, iptables-legacy writes
   * the whole table in each transaction.
   */
  async sectionSize(): Promise<number> {
    const program = await this.#program();
    const version = async () => (await this.#run(program, ["--version"])).stdout;
    this.#isNft ??= program.endsWith("-nft") || (await version()).includes("nf_tables");
    return this.#isNft ? 1_000 : Number.POSITIVE_INFINITY;
  }

  /** All tables of `input`, each by itself either wholly or not at all. Nothing else is touched. */
  async restore(input: string): Promise<Ran> {
    return this.#run(`${await this.#program()}-restore`, ["--noflush", "--counters", ...WAIT], input);
  }

  /** The rules of one chain, one a line. */
  async list(table: string, chain: string): Promise<Ran> {
    return this.#run(await this.#program(), [...WAIT, "-t", table, "-S", chain]);
  }

  /** True where a chain of ours is not there; false where it is, or where that cannot be asked. */
  async lacks(table: string, chain: string): Promise<boolean> {
    const ran = await this.list(table, chain);
    // iptables-nft says of a chain that is missing what it says of one with rules of nft's own.
    return ran.code !== 0 && (isForeign(ran.stderr) || this.unable(ran) === undefined);
  }

  /**
   * Which of these are not there. Only the chains that may hold them are read: a table may be large, and iptables-nft reads no table in
   * which there are rules of nft's own. Where they are in such a chain itself it is asked for each jump, which it finds before them.
   */
  async missing(jumps: readonly Jump[]): Promise<{ readonly failed: Ran } | { readonly missing: readonly Jump[] }> {
    const missing: Jump[] = [];
    for (const own of Map.groupBy(jumps, ({ table, chain }) => `${table} ${chain}`).values()) {
      const { table, chain } = own[0] as Jump;
      const listed = await this.list(table, chain);
      if (listed.code === 0) missing.push(...own.filter((jump) => !isThere(jump, listed.stdout)));
      else if (!isForeign(listed.stderr) && this.unable(listed) !== undefined) return { failed: listed };
      else
        for (const jump of own) {
          const asked = await this.#run(await this.#program(), [...WAIT, "-t", table, "-C", chain, ...ruleOf(jump)]);
          // 2: the chain to which it leads is not there either.
          if (asked.code === 1 || asked.code === 2) missing.push(jump);
          else if (asked.code !== 0) return { failed: asked };
        }
    }
    return { missing };
  }

  async save(table: string): Promise<Ran> {
    const ran = await this.#run(`${await this.#program()}-save`, ["-t", table]);
    // It ends well even where it has read nothing.
    return isForeign(ran.stdout) ? { code: 1, stdout: "", stderr: ran.stdout.replace("# ", "") } : ran;
  }

  /** Whatever may hold rules: prints all its tables that exist, and changes them. The plain program is mostly one of the others. */
  flavours(): readonly { readonly save: () => Promise<Ran>; readonly restore: (input: string) => Promise<Ran> }[] {
    const { nft, legacy } = this.#names;
    return [nft, legacy, this.#plain].map((program) => ({
      save: () => this.#run(`${program}-save`, []),
      restore: (input) => this.#run(`${program}-restore`, ["--noflush", ...WAIT], input),
    }));
  }

  /** Why nothing at all can be done on this node, and what mends it; undefined where the rules themselves were refused. */
  unable(ran: Ran): string | undefined {
    const { code, stderr } = ran;
    const tool = this.#chosen ?? this.#plain;
    const module =
      this.family === "IPv4"
        ? "iptable_nat iptable_filter iptable_mangle"
        : "ip6table_nat ip6table_filter ip6table_mangle";
    if (code === undefined && !stderr.includes("cannot be run")) return oneLine(stderr);
    if (code === undefined)
      return `${stderr.trim()}. The agent needs the package iptables in its image, or on this machine: apt-get install iptables`;
    if (isForbidden(stderr))
      return (
        `${tool} may not change this node's rules (${oneLine(stderr)}). The agent needs uid 0 and NET_ADMIN in the host's network, ` +
        "and NET_RAW with iptables-legacy: kubectl apply -k agent/manifests/overlays/iptables"
      );
    if (/xtables lock|holding the lock/i.test(stderr))
      return `another program has held the xtables lock for 5 s; find it by: fuser -v /run/xtables.lock`;
    if (isForeign(stderr))
      return (
        `${tool} cannot read what nft has put into its tables (${oneLine(stderr)}). Move those rules to a table of another name ` +
        '("table ip filter" is iptables\' own; /etc/nftables.conf may have it), or start the agent with --proxy-mode nftables'
      );
    if (/table does not exist|can't initialize/i.test(stderr))
      return `the kernel lacks a table (${oneLine(stderr)}). Load it: modprobe -a ${module}`;
    return undefined;
  }
}

export const isForbidden = (stderr: string): boolean =>
  /permission denied|operation not permitted|must be root/i.test(stderr);

/** Rules that nft has written and iptables cannot express are in a table or chain of its names. */
const isForeign = (said: string): boolean =>
  /^(?:# T|.*: t)able `\S+' is incompatible|chain `\S+' in table `\S+' is incompatible|Parsing nftables rule failed/m.test(
    said,
  );

export const oneLine = (stderr: string): string =>
  stderr
    .split("\n")
    .map((line) => line.trim())
    // Advice about the other flavour and about --help, and lines of an input that nobody sees.
    .filter((line) => line !== "" && !/^(?:#|Try |Error occurred at line)/.test(line))
    .join(" ")
    .slice(0, 300);
