// An error of the control API: RFC 9457 problem+json with a machine-readable reason, and the sentence that a person reads of it.
import { z } from "zod";

export const problemSchema = z
  .object({
    /** tag:postern.dev,2026:<reason> */
    type: z.string(),
    title: z.string(),
    /** The HTTP status again. */
    status: z.int(),
    /** kebab-case, stable. */
    reason: z.string(),
    detail: z.string(),
    /** Where in the request: "body.members[0].weight", "header.postern-generation". */
    field: z.string().optional(),
    /** What to do about it, where `detail` does not say. */
    remedy: z.string().optional(),
    requestId: z.string(),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof problemSchema>;

/** What a client needs of it. A proxy between may answer in its own way, so nothing of it is taken for granted. */
const readSchema = problemSchema.pick({ reason: true, detail: true, field: true, remedy: true }).partial();
export type ReadProblem = z.infer<typeof readSchema>;

/** `said`: the answer's body as JSON. {}: it is no problem+json. */
export const readProblem = (said: unknown): ReadProblem => readSchema.safeParse(said).data ?? {};

/** Longer answers are cut: not everything that answers is an edge. */
const SENTENCE_MAX = 2_000;

/** HTTP 400 invalid-snapshot: services[0] (default/web).ports[0].port: …; field body; … */
export function problemSentence(status: number, { reason, detail, field, remedy }: ReadProblem): string {
  const known = [detail, field === undefined ? undefined : `field ${field}`, remedy];
  const parts = known.filter((part) => part !== undefined);
  const what = `HTTP ${status}${reason === undefined ? "" : ` ${reason}`}`;
  return (parts.length === 0 ? what : `${what}: ${parts.join("; ")}`).slice(0, SENTENCE_MAX);
}
