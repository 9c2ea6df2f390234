// At which of the node's addresses NodePorts are served, and Services' health checks answered: one rule for all modes. Each family is
// asked for by itself. As in kube-proxy, a /0 is every local address, also one that comes later, and a list that has only CIDRs of
// the other family does not restrict this one. Pure.
import { familyOf, ofFamily, parseRange, within } from "../../../src/shared/net/ranges.ts";
import type { Family } from "../../plan/endpoints.ts";
import type { KernelSettings } from "./settings.ts";

type Settings = Pick<KernelSettings, "mode" | "nodePortAddresses">;
/** "all" includes addresses that come later. */
export type NodePortAddresses = "all" | readonly string[];

/** What the settings ask for, before anything is known of the node: "all", or "primary", "localhost" and CIDRs of this family. */
export function wantedNodePortAddresses(
  family: Family,
  { mode, nodePortAddresses: wanted }: Settings,
): NodePortAddresses {
  const given = wanted.length > 0 ? wanted : [mode === "nftables" ? "primary" : "all"];
  const own = given.filter((text) => !text.includes("/") || familyOf(text) === family);
  const isAll = (text: string) => text === "all" || parseRange(text)?.[1] === 0;
  return own.length === 0 || own.some(isAll) ? "all" : own;
}

/** `node`: the addresses of the Node object, the primary one of each family first; `local`: those of this machine. */
export function nodePortAddresses(
  family: Family,
  settings: Settings,
  node: readonly string[],
  local: readonly string[],
): NodePortAddresses {
  const wanted = wantedNodePortAddresses(family, settings);
  if (wanted === "all") return "all";
  const [ofNode, ofMachine] = [ofFamily(node, family), ofFamily(local, family)];
  const found = wanted.flatMap((each) => {
    if (each === "primary") return ofNode.slice(0, 1);
    return within(each === "localhost" ? ["127.0.0.0/8", "::1/128"] : [each], ofMachine);
  });
  return [...new Set(found)];
}
