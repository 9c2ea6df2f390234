// Why iptables-restore refused a change: it names a line at best, and a table at worst. So parts of the change are tried by
// themselves, in chains that no packet meets.
import type { Ran } from "../kernel/run.ts";
import type { Facts } from "./facts.ts";
import { CANARY } from "./names.ts";
import type { ServiceRules } from "./render.ts";
import { probeAll, probeEach, probeRecent, probeSctp } from "./requirements.ts";
import { slices, trialInput } from "./restore.ts";
import { oneLine } from "../kernel/ran.ts";

/** Gives it to iptables-restore. */
export type Trial = (input: string) => Promise<Ran>;

/** So many trials may fail to find the Services that are refused. A part that fails after them is refused as a whole. */
const FAILURES_MAX = 200;
/** Services in one trial. Their chains are one transaction, whose time grows with the square of their number. */
const TRIAL_SIZE = 250;

/** What the kernel lacks for any Service at all, in words; undefined where it lacks nothing. */
export async function missingModules(facts: Facts, trial: Trial): Promise<string | undefined> {
  const all = await trial(probeAll(facts));
  if (all.code === 0) return undefined;
  const modules: string[] = [];
  for (const { module, input } of probeEach(facts)) if ((await trial(input)).code !== 0) modules.push(module);
  return modules.length === 0
    ? `iptables refused the rules that every Service needs: ${oneLine(all.stderr)}`
    : `the kernel refuses rules that every Service needs. Load the modules: modprobe -a ${modules.join(" ")}`;
}

export async function lacksRecent(facts: Facts, trial: Trial): Promise<boolean> {
  return (await trial(probeRecent(facts).input)).code !== 0;
}

/** The Services with rules of SCTP, where the kernel can do none: key → what mends it. */
async function withoutSctp(services: ReadonlyMap<string, ServiceRules>, facts: Facts, trial: Trial) {
  const theirs = [...services].filter(([, rules]) => trialInput([rules], CANARY).includes("-p sctp "));
  if (theirs.length === 0 || (await trial(probeSctp(facts).input)).code === 0) return new Map<string, string>();
  const why = "the kernel has no xt_sctp. Load it on the node: modprobe xt_sctp";
  return new Map(theirs.map(([key]) => [key, why]));
}

/** Key → what iptables said of it. By halves: k refused Services among n take about k · log n trials. */
export async function refusedServices(
  services: ReadonlyMap<string, ServiceRules>,
  facts: Facts,
  trial: Trial,
): Promise<ReadonlyMap<string, string>> {
  const refused = await withoutSctp(services, facts, trial);
  let failures = 0;
  const search = async (part: readonly (readonly [string, ServiceRules])[]): Promise<void> => {
    const rules = part.map(([, each]) => each);
    const ran = await trial(trialInput(rules, CANARY));
    if (ran.code === 0) return;
    if (part.length === 1) for (const [key] of part) refused.set(key, oneLine(ran.stderr));
    else if (failures++ >= FAILURES_MAX)
      for (const [key] of part) refused.set(key, "too many Services were refused before it; mend those first");
    else for (const half of slices(part, Math.ceil(part.length / 2))) await search(half);
  };
  const rest = [...services].filter(([key]) => !refused.has(key));
  for (const part of slices(rest, TRIAL_SIZE)) await search(part);
  return refused;
}
