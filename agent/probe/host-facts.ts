// What /proc says of the node's network, to a process without rights. It is the node's own where the agent's pod has hostNetwork.
import { readFile } from "node:fs/promises";
import type { NodeReport } from "../../src/shared/model/node-report.ts";

/** Modules that filter packets; a firewall of the host uses one of them, and so do kube-proxy and network plugins. */
const FILTERS = ["nf_tables", "iptable_filter", "ip6table_filter", "ebtable_filter", "bpfilter"];

/** `root`: for tests. */
export async function hostFacts(root = "/proc"): Promise<Pick<NodeReport, "conntrack" | "packetFilters">> {
  const of = "sys/net/netfilter/nf_conntrack";
  const [count, max, modules] = await Promise.all([
    numberIn(`${root}/${of}_count`),
    numberIn(`${root}/${of}_max`),
    textOf(`${root}/modules`),
  ]);
  const loaded = new Set(modules?.split("\n").map((line) => line.split(" ", 1)[0]));
  return {
    conntrack: count === undefined || max === undefined ? null : { count, max },
    packetFilters: modules === undefined ? null : FILTERS.filter((each) => loaded.has(each)),
  };
}

const textOf = async (path: string): Promise<string | undefined> => await readFile(path, "utf8").catch(() => undefined);

async function numberIn(path: string): Promise<number | undefined> {
  const text = (await textOf(path))?.trim() ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
