// What the control API may be sent. Unknown fields are refused, so that a typing error is named instead of ignored. The snapshot's
// shape belongs to src/shared/model.
import { z } from "zod";
import { hostnameSchema, type SnapshotGeneration } from "../model/snapshot.ts";

const dnsLabel = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** Default hostnames are <service>-<namespace>-<cluster>, one label of 63. */
export const clusterNameSchema = z
  .string()
  .min(1)
  .max(32)
  .regex(dnsLabel, "must be a DNS label of at most 32 characters in lower case, such as home")
  .meta({ example: "home" });

const hostnamePatternSchema = z
  .string()
  .max(253)
  .refine((text) => hostnameSchema.safeParse(text.replace(/^\*\./, "")).success, {
    message: "must be a DNS name in lower case, or *. and one",
  })
  .meta({ example: "*.example.com" });

const shardsSchema = z.int().min(1).max(8);

export const createClusterSchema = z.strictObject({
  name: clusterNameSchema,
  hostnames: z.array(hostnamePatternSchema).max(100).default([]),
  shards: shardsSchema.default(1),
});
export type CreateCluster = z.input<typeof createClusterSchema>;

export const tokenIdSchema = z
  .string()
  .regex(/^[0-9a-f]{8}$/, "must be a token's id: 8 hex digits, as GET .../tokens lists them")
  .meta({ example: "1f2e3d4c" });

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
    .meta({
      description: "The agent's image; left out: what the nodes were given by hand under the manifest's name",
    }),
  options: agentOptionsSchema.optional().meta({
    description: "Options of the agent (its --help lists them), filled into the ConfigMap",
    example: { "default-class": "true" },
  }),
});
export type InstallCodeOptions = z.input<typeof installCodeInputSchema>;

const memberInputSchema = z.strictObject({
  cluster: clusterNameSchema,
  priority: z.int().min(0).max(1000).default(0),
  weight: z.int().min(0).max(65_535).default(1),
});

export const setMembersSchema = z.strictObject({
  members: z
    .array(memberInputSchema)
    .min(1)
    .max(16)
    .refine((members) => new Set(members.map(({ cluster }) => cluster)).size === members.length, {
      message: "a cluster may be listed once",
    }),
});

export type SetMembers = z.input<typeof setMembersSchema>;

/** Beside a snapshot: the Node whose agent publishes it, for whoever looks for what is wrong. Nothing is decided by it. */
export const PUBLISHER_HEADER = "postern-node";
/** Undefined where it is no name of a Node. */
export const publisherNode = (header: string | undefined): string | undefined =>
  header !== undefined && /^[a-z0-9.-]{1,253}$/.test(header) ? header : undefined;

export const GENERATION_HEADER = "postern-generation";
/** The digits keep both numbers exact in JavaScript. Whether the epoch is too high is for the ClusterObject to say. */
export const GENERATION = /^(\d{1,15})\.(\d{1,12})$/;

/** "3.14": epoch 3, sequence 14. */
export const formatGeneration = ({ epoch, sequence }: SnapshotGeneration): string => `${epoch}.${sequence}`;

export function parseGeneration(text: string): SnapshotGeneration | undefined {
  const [, epoch, sequence] = GENERATION.exec(text) ?? [];
  return epoch === undefined ? undefined : { epoch: Number(epoch), sequence: Number(sequence) };
}
