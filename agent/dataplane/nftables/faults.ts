// Why nft failed, and what mends it. Pure.
import { isForbidden } from "../iptables/tools.ts";
import type { Ran } from "../kernel/run.ts";

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
