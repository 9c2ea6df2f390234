// iptables' programs of one family: which of them to use, how they are called, and what to do about it when they fail.
import type { Family } from "../../plan/endpoints.ts";
import { forEach, isForbidden, oneLine } from "../kernel/ran.ts";
import type { Ran, Run } from "../kernel/run.ts";
import { cleanupInput, type IsOurs } from "./cleanup.ts";
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
  #sectionSize: number | undefined;

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
    this.#sectionSize ??= await this.#sectionSizeOf(await this.#program());
    return this.#sectionSize;
  }

  async #sectionSizeOf(program: string): Promise<number> {
    const version = async () => (await this.#run(program, ["--version"])).stdout;
    const isNft = program.endsWith("-nft") || (await version()).includes("nf_tables");
    return isNft ? 1_000 : Number.POSITIVE_INFINITY;
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
    const [said] = ran.stdout.match(UNREADABLE) ?? [];
    return said === undefined ? ran : { code: 1, stdout: "", stderr: said.slice(2) };
  }

  /**
   * Removes all that `isOurs`, which is told by what iptables-save prints, in whatever may hold rules: the plain program is mostly one of
   * the others. `sign` is a chain in each table that has others of ours. Rejects where something may be left.
   */
  async remove(isOurs: (saved: string) => IsOurs, sign: string): Promise<void> {
    const { nft, legacy } = this.#names;
    await forEach([nft, legacy, this.#plain], async (program) => {
      const must = (ran: Ran) => {
        const refused = `iptables refused to remove the rules of ${this.family}: ${oneLine(ran.stderr)}`;
        if (ran.code !== 0) throw new Error(this.unable(ran) ?? refused);
      };
      const saved = await this.#run(`${program}-save`, []);
      if (saved.code !== 0 && HOLDS_NOTHING.test(saved.stderr) && !isForbidden(saved.stderr)) return;
      must(saved);
      const input = cleanupInput(saved.stdout, isOurs(saved.stdout), await this.#sectionSizeOf(program));
      if (input !== "") must(await this.#run(`${program}-restore`, ["--noflush", ...WAIT], input));
      for (const [said, table = ""] of saved.stdout.matchAll(UNREADABLE))
        if ((await this.#run(program, [...WAIT, "-t", table, "-S", sign])).code === 0)
          must({ code: 1, stdout: "", stderr: said.slice(2) });
    });
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

/** What is not installed, or not in the kernel, holds nothing. What was killed, or may not look, may hold something. */
const HOLDS_NOTHING =
  /cannot be run|does not exist|can't initialize|initialize nft|generation id: Invalid argument|not supported/i;
/** A table as iptables-nft-save prints one that it does not read. */
const UNREADABLE = /^# Table `(\S+)' is incompatible.*$/gm;

/** Rules that nft has written and iptables cannot express are in a table or chain of its names. */
const isForeign = (stderr: string): boolean => /`\S+' is incompatible|Parsing nftables rule failed/.test(stderr);
