// At which of the node's addresses NodePorts are served, and Services' health checks answered. Pure.
import { within } from "../../../src/shared/net/ranges.ts";
import type { KernelSettings } from "./settings.ts";

/**
 * `node`: the addresses of the Node object, the primary one of each family first; `local`: those of this machine. "all" includes
 * addresses that come later.
 */
export function nodePortAddresses(
  { mode, nodePortAddresses: wanted }: Pick<KernelSettings, "mode" | "nodePortAddresses">,
  node: readonly string[],
  local: readonly string[],
): "all" | readonly string[] {
  const given = wanted.length > 0 ? wanted : [mode === "nftables" ? "primary" : "all"];
  if (given.includes("all")) return "all";
  const primary = [node.find((address) => !address.includes(":")), node.find((address) => address.includes(":"))];
  const found = given.flatMap((each) => {
    if (each === "primary") return primary.filter((address) => address !== undefined);
    if (each === "localhost") return within(["127.0.0.0/8", "::1/128"], local);
    return within([each], local);
  });
  return [...new Set(found)];
}
