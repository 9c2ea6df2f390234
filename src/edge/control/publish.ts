// What a cluster's leader sends: a request for an epoch, and the snapshot. The snapshot's content is judged by the ClusterObject;
// here are only its envelope and its size.
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { epochSchema } from "../../shared/control/answers.ts";
import {
  GENERATION,
  GENERATION_HEADER,
  parseGeneration,
  PUBLISHER_HEADER,
  publisherNode,
} from "../../shared/control/requests.ts";
import {
  type SnapshotGeneration,
  SNAPSHOT_MAX_BYTES,
  publishResultSchema,
  snapshotSchema,
} from "../../shared/model/snapshot.ts";
import type { Api, ControlEnv } from "./context.ts";
import { requires } from "./auth.ts";
import { type BodyText, COMPRESSED_MAX_BYTES, readBody } from "./body.ts";
import { jsonContent, responses } from "./openapi.ts";
import { type Finding, problem, refused } from "./problem.ts";
import { fewAtOnce } from "./few-at-once.ts";
import { clusterParams } from "./schemas.ts";
import { clusterOf } from "./stubs.ts";

const JSON_TYPE = /^application\/json\s*(;|$)/i;

export function publishRoutes(app: Api): void {
  app.openapi(
    createRoute({
      method: "post",
      path: "/api/v1/clusters/{cluster}/epoch",
      summary: "A new epoch for a publisher without a Lease; older epochs are superseded at its first snapshot",
      description:
        "reset=true, the admin's alone: epochs start again at 1, as for a cluster that never published. The last snapshot serves until the next.",
      middleware: [requires("cluster")],
      request: { params: clusterParams, query: z.object({ reset: z.enum(["true"]).optional() }) },
      responses: responses({ 200: jsonContent(epochSchema) }, 404, 409),
    }),
    async (c) => {
      const reset = c.req.valid("query").reset !== undefined;
      if (reset && c.get("principal").kind !== "admin")
        return problem(c, {
          status: 403,
          reason: "not-allowed",
          detail: "only the admin can start a cluster's epochs again",
          field: "query.reset",
        });
      const granted = await clusterOf(c.env, c.get("cluster").name).grantEpoch({ reset });
      return granted.ok ? c.json({ epoch: granted.epoch }, 200) : refused(c, granted);
    },
  );

  // Not through openapi(): its validator would read the whole body, whatever its size.
  app.openAPIRegistry.registerPath({
    method: "put",
    path: "/api/v1/clusters/{cluster}/snapshot",
    summary: "Publish a snapshot; equal content changes nothing, whatever its generation",
    request: {
      params: clusterParams,
      headers: z.object({
        [GENERATION_HEADER]: z
          .string()
          .regex(GENERATION)
          .openapi({ example: "3.14", description: "<epoch>.<sequence>" }),
        [PUBLISHER_HEADER]: z.string().max(253).optional().openapi({ description: "The Node whose agent sends it" }),
        "content-encoding": z.enum(["gzip", "identity"]).optional(),
      }),
      body: {
        required: true,
        description: `A Snapshot of src/shared/model/snapshot.ts: ${COMPRESSED_MAX_BYTES} bytes as gzip, ${SNAPSHOT_MAX_BYTES} unpacked, at most`,
        content: { "application/json": { schema: snapshotSchema } },
      },
    },
    responses: responses({ 200: jsonContent(publishResultSchema) }, 404, 409, 413, 415),
  });
  app.put("/api/v1/clusters/:cluster/snapshot", requires("cluster"), fewAtOnce, async (c) => {
    const envelope = readEnvelope(c);
    if ("reason" in envelope) return problem(c, envelope);
    // Whoever stops reading must not cancel the stream: readOut() reads the rest once there is an answer.
    const bytes = c.req.raw.body?.values({ preventCancel: true }) ?? null;
    const body = await readBody(bytes, envelope.encoding);
    if (!body.ok) return problem(c, bodyProblems[body.why]);
    const principal = c.get("principal");
    const node = publisherNode(c.req.header(PUBLISHER_HEADER));
    const by = { ...(principal.kind === "cluster" && { token: principal.tokenId }), ...(node && { node }) };
    const answer = await clusterOf(c.env, c.get("cluster").name).publish(envelope.generation, body.text, by);
    return answer.ok ? c.json(answer.result, 200) : refused(c, answer);
  });
}

interface Envelope {
  readonly generation: SnapshotGeneration;
  readonly encoding: "gzip" | "identity";
}

function readEnvelope(c: Context<ControlEnv>): Envelope | Finding {
  const generation = parseGeneration(c.req.header(GENERATION_HEADER) ?? "");
  if (generation === undefined)
    return {
      status: 400,
      reason: "no-generation",
      detail: `header ${GENERATION_HEADER} is missing or not <epoch>.<sequence>`,
      field: `header.${GENERATION_HEADER}`,
      remedy: `send for example \`${GENERATION_HEADER}: 3.14\``,
    };
  const type = c.req.header("content-type");
  if (type !== undefined && !JSON_TYPE.test(type))
    return { status: 415, reason: "not-json", detail: "the snapshot must be JSON", field: "header.content-type" };
  const encoding = (c.req.header("content-encoding") ?? "identity").toLowerCase();
  if (encoding !== "gzip" && encoding !== "identity")
    return {
      status: 415,
      reason: "unknown-encoding",
      detail: "content-encoding must be gzip or identity",
      field: "header.content-encoding",
    };
  return { generation, encoding };
}

const split = "expose fewer Services in one cluster, or split it";

const bodyProblems: Record<Exclude<BodyText, { ok: true }>["why"], Finding> = {
  "compressed-too-large": {
    status: 413,
    reason: "body-too-large",
    detail: `a compressed snapshot has at most ${COMPRESSED_MAX_BYTES} bytes`,
    field: "body",
    remedy: split,
  },
  "too-large": {
    status: 413,
    reason: "snapshot-too-large",
    detail: `a snapshot has at most ${SNAPSHOT_MAX_BYTES} bytes of JSON`,
    field: "body",
    remedy: split,
  },
  "not-gzip": {
    status: 400,
    reason: "invalid-gzip",
    detail: "the body broke off, or is not the gzip that content-encoding promises",
    field: "body",
  },
  "not-utf-8": { status: 400, reason: "invalid-json", detail: "the body is not UTF-8", field: "body" },
};
