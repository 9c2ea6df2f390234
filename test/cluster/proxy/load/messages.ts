// What the run says to the load's clients and servers, and what they count.
import { z } from "zod";

export const serverOrderSchema = z.enum(["serve", "finish"]);
export type ServerOrder = z.infer<typeof serverOrderSchema>;

const targetSchema = z.strictObject({ family: z.enum(["IPv4", "IPv6"]), address: z.string(), port: z.int() });
export type Target = z.infer<typeof targetSchema>;

export const clientOrderSchema = z.discriminatedUnion("do", [
  /** Loads all targets, one question of each kind every `everyMs`, until "end". */
  z.strictObject({ do: z.literal("begin"), targets: z.array(targetSchema), everyMs: z.int() }),
  /** What was counted since "begin". */
  z.strictObject({ do: z.literal("count") }),
  /** Who answers is noted anew. */
  z.strictObject({ do: z.literal("forget names") }),
  /** Asks no more, and answers when every question has had its answer or its time. */
  z.strictObject({ do: z.literal("end") }),
]);
export type ClientOrder = z.infer<typeof clientOrderSchema>;

const reasonsSchema = z.record(z.string(), z.int());
const askedSchema = z.strictObject({
  asked: z.int(),
  answered: z.int(),
  /** "IPv4 ECONNREFUSED" → how often. */
  failed: reasonsSchema,
});
export type Asked = z.infer<typeof askedSchema>;

export const countsSchema = z.strictObject({
  /** New TCP connections. */
  connections: askedSchema,
  /** SYNs (and answers to them) that the kernel sent again in the client's namespace, since one was lost. */
  synsAgain: z.int(),
  /** TCP connections that carry bytes all the time. */
  streams: z.strictObject({
    opened: z.int(),
    /** Their server ended them in order; another one was opened then. */
    finished: z.int(),
    lost: reasonsSchema,
    /** The longest time, ms, in which one of them got no bytes. */
    silenceMs: z.int(),
  }),
  /** UDP, each question from a port of its own. */
  questions: askedSchema,
  /** UDP, all questions from one port, as long as the load lasts. */
  flows: askedSchema,
  /** Who answered new connections and UDP questions since "forget names". */
  names: reasonsSchema,
});
export type Counts = z.infer<typeof countsSchema>;
