// How near the edge's account is to the limits of Cloudflare's free plan. Pure.
import type { EdgeFacts, Facts } from "../facts.ts";
import { type Finding, finding } from "../finding.ts";
import { ANALYTICS_RIGHT, freePlan, type Quota, quotaNames, type Used } from "../free-plan.ts";

/** Share of a limit from which on it is near. */
const NEAR = 0.8;
const MEND = "a paid plan has no daily limit: docs/how-to-cloudflare.md says what uses how much";

export function quotaFindings({ edge, asks }: Facts): Finding[] {
  if (edge === undefined) return [];
  const object = `Edge ${edge.url}`;
  const refusing = asks.find(({ answer }) => answer?.status === 429 && answer.text.includes("1027"));
  if (refusing !== undefined) {
    const seen = `${refusing.hostname}:${refusing.port} answers 429 with Cloudflare's error 1027: the Worker requests of the day are used up`;
    return [finding("quota-exhausted", "error", object, seen, MEND)];
  }
  const { quota } = edge;
  if (quota?.refused !== undefined) return [unknown(quota.account, quota.refused)];
  if (quota?.used === undefined) return [];
  const { used, resetsAt } = quota;
  const isOtherPlan = quotaNames.some((name) => shareOf(used, name) >= 1 && servesPast(edge, name));
  return quotaNames.flatMap((name): Finding[] => {
    const share = shareOf(used, name);
    if (share < NEAR) return [];
    const seen = `${counted(used, name)}; all count from zero again at ${new Date(resetsAt).toISOString()}`;
    if (isOtherPlan)
      return [
        finding(
          "quota-near",
          "info",
          object,
          `${seen}. The edge answers past a limit, so the plan is another one`,
          MEND,
        ),
      ];
    if (share < 1) return [finding("quota-near", "warning", object, seen, MEND)];
    return [finding("quota-exhausted", "error", object, seen, MEND)];
  });
}

/** Whether the edge has answered what it could not where that limit counts. Nothing that is asked writes a row. */
function servesPast({ software, table }: EdgeFacts, name: Quota): boolean {
  if (name === "rowsWritten") return false;
  return name === "workerRequests" ? software !== undefined : table !== undefined;
}

function unknown(
  account: string,
  { why, lacksRight }: { readonly why: string; readonly lacksRight: boolean },
): Finding {
  const mend = lacksRight
    ? `give the token in CLOUDFLARE_API_TOKEN the right ${ANALYTICS_RIGHT}`
    : "postern doctor, again in some minutes";
  return finding("quota-unknown", "info", `Account ${account}`, why, mend);
}

const shareOf = (used: Used, name: Quota): number => used[name] / freePlan[name].most;

const counted = (used: Used, name: Quota): string =>
  `${grouped(used[name])} of ${grouped(freePlan[name].most)} ${freePlan[name].what} (${Math.floor(shareOf(used, name) * 100)} %)`;

const grouped = (number: number): string => Math.round(number).toLocaleString("en");

/** The limit that is nearest, for a line that says what was looked at. */
export function nearestLimit(used: Used): string {
  const [first] = [...quotaNames].sort((a, b) => shareOf(used, b) - shareOf(used, a));
  return first === undefined ? "" : counted(used, first);
}
