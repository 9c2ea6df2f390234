// Why nft failed, and what mends it: whether it can do anything at all on this node, and what the kernel lacks. Trials change nothing.
import { isForbidden } from "../kernel/ran.ts";
import type { Ran } from "../kernel/run.ts";
import { type NftFamily, TABLE } from "./layout.ts";

/** What the kernel must be able to do for any Service. */
interface Requirement {
  /** As modprobe calls it. */
  readonly module: string;
  /** Of the chain; absent for one that no hook leads to. */
  readonly hook?: string;
  readonly rule: string;
}

function required(family: NftFamily): readonly Requirement[] {
  const suffix = family === "ip" ? "ipv4" : "ipv6";
  return [
    { module: "nf_tables", rule: "accept" },
    { module: "nft_chain_nat", hook: " { type nat hook prerouting priority -100; }", rule: "accept" },
    { module: "nft_ct", rule: "ct state new accept" },
    { module: `nft_fib_${suffix}`, rule: "fib daddr type local accept" },
    { module: "nft_numgen", rule: "meta mark set numgen random mod 2" },
    { module: "nft_nat", rule: "meta l4proto tcp dnat to :80" },
    { module: "nft_masq", rule: "masquerade fully-random" },
    { module: `nft_reject_${suffix}`, rule: "reject" },
    // Of IPv4 only some algorithms need it.
    ...(family === "ip6" ? [{ module: "nft_hash", rule: "meta mark set jhash ip6 saddr mod 2 seed 1" }] : []),
  ];
}

/**
 * Why nft refuses what every Service needs, and what mends it; undefined where it takes that. `start`: the table without Services, as a
 * script. `trial` gives it to nft.
 */
export async function lacking(
  family: NftFamily,
  start: string,
  trial: (text: string) => Promise<Ran>,
): Promise<string | undefined> {
  const chain = `${family} ${TABLE} probe`;
  const balance = `meta l4proto tcp dnat ${family} addr . port to meta priority . numgen random mod 2 map @slots-tcp`;
  const all = await trial(`${start}add chain ${chain}\nadd rule ${chain} ${balance}\n`);
  if (all.code === 0) return undefined;
  const why = unable(all);
  if (why !== undefined) return why;
  const modules: string[] = [];
  for (const { module, hook = "", rule } of required(family)) {
    const text = `add table ${family} ${TABLE}\nadd chain ${chain}${hook}\nadd rule ${chain} ${rule}\n`;
    if ((await trial(text)).code !== 0) modules.push(module);
  }
  const refused = `nft refused the rules that every Service needs (${wordsOf(all)})`;
  return modules.length === 0 ? refused : `${refused}. Load the modules on the node: modprobe -a ${modules.join(" ")}`;
}

/** Why nft can do nothing at all on this node, and what mends it; undefined where it refused what it was given. */
export function unable(ran: Ran): string | undefined {
  const { code, stderr } = ran;
  if (code === undefined && stderr.includes("ENOENT"))
    return `${stderr.trim()}. The agent needs the package nftables in its image, or on this machine: apt-get install nftables`;
  if (code === undefined)
    return (
      `${wordsOf(ran)} Mostly the node or the agent's pod has too little memory: see dmesg on the node, ` +
      "and leave resources.limits.memory of the agent's DaemonSet out"
    );
  if (isForbidden(stderr))
    return (
      `nft may not change this node's tables (${wordsOf(ran)}). The agent needs uid 0 and NET_ADMIN in the host's network: ` +
      "kubectl apply -k agent/manifests/overlays/nftables"
    );
  return undefined;
}

/** The beginning of what it said, in one line. */
export const wordsOf = ({ stderr }: Ran): string => stderr.trim().split("\n").slice(0, 3).join(" ").slice(0, 500);
