// How Cloudflare's Analytics API is asked what an account has used, and how its answer is read. Pure.
import { z } from "zod";
import type { Used } from "./free-plan.ts";

/** Of all Workers of the account. `duration` is in GB-s. Each dataset is one group, or one for each type of invocation. */
export const USED_QUERY = `query Used($account: string!, $since: Time!, $until: Time!) {
  viewer { accounts(filter: { accountTag: $account }) {
    workers: workersInvocationsAdaptive(limit: 1000, filter: { datetime_geq: $since, datetime_lt: $until }) {
      sum { requests }
    }
    objects: durableObjectsInvocationsAdaptiveGroups(limit: 1000, filter: { datetime_geq: $since, datetime_lt: $until }) {
      sum { requests } dimensions { type }
    }
    periodic: durableObjectsPeriodicGroups(limit: 1000, filter: { datetime_geq: $since, datetime_lt: $until }) {
      sum { duration rowsRead rowsWritten inboundWebsocketMsgCount }
    }
  } }
}`;

/** A message to an object whose WebSockets may hibernate is counted as an invocation of this type. */
const MESSAGE = "hibernation";
/** That many messages count as one request by the plan. */
const MESSAGES_A_REQUEST = 20;

const summed = <T extends z.ZodRawShape>(sum: T) => z.array(z.object({ sum: z.object(sum) }));
const accountSchema = z.object({
  workers: summed({ requests: z.number() }),
  objects: z.array(z.object({ sum: z.object({ requests: z.number() }), dimensions: z.object({ type: z.string() }) })),
  periodic: summed({
    duration: z.number(),
    rowsRead: z.number(),
    rowsWritten: z.number(),
    inboundWebsocketMsgCount: z.number(),
  }),
});
const answerSchema = z.object({ viewer: z.object({ accounts: z.array(accountSchema) }) });

/** `data`: of the answer. Undefined: it is another than this command knows. */
export function usedOf(data: unknown): Used | undefined {
  const [account] = answerSchema.safeParse(data).data?.viewer.accounts ?? [];
  if (account === undefined) return undefined;
  const { workers, objects, periodic } = account;
  const isMessage = ({ dimensions: { type } }: (typeof objects)[number]): boolean => type === MESSAGE;
  const messages =
    total(objects.filter(isMessage), ({ requests }) => requests) +
    total(periodic, ({ inboundWebsocketMsgCount }) => inboundWebsocketMsgCount);
  const others = objects.filter((each) => !isMessage(each));
  return {
    workerRequests: total(workers, ({ requests }) => requests),
    objectRequests: total(others, ({ requests }) => requests) + Math.ceil(messages / MESSAGES_A_REQUEST),
    objectTime: total(periodic, ({ duration }) => duration),
    rowsRead: total(periodic, ({ rowsRead }) => rowsRead),
    rowsWritten: total(periodic, ({ rowsWritten }) => rowsWritten),
  };
}

const total = <T>(groups: readonly { readonly sum: T }[], of: (sum: T) => number): number =>
  groups.reduce((all, { sum }) => all + of(sum), 0);
