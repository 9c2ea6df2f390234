// What iptables-save printed → the input of iptables-restore that removes all of ours from it. Pure.
import { isOurs } from "./names.ts";
import { restoreInput, type TableInput } from "./restore.ts";

interface Table {
  readonly name: string;
  /** The kernel's own chains, which have a policy, and everybody else's. */
  readonly chains: { readonly name: string; readonly isKernels: boolean }[];
  /** `rule` is all that follows "-A chain ". */
  readonly rules: { readonly chain: string; readonly rule: string; readonly target: string | undefined }[];
}

/** "" where nothing is ours. */
export function cleanupInput(saved: string): string {
  return restoreInput(tablesOf(saved).map(removal));
}

function removal({ name, chains, rules }: Table): TableInput {
  const foreign = new Set(chains.filter((chain) => !chain.isKernels && !isOurs(chain.name)).map((each) => each.name));
  // A CNI's port mapping may use KUBE-MARK-MASQ in chains of its own. What it uses must stay.
  const kept = new Set(foreign);
  for (const chain of kept)
    for (const each of rules) if (each.chain === chain && each.target !== undefined) kept.add(each.target);
  const gone = chains.filter((chain) => isOurs(chain.name) && !kept.has(chain.name)).map((chain) => chain.name);
  const kernels = new Set(chains.filter((chain) => chain.isKernels).map((each) => each.name));
  const jumps = rules.filter(
    ({ chain, target }) => kernels.has(chain) && target !== undefined && gone.includes(target),
  );
  return {
    table: name as TableInput["table"],
    first: jumps.map(({ chain, rule }) => `-D ${chain} ${rule}`),
    chains: new Map(),
    gone,
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
