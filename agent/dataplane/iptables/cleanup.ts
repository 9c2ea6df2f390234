// What iptables-save printed → the input of iptables-restore that removes all of ours from it. Pure.
import * as names from "./names.ts";
import { inSections, restoreInput, type TableInput } from "./restore.ts";

interface Table {
  readonly name: string;
  /** The kernel's own chains, which have a policy, and everybody else's. */
  readonly chains: { readonly name: string; readonly isKernels: boolean }[];
  /** `rule` is all that follows "-A chain ". */
  readonly rules: { readonly chain: string; readonly rule: string; readonly target: string | undefined }[];
}

/** Whether a chain of a table is to be removed. */
export type IsOurs = (table: string, chain: string) => boolean;

/** "" where nothing is ours. `size`: so many chains may be in one transaction. */
export function cleanupInput(saved: string, isOurs: IsOurs, size: number): string {
  const removals = tablesOf(saved).map((table) => removal(table, (chain) => isOurs(table.name, chain)));
  return restoreInput(removals.flatMap((each) => inSections(each, size)));
}

/** Chains that ipvs mode has too. Whose they are shows in what they ask: that mode's sets, or chains of Services. */
const alsoOfIpvs: Readonly<Record<string, readonly string[]>> = {
  nat: [names.SERVICES, names.POSTROUTING, names.MARK_MASQ, names.MARK_OUTSIDE],
  filter: [names.FORWARD, names.PROXY_FIREWALL],
};
export const isOfIpvs = (saved: string): boolean => /^-A KUBE-SERVICES .*--match-set KUBE-/m.test(saved);

/** What this mode has made in these tables: all that has its names, but for what ipvs mode has made since. */
export function madeHere(saved: string): IsOurs {
  const isIpvs = isOfIpvs(saved);
  return (table, chain) => names.isOurs(chain) && !(isIpvs && (alsoOfIpvs[table] ?? []).includes(chain));
}

function removal({ name, chains, rules }: Table, isOurs: (chain: string) => boolean): TableInput {
  const foreign = new Set(chains.filter((chain) => !chain.isKernels && !isOurs(chain.name)).map((each) => each.name));
  // A CNI's port mapping may use KUBE-MARK-MASQ in chains of its own. What it uses must stay.
  const kept = new Set(foreign);
  // A table may have a hundred thousand chains: each is looked up, and none searched for.
  const targets = Map.groupBy(rules, ({ chain }) => chain);
  for (const chain of kept) {
    for (const { target } of targets.get(chain) ?? []) if (target !== undefined) kept.add(target);
  }
  const gone = new Set(
    chains.filter((chain) => isOurs(chain.name) && !kept.has(chain.name)).map((chain) => chain.name),
  );
  const kernels = new Set(chains.filter((chain) => chain.isKernels).map((each) => each.name));
  const jumps = rules.filter(({ chain, target }) => kernels.has(chain) && target !== undefined && gone.has(target));
  return {
    table: name as TableInput["table"],
    first: jumps.map(({ chain, rule }) => `-D ${chain} ${rule}`),
    chains: new Map(),
    gone: [...gone],
  };
}

function tablesOf(saved: string): Table[] {
  const tables: Table[] = [];
  for (const line of saved.split("\n")) {
    const [first = "", second = "", ...rest] = line.split(" ");
    const table = tables.at(-1);
    if (first.startsWith("*")) tables.push({ name: first.slice(1), chains: [], rules: [] });
    else if (first.startsWith(":")) table?.chains.push({ name: first.slice(1), isKernels: second !== "-" });
    else if (first === "-A") {
      const rule = rest.join(" ");
      table?.rules.push({ chain: second, rule, target: / (?:-j|-g) (\S+)/.exec(` ${rule}`)?.[1] });
    }
  }
  return tables;
}
