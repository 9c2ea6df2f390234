// Asks Cloudflare what the edge's account has used of its day. Only of an edge that was deployed from this machine, whose account is known
// therefore, and only with a token that is in the environment already: the doctor asks for none. Decides nothing.
import { exitCodes, Failed } from "./failed.ts";
import { Cloudflare } from "./deploy/cloudflare.ts";
import { deployedFrom } from "./deploy/folder.ts";
import type { Effects } from "./session.ts";
import { USED_QUERY, usedOf } from "./doctor/analytics.ts";
import type { QuotaFacts } from "./doctor/facts.ts";
import { dayOf } from "./doctor/free-plan.ts";

/** Undefined: there is nobody to ask. Never rejects. `edge`: its URL. `now`: epoch ms. */
export async function quotaFacts(
  { environment, send }: Pick<Effects, "environment" | "send">,
  edge: string,
  { now, withinMs }: { readonly now: number; readonly withinMs: number },
): Promise<QuotaFacts | undefined> {
  const { CLOUDFLARE_API_TOKEN: token = "" } = environment;
  const account = deployedFrom(environment, new URL(edge).host)?.facts["account"];
  if (token === "" || account === undefined) return undefined;
  const { since, until } = dayOf(now);
  try {
    const variables = { account, since: new Date(since).toISOString(), until: new Date(until).toISOString() };
    const used = usedOf(await new Cloudflare(send, environment, withinMs).graphql(USED_QUERY, variables));
    if (used === undefined) throw new Failed("POST /graphql answers something else than this command knows");
    return { account, resetsAt: until, used };
  } catch (error) {
    const lacksRight = error instanceof Failed && error.code === exitCodes.unauthorised;
    return { account, resetsAt: until, refused: { why: (error as Error).message, lacksRight } };
  }
}
