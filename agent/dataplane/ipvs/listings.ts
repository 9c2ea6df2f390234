// What `ipset save` and `ip -o addr show` print → what is there. Pure.
import { canonicalAddress } from "../../../src/shared/net/ranges.ts";
import { knownSets } from "./names.ts";

export interface Sets {
  /** Names of those of ours, or of kube-proxy's, that exist. */
  readonly existing: ReadonlySet<string>;
  /** "set entry" */
  readonly entries: ReadonlyMap<string, true>;
}

export function parseSets(saved: string): Sets {
  const existing = new Set<string>();
  const entries = new Map<string, true>();
  for (const line of saved.split("\n")) {
    const [command, set = "", entry = ""] = line.split(" ");
    if (!knownSets.has(set)) continue;
    if (command === "create") existing.add(set);
    else if (command === "add") entries.set(`${set} ${named(entry)}`, true);
  }
  return { existing, entries };
}

/** Name → number of entries, from `ipset list -terse`. */
export function parseSizes(listed: string): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const [, name = "", size] of listed.matchAll(/^Name: (\S+)$[^]*?^Number of entries: (\d+)$/gm))
    if (knownSets.has(name)) sizes.set(name, Number(size));
  return sizes;
}

/** ipset names protocols by /etc/protocols, and where that is missing it prints numbers. */
const named = (entry: string): string =>
  entry.replace(/(?<=,)(6|17|132)(?=:)/, (number) => ({ 6: "tcp", 17: "udp", 132: "sctp" })[number] ?? number);
/** And it reads numbers everywhere. */
export const numbered = (entry: string): string =>
  entry.replace(/(?<=,)(tcp|udp|sctp)(?=:)/, (name) => ({ tcp: "6", udp: "17", sctp: "132" })[name] ?? name);

export function parseAddresses(listed: string): ReadonlyMap<string, true> {
  const found = [...listed.matchAll(/^\d+: \S+\s+inet6? ([^/ ]+)/gm)];
  return new Map(found.map(([, text = ""]) => [canonicalAddress(text) ?? text, true]));
}
