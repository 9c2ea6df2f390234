// What the kernel must be able to do for any Service at all, and how to find out what of it is missing. Pure.
import { fixedRules } from "./render.ts";
import type { Facts } from "./facts.ts";
import { CANARY } from "./names.ts";
import { restoreInput } from "./restore.ts";

interface Requirement {
  /** As modprobe calls it. */
  readonly module: string;
  readonly table: "filter" | "nat";
  readonly rule: string;
}

const required: readonly Requirement[] = [
  { module: "xt_conntrack", table: "filter", rule: "-m conntrack --ctstate NEW -j RETURN" },
  { module: "xt_comment", table: "filter", rule: "-m comment --comment probe -j RETURN" },
  { module: "xt_mark", table: "nat", rule: "-m mark ! --mark 0x1/0x1 -j MARK --or-mark 0x1" },
  { module: "xt_addrtype", table: "nat", rule: "-m addrtype --dst-type LOCAL -j RETURN" },
  { module: "xt_statistic", table: "nat", rule: "-m statistic --mode random --probability 0.5 -j RETURN" },
  { module: "xt_nat", table: "nat", rule: "-p tcp -m tcp --dport 1 -j DNAT --to-destination :1" },
  { module: "xt_MASQUERADE", table: "nat", rule: "-j MASQUERADE --random-fully" },
  { module: "ipt_REJECT", table: "filter", rule: "-j REJECT" },
];

/** Only Services with ClientIP affinity need it. */
const recent: Requirement = { module: "xt_recent", table: "nat", rule: `-m recent --name ${CANARY} --set -j RETURN` };

/** Only Services with ports of SCTP need it. */
const sctp: Requirement = { module: "xt_sctp", table: "nat", rule: "-p sctp -m sctp --dport 1 -j RETURN" };

/** A requirement, tried in a chain that nothing leads to. */
export interface Probe {
  readonly module: string;
  readonly input: string;
}

const probe = ({ module, table, rule }: Requirement, { family }: Facts): Probe => ({
  module: family === "IPv6" ? module.replace("ipt_", "ip6t_") : module,
  input: restoreInput([{ table, chains: new Map([[CANARY, [rule]]]) }]),
});

/** All at once, with the chains that do not depend on a Service. */
export function probeAll(facts: Facts): string {
  const fixed = fixedRules(facts);
  const rules = (of: Requirement["table"]) => required.filter(({ table }) => table === of).map(({ rule }) => rule);
  return restoreInput([
    { table: "filter", chains: new Map([...fixed.filter, [CANARY, rules("filter")]]) },
    { table: "nat", chains: new Map([...fixed.nat, [CANARY, rules("nat")]]) },
  ]);
}

export const probeEach = (facts: Facts): readonly Probe[] => required.map((each) => probe(each, facts));
export const probeRecent = (facts: Facts): Probe => probe(recent, facts);
export const probeSctp = (facts: Facts): Probe => probe(sctp, facts);
