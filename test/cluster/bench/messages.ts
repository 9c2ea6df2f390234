// What the run says to the processes that it has put into the namespaces, and what they answer (helpers.ts).
import { z } from "zod";

/** To the client. All times are those of clock.ts, ms. */
const clientCommand = z.discriminatedUnion("do", [
  /** Asks until each of them has answered; with `wanted`, until that very endpoint has. */
  z.strictObject({
    do: z.literal("until"),
    targets: z.array(z.strictObject({ address: z.string(), wanted: z.string().optional() })),
    limitMs: z.number(),
  }),
  /** Asks each Service once. */
  z.strictObject({ do: z.literal("sweep"), services: z.int() }),
  /** First packets, through a Service and directly by turns. */
  z.strictObject({ do: z.literal("latency"), services: z.array(z.string()), direct: z.string(), count: z.int() }),
  /** Asks it all the time, beside what else it does, until "end-steady". */
  z.strictObject({ do: z.literal("steady"), address: z.string() }),
  z.strictObject({ do: z.literal("end-steady") }),
]);

/** To the stand-in for the API server. */
const standInCommand = z.discriminatedUnion("do", [
  /** The Service alone, or its EndpointSlice alone: what is there first counts. */
  z.strictObject({ do: z.literal("add"), what: z.enum(["service", "slice"]), service: z.int() }),
  /** As in a cluster: the Service, and some time later its EndpointSlice, which a controller has made. */
  z.strictObject({ do: z.literal("create"), service: z.int() }),
  /** One endpoint of the Service, by its place in the slice, goes to the spare address with this number. */
  z.strictObject({ do: z.literal("move"), service: z.int(), place: z.int(), spare: z.int() }),
]);

/** To a ticker: what was longest since it was asked last. */
const tickerCommand = z.strictObject({ do: z.literal("longest") });

export const commandSchema = z.union([clientCommand, standInCommand, tickerCommand]);
export type Command = z.infer<typeof commandSchema>;
export const requestSchema = z.strictObject({ id: z.int(), command: commandSchema });

export const answerSchemas = {
  /** `at`: when the last one answered; absent: not all did within the limit. */
  until: z.strictObject({ at: z.number().optional() }),
  sweep: z.strictObject({ silent: z.int() }),
  latency: z.strictObject({ directUs: z.array(z.number()), serviceUs: z.array(z.number()) }),
  steady: z.strictObject({}),
  "end-steady": z.strictObject({ asked: z.int(), failed: z.int() }),
  /** When the watchers were told. */
  add: z.strictObject({ at: z.number() }),
  create: z.strictObject({ at: z.number() }),
  move: z.strictObject({ at: z.number() }),
  longest: z.strictObject({ ms: z.number() }),
} as const;
export type Answers = { [verb in keyof typeof answerSchemas]: z.infer<(typeof answerSchemas)[verb]> };
export const replySchema = z.strictObject({ id: z.int(), answer: z.unknown() });
