// GET /api/v1/clusters/{cluster}/logs: the requests of a cluster's Services as they are answered, a line of JSON each, for as long
// as somebody reads. Nothing is kept: where nobody reads, nothing is written. A line is written when an answer's head is there, so
// it says nothing of the body. Of a request's target the path alone is in it, since queries may hold secrets; and no header but two.
// As for all answers: fields are only ever added, and a reader ignores kinds and fields that it does not know.
import { z } from "zod";
import { serviceKeySchema } from "./probe.ts";

/** Characters of a text that a client chose; what is longer is cut. */
export const LOGGED_TEXT_MAX = 512;
/** Tries of one request that are named. */
export const LOGGED_TRIES_MAX = 8;

const ms = z.number();

/** One node that was asked, in the order of asking. Two at once: the first one was silent for a second. */
const logTrySchema = z.object({
  node: z.string(),
  /** From the request's arrival until this node was asked. */
  afterMs: ms,
  /** From then until its answer, or its failure. */
  ms,
  /** A status ("200"), or why there was none ("no-endpoints", "endpoint-broke", …); "unanswered": another one was faster. */
  outcome: z.string(),
  /** By tunnel, of an agent that says it: which endpoint answered, */
  endpoint: z.string().optional(),
  /** how long after the node had the request it was sent there, and how long the answer's head took then. */
  sentAfterMs: ms.optional(),
  answeredAfterMs: ms.optional(),
});
export type LogTry = z.infer<typeof logTrySchema>;

export const logRecordSchema = z
  .object({
    /** When the request came to the edge, epoch ms by its clock. */
    at: z.number(),
    /** Until the answer's head. */
    ms,
    /** The client's address; "" unknown. */
    client: z.string(),
    scheme: z.enum(["http", "https"]),
    hostname: z.string(),
    port: z.int(),
    method: z.string(),
    path: z.string(),
    /** 499: the client left before there was an answer. */
    status: z.int(),
    /** x-postern-reason: the edge answers in the server's place; null: it is the server's own answer. */
    reason: z.string().nullable(),
    /** "namespace/name" */
    service: z.string(),
    transport: z.enum(["tunnel", "direct"]),
    tries: z.array(logTrySchema).readonly(),
    /** Trace id of the request's traceparent (W3C Trace Context); null: it has none. */
    trace: z.string().nullable(),
    userAgent: z.string().nullable(),
  })
  .meta({ id: "LogRecord" });
export type LogRecord = Readonly<z.infer<typeof logRecordSchema>>;

export const logLineSchema = z.discriminatedUnion("kind", [
  /** The first line, and then every few seconds: the reading goes on. */
  z.object({ kind: z.literal("alive") }),
  z.object({ kind: z.literal("request"), request: logRecordSchema }),
  /** So many requests are not in the log at this place: they came faster than they were read, or handed over. */
  z.object({ kind: z.literal("left-out"), count: z.int() }),
]);
export type LogLine = z.infer<typeof logLineSchema>;

/** Which lines are wanted; all that is given must fit. */
export const logFilterSchema = z.strictObject({
  service: serviceKeySchema.optional(),
  hostname: z.string().max(253).toLowerCase().optional().meta({ description: "The host name that was asked" }),
  status: z
    .string()
    .regex(/^[1-5](\d\d|xx)$/, "must be a status such as 404, or a class such as 5xx")
    .optional()
    .meta({ example: "5xx" }),
  method: z.string().max(32).toUpperCase().optional(),
  client: z.string().max(64).optional().meta({ description: "The client's address, as the log shows it" }),
  trace: z
    .string()
    .regex(/^[0-9a-f]{32}$/, "must be a trace id: 32 hex digits in lower case")
    .optional()
    .meta({ description: "Trace id of the request's traceparent header" }),
});
export type LogFilter = z.output<typeof logFilterSchema>;

export function isWanted(request: LogRecord, filter: LogFilter): boolean {
  const { service, hostname, status, method, client, trace } = filter;
  return (
    (service === undefined || request.service === service) &&
    (hostname === undefined || request.hostname === hostname) &&
    (status === undefined || isOfStatus(request.status, status)) &&
    (method === undefined || request.method === method) &&
    (client === undefined || request.client === client) &&
    (trace === undefined || request.trace === trace)
  );
}

const isOfStatus = (status: number, wanted: string): boolean =>
  wanted.endsWith("xx") ? String(status).startsWith(wanted.charAt(0)) : String(status) === wanted;

/** The trace id of a traceparent header: version 00 to fe, 32 digits that are not all 0; null for any other text. */
export function traceIdOf(traceparent: string | null): string | null {
  const id =
    traceparent === null ? undefined : /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-/.exec(traceparent)?.[1];
  return id === undefined || /^0+$/.test(id) ? null : id;
}
