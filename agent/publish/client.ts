// The two calls of the control API that publishing needs, each one attempt that ends as a PublishOutcome and never throws.
// Owns its connections. Certificates are always verified; redirects are not followed, for the token must not travel on.
// The token is read for each call and is in no error, log or URL.
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { Agent, request } from "undici";
import { z } from "zod";
import { type PublishResult, publishResultSchema, type SnapshotGeneration } from "../../src/shared/model/snapshot.ts";
import { parseJson, reasonOf } from "../kube/api.ts";
import type { PublishOutcome } from "./after-publish.ts";

export interface Target {
  readonly edge: URL;
  readonly cluster: string;
  readonly token: () => string;
}

/** Whole answer: the results of 10,000 Services fit. */
const ANSWER_MAX_BYTES = 32 * 1024 * 1024;
const CONNECT_MS = 10_000;
const ANSWER_MS = 30_000;

const compress = promisify(gzip);
const epochSchema = z.object({ epoch: z.int().min(0) });
/** RFC 9457, as the control API writes it. */
const problemSchema = z.object({
  reason: z.string().optional(),
  detail: z.string().optional(),
  field: z.string().optional(),
  remedy: z.string().optional(),
});

type Answer<T> = { readonly outcome: PublishOutcome; readonly value?: T };

export class EdgeClient {
  readonly #target: Target;
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_MS },
    headersTimeout: ANSWER_MS,
    bodyTimeout: ANSWER_MS,
    maxResponseSize: ANSWER_MAX_BYTES,
  });

  constructor(target: Target) {
    this.#target = target;
  }

  async claimEpoch(): Promise<Answer<{ epoch: number }>> {
    return await this.#call("POST", "epoch", {}, null, epochSchema);
  }

  /** `body`: JSON text of a snapshot. */
  async putSnapshot(generation: SnapshotGeneration, body: string): Promise<Answer<PublishResult>> {
    const headers = {
      "content-type": "application/json",
      "content-encoding": "gzip",
      "postern-generation": `${generation.epoch}.${generation.sequence}`,
    };
    return await this.#call("PUT", "snapshot", headers, await compress(body), publishResultSchema);
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #call<T>(
    method: "POST" | "PUT",
    what: string,
    headers: Record<string, string>,
    body: Buffer | null,
    schema: z.ZodType<T>,
  ): Promise<Answer<T>> {
    const { edge, cluster, token } = this.#target;
    const base = edge.href.endsWith("/") ? edge.href : `${edge.href}/`;
    const url = new URL(`api/v1/clusters/${encodeURIComponent(cluster)}/${what}`, base);
    try {
      const answer = await request(url, {
        method,
        headers: { ...headers, authorization: `Bearer ${token()}`, accept: "application/json" },
        body,
        dispatcher: this.#agent,
      });
      const text = await answer.body.text();
      if (answer.statusCode === 200) {
        const parsed = schema.safeParse(parseJson(text));
        if (parsed.success) return { outcome: { kind: "accepted" }, value: parsed.data };
        return { outcome: { kind: "unreachable", why: `${edge.host} answered, but not as a Postern edge does` } };
      }
      return { outcome: outcomeOf(answer.statusCode, text, answer.headers["retry-after"]) };
    } catch (error) {
      return { outcome: { kind: "unreachable", why: `${edge.host} cannot be reached: ${reasonOf(error)}` } };
    }
  }
}

export function outcomeOf(status: number, text: string, retryAfter: string | string[] | undefined): PublishOutcome {
  const problem = problemSchema.safeParse(parseJson(text)).data ?? {};
  const why = describe(status, problem);
  if (status === 401 || status === 403) return { kind: "unauthorised", why };
  if (status === 409 && problem.reason === "superseded") return { kind: "superseded" };
  if (status >= 500 || status === 429 || status === 408) {
    const seconds = Number(retryAfter);
    return { kind: "unreachable", why, ...(seconds > 0 ? { afterMs: seconds * 1000 } : {}) };
  }
  if (status >= 300 && status < 400)
    return { kind: "refused", why: `HTTP ${status}: a redirect. Give --edge the final URL` };
  return { kind: "refused", why };
}

/** HTTP 400 invalid-snapshot: services[0] (default/web).ports[0].port: … */
function describe(status: number, { reason, detail, field, remedy }: z.infer<typeof problemSchema>): string {
  const parts = [detail, field === undefined ? undefined : `field ${field}`, remedy].filter(
    (part) => part !== undefined,
  );
  return `HTTP ${status}${reason === undefined ? "" : ` ${reason}`}${parts.length === 0 ? "" : `: ${parts.join("; ")}`}`;
}
