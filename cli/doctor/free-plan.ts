// What an account on Cloudflare's free plan may use in a day, which ends at midnight UTC. The only place with these numbers in code; a
// test compares docs/how-to-cloudflare.md with them. Pure.

/** In the order in which they are told. */
export const freePlan = {
  workerRequests: { what: "Worker requests", most: 100_000 },
  objectRequests: { what: "Durable Object requests", most: 100_000 },
  objectTime: { what: "GB-s of Durable Object time", most: 13_000 },
  rowsRead: { what: "rows read by Durable Objects", most: 5_000_000 },
  rowsWritten: { what: "rows written by Durable Objects", most: 100_000 },
} as const;
export type Quota = keyof typeof freePlan;
export const quotaNames = Object.keys(freePlan) as readonly Quota[];

/** What Cloudflare has counted since midnight UTC, of all Workers of the account: they share the limits. */
export type Used = Readonly<Record<Quota, number>>;

/** What a token needs to ask for that. */
export const ANALYTICS_RIGHT = "Account · Account Analytics · Read";

const DAY_MS = 86_400_000;

/** `now`, and what is answered, are epoch ms. */
export const dayOf = (now: number): { readonly since: number; readonly until: number } => {
  const since = Math.floor(now / DAY_MS) * DAY_MS;
  return { since, until: since + DAY_MS };
};
