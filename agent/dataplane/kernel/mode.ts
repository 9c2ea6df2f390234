// Which mode an agent takes that was told none: nftables where kernel and nft can do it, else iptables.
import { release } from "node:os";
import type { Run } from "./run.ts";
import type { ProxyMode } from "./settings.ts";

/** Before it, nftables lacks what the rules use. */
const KERNEL: Version = [5, 13, 0];
const NFT: Version = [1, 0, 1];

export type Version = readonly [number, number, number];

export interface Chosen {
  readonly mode: ProxyMode;
  /** In words, for the log. */
  readonly because: string;
}

export async function chooseMode(run: Run, kernel = release()): Promise<Chosen> {
  const { code, stdout } = await run("nft", ["--version"]);
  return modeFor(kernel, code === 0 ? stdout : undefined);
}

/** `kernel`: as uname writes it; `nft`: as `nft --version` writes it, undefined where there is none. Pure. */
export function modeFor(kernel: string, nft: string | undefined): Chosen {
  const iptables = (because: string): Chosen => ({ mode: "iptables", because });
  if (nft === undefined) return iptables("nft is not installed");
  if (!isAtLeast(kernel, KERNEL)) return iptables(`kernel ${kernel} is older than ${KERNEL[0]}.${KERNEL[1]}`);
  if (!isAtLeast(nft, NFT)) return iptables(`${nft.trim()} is older than ${NFT.join(".")}`);
  return { mode: "nftables", because: `kernel ${kernel} and ${nft.trim()} can` };
}

/** The first number with a dot counts: "6.1.0-18-amd64", "nftables v1.0.6 (Lester Gooch #5)". */
export function isAtLeast(text: string, wanted: Version): boolean {
  const found =
    /(\d+)\.(\d+)(?:\.(\d+))?/
      .exec(text)
      ?.slice(1)
      .map((part) => Number(part ?? 0)) ?? [];
  for (const [at, number] of wanted.entries()) if (found[at] !== number) return (found[at] ?? -1) > number;
  return true;
}
