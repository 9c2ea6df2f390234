// What the run says to its residents, and what they answer.
import { z } from "zod";

export const questionSchema = z.discriminatedUnion("do", [
  /** TCP and UDP, both families. */
  z.strictObject({ do: z.literal("serve"), ports: z.array(z.int()) }),
  /** One connection, or one datagram. */
  z.strictObject({
    do: z.literal("ask"),
    protocol: z.enum(["TCP", "UDP"]),
    family: z.enum(["IPv4", "IPv6"]),
    address: z.string(),
    port: z.int(),
    /** TCP: which of the client's addresses it comes from. Absent: as the client's routes have it. */
    fromAddress: z.string().optional(),
    /** UDP: the client's own, so that the datagram belongs to an earlier one's flow. Absent: any. */
    fromPort: z.int().optional(),
    withinMs: z.int(),
    /** TCP: an answered connection stays open until its server is released. */
    hold: z.boolean().optional(),
  }),
  /** Closes what is held to that server. Answered when both ends have closed. */
  z.strictObject({ do: z.literal("release"), server: z.string() }),
  z.strictObject({ do: z.literal("get"), url: z.string(), withinMs: z.int() }),
]);
export type Question = z.infer<typeof questionSchema>;

/** What a server says of a client. */
export const answerSchema = z.strictObject({ name: z.string(), source: z.string(), sourcePort: z.int() });

export const outcomeSchema = z.discriminatedUnion("kind", [
  /** What the server saw of the client's address and port. */
  z.strictObject({
    kind: z.literal("answer"),
    name: z.string(),
    source: z.string(),
    sameAddress: z.boolean(),
    samePort: z.boolean(),
  }),
  z.strictObject({ kind: z.literal("reject") }),
  /** Nothing came in time. */
  z.strictObject({ kind: z.literal("drop") }),
  z.strictObject({ kind: z.literal("error"), code: z.string() }),
  z.strictObject({
    kind: z.literal("page"),
    status: z.int(),
    headers: z.record(z.string(), z.string()),
    body: z.string(),
  }),
  z.strictObject({ kind: z.literal("done") }),
]);
export type Outcome = z.infer<typeof outcomeSchema>;
