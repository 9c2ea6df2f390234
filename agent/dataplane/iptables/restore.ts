// What must change → the input of iptables-restore. Pure.
import { NODEPORTS, SERVICES } from "./names.ts";
import type { Chains, FamilyRules, ServiceRules } from "./render.ts";

export interface TableInput {
  readonly table: "mangle" | "filter" | "nat";
  /** Commands that run before all others. */
  readonly first?: readonly string[];
  /** Made where they are missing, emptied, and filled. */
  readonly chains: Chains;
  /** Removed. A chain that is not there is no error. */
  readonly gone?: readonly string[];
}

export interface Difference {
  /** Whole chains; what did not change is not in it. */
  readonly filter: Chains;
  readonly nat: Chains;
  /** Chains of the nat table that are not needed any more. */
  readonly gone: readonly string[];
}

/** From `from`, which is what the kernel holds, to `to`. Without `from` everything is written. */
export function difference(from: FamilyRules | undefined, to: FamilyRules): Difference {
  const nat = new Map(changed(from?.nat, to.nat));
  const gone = new Set(missing(from?.nat, to.nat));
  for (const [key, rules] of to.services) {
    const before = from?.services.get(key);
    // A Service that did not change has the very same rules.
    if (before === rules) continue;
    for (const [chain, lines] of changed(before?.own, rules.own)) nat.set(chain, lines);
    for (const chain of missing(before?.own, rules.own)) gone.add(chain);
  }
  for (const [key, rules] of from?.services ?? []) {
    if (!to.services.has(key)) for (const chain of rules.own.keys()) gone.add(chain);
  }
  return { filter: new Map(changed(from?.filter, to.filter)), nat, gone: [...gone] };
}

export const isEmpty = ({ filter, nat, gone }: Difference): boolean =>
  filter.size === 0 && nat.size === 0 && gone.length === 0;

/** Keys of the Services whose own or shared rules differ. */
export function changedServices(from: FamilyRules | undefined, to: FamilyRules): readonly string[] {
  return [...to.services].flatMap(([key, rules]) => (from?.services.get(key) === rules ? [] : [key]));
}

const changed = (from: Chains | undefined, to: Chains): (readonly [string, readonly string[]])[] =>
  [...to].filter(([chain, rules]) => !isSame(from?.get(chain), rules));
const missing = (from: Chains | undefined, to: Chains): string[] =>
  [...(from?.keys() ?? [])].filter((chain) => !to.has(chain));
const isSame = (a: readonly string[] | undefined, b: readonly string[]): boolean =>
  a !== undefined && (a === b || (a.length === b.length && a.every((line, index) => line === b[index])));

/**
 * Each table is one transaction. The filter table comes first, so that a range or a refusal holds before the nat table lets
 * anything pass, or stops to rewrite it.
 */
export function restoreInput(tables: readonly TableInput[]): string {
  return tables
    .map(({ table, first = [], chains, gone = [] }) => {
      const removed = gone.filter((chain) => !chains.has(chain));
      const lines = [
        // A chain is declared before a rule may name it. A declaration empties the chain.
        ...[...chains.keys(), ...removed].map((chain) => `:${chain} - [0:0]`),
        ...first,
        ...[...chains].flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}`)),
        ...removed.map((chain) => `-X ${chain}`),
      ];
      return lines.length === 0 ? "" : `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
    })
    .join("");
}

/**
 * A large change as several transactions of at most `size` chains, since iptables-nft looks through all chains of a transaction for
 * each of its lines. What is led to comes before what leads there, and what is removed comes last, so a packet meets in between
 * the old or the new chain of a Service, and never a missing one.
 */
export function inSections(input: TableInput, size: number): readonly TableInput[] {
  const { table, first = [], chains, gone = [] } = input;
  if (chains.size + gone.length <= size) return [input];
  const ordered = [...chains].sort(([a], [b]) => rank(a) - rank(b));
  const filled = slices(ordered, size).map((slice) => ({ table, chains: new Map(slice) }));
  const removed = slices(
    [...gone].sort((a, b) => rank(b) - rank(a)),
    size,
  ).map((slice) => ({ table, chains: new Map<string, never>(), gone: slice }));
  // The kernel's own chains lead to the last one that is filled, and to none that is removed.
  const at = Math.max(filled.length - 1, 0);
  return [...filled, ...removed].map((section, index) => (index === at ? { ...section, first } : section));
}

/** Rules lead from a higher rank to a lower one. */
function rank(chain: string): number {
  const kind = order.findIndex((prefix) => chain.startsWith(prefix));
  return kind === -1 ? 0 : kind;
}
const order = ["KUBE-MARK-", "KUBE-SEP-", "KUBE-SV", "KUBE-EXT-", "KUBE-XLB-", "KUBE-FW-", NODEPORTS, SERVICES];

export const slices = <T>(list: readonly T[], size: number): readonly T[][] =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, index) => list.slice(index * size, (index + 1) * size));

/**
 * Tries the rules of some Services where no packet meets them: their own chains as they shall be, and what they put into shared
 * chains in `scratch`, a chain that nothing leads to.
 */
export function trialInput(services: readonly ServiceRules[], scratch: string): string {
  const filter = services.flatMap(({ shared }) => [
    ...[...shared.refused, ...shared.externalRefused, ...shared.firewall, ...shared.healthChecks],
  ]);
  const nat = services.flatMap(({ shared }) => [...shared.services, ...shared.nodePorts]);
  const own = services.flatMap((rules) => [...rules.own]);
  return restoreInput([
    { table: "filter", chains: new Map([[scratch, filter]]) },
    { table: "nat", chains: new Map([...own, [scratch, nat]]) },
  ]);
}
