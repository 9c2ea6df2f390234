// Shapes of the API's own requests and answers. Requests refuse unknown fields, so that a typing error is named instead of
// ignored. The snapshot's shape belongs to src/shared/model.
import { z } from "@hono/zod-openapi";
import { hostnameSchema } from "../../shared/model/snapshot.ts";

const dnsLabel = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** Default hostnames are <service>-<namespace>-<cluster>, one label of 63. */
export const clusterNameSchema = z
  .string()
  .min(1)
  .max(32)
  .regex(dnsLabel, "must be a DNS label of at most 32 characters in lower case, such as home")
  .openapi({ example: "home" });

const hostnamePatternSchema = z
  .string()
  .max(253)
  .refine((text) => hostnameSchema.safeParse(text.replace(/^\*\./, "")).success, {
    message: "must be a DNS name in lower case, or *. and one",
  })
  .openapi({ example: "*.example.com" });

const shardsSchema = z.int().min(1).max(8);

export const createClusterSchema = z.strictObject({
  name: clusterNameSchema,
  hostnames: z.array(hostnamePatternSchema).max(100).default([]),
  shards: shardsSchema.default(1),
});

export const clusterSchema = z
  .object({ name: z.string(), createdAt: z.int(), hostnames: z.array(z.string()), shards: z.int() })
  .openapi("Cluster");

export const tokenSchema = z.object({ token: z.string() });

export const tokenIdSchema = z
  .string()
  .regex(/^[0-9a-f]{8}$/, "must be a token's id: 8 hex digits, as GET .../tokens lists them")
  .openapi({ example: "1f2e3d4c" });

export const tokenRecordSchema = z
  .object({
    id: z.string(),
    createdAt: z.int(),
    label: z.string(),
    role: z.enum(["owner", "agent"]).openapi({
      description:
        "owner: from the cluster's creation, makes install codes and manages tokens. agent: minted by an install code, publishes, dials and reads",
    }),
  })
  .openapi("Token");

/** Options that an install code cannot set, because the manifest sets them by itself. */
const FIXED_OPTIONS = new Set([
  ...["edge", "cluster", "insecure-plain-http", "token-file", "source", "manifests", "kubeconfig"],
  ...["node", "instance", "address", "health-socket"],
]);

const agentOptionsSchema = z
  .record(
    z.string().regex(/^[a-z][a-z-]{0,39}$/, "must be an option of the agent without its dashes"),
    z.string().max(1024),
  )
  .refine((options) => Object.keys(options).length <= 20, { message: "may be 20 at most" })
  .refine((options) => !Object.keys(options).some((name) => FIXED_OPTIONS.has(name)), {
    message: `may not hold what the manifest sets itself: ${[...FIXED_OPTIONS].join(", ")}`,
  });

export const installCodeInputSchema = z.strictObject({
  image: z
    .string()
    .max(255)
    .regex(
      /^[a-z0-9][A-Za-z0-9._:/@-]*$/,
      "must be a container image, such as registry.example.com/postern-agent:0.1.0",
    )
    .optional()
    .openapi({
      description: "The agent's image; left out: what the nodes were given by hand under the manifest's name",
    }),
  options: agentOptionsSchema.optional().openapi({
    description: "Options of the agent (its --help lists them), filled into the ConfigMap",
    example: { "default-class": "true" },
  }),
});

export const installCodeSchema = z.object({
  url: z.string(),
  command: z.string(),
  expiresAt: z.int(),
  uses: z.int(),
});

export const memberSchema = z
  .strictObject({
    cluster: clusterNameSchema,
    priority: z.int().min(0).max(1000).default(0),
    weight: z.int().min(0).max(65_535).default(1),
  })
  .openapi("Member");

export const setMembersSchema = z.strictObject({
  members: z
    .array(memberSchema)
    .min(1)
    .max(16)
    .refine((members) => new Set(members.map(({ cluster }) => cluster)).size === members.length, {
      message: "a cluster may be listed once",
    }),
});

export const entrySchema = z
  .object({ hostname: z.string(), owner: z.string(), members: z.array(memberSchema) })
  .openapi("DirectoryEntry");

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    reason: z.string(),
    detail: z.string(),
    field: z.string().optional(),
    remedy: z.string().optional(),
    requestId: z.string(),
  })
  .openapi("Problem");

export const clusterParams = z.object({ cluster: clusterNameSchema });
export const hostnameParams = z.object({ hostname: hostnameSchema });
