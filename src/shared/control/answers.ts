// What the control API answers with. Unknown fields are no error: an older client reads a newer edge. So fields are only ever
// added. Answers to a publish are in src/shared/model/snapshot.ts.
import { z } from "zod";
import { conditionSchema } from "../model/conditions.ts";
import { snapshotEndpointSchema } from "../model/snapshot.ts";

const list = <T extends z.ZodType>(of: T) => z.array(of).readonly();

export const clusterSchema = z
  .object({
    /** DNS label, unique in the deployment. */
    name: z.string(),
    createdAt: z.int(),
    /** Hostnames it may claim beside its default ones: exact names, or "*.example.com" (one label or more). */
    hostnames: list(z.string()),
    /** Number of TunnelObjects, 1 to 8. */
    shards: z.int(),
  })
  .meta({ id: "Cluster" });
export type ClusterRecord = Readonly<z.infer<typeof clusterSchema>>;

export const tokenSchema = z.object({ token: z.string().min(1) });
export const clusterAnswerSchema = z.object({ cluster: clusterSchema });
/** With the cluster's first token, its owner's: it is in no other answer. */
export const createdClusterSchema = clusterAnswerSchema.extend(tokenSchema.shape);
export const clustersSchema = z.object({ clusters: list(clusterSchema) });

/** A cluster's token, without its secret. */
export const tokenRecordSchema = z
  .object({
    /** Names it in logs and sockets. */
    id: z.string(),
    createdAt: z.int(),
    /** Where it came from, in words. */
    label: z.string(),
    role: z.enum(["owner", "agent"]).meta({
      description:
        "owner: from the cluster's creation, makes install codes and manages tokens. agent: minted by an install code, publishes, dials and reads",
    }),
  })
  .meta({ id: "Token" });
export type TokenRecord = Readonly<z.infer<typeof tokenRecordSchema>>;
export type TokenRole = TokenRecord["role"];
export const tokensSchema = z.object({ tokens: list(tokenRecordSchema) });

export const installCodeSchema = z.object({
  /** Of the agent's manifest. */
  url: z.string(),
  /** For the cluster's kubectl. */
  command: z.string(),
  expiresAt: z.int(),
  uses: z.int(),
});

export const versionSchema = z.object({
  /** "postern-edge 0.1.0" */
  software: z.string(),
  /** The agent that this edge hands out: its version, and its SHA-256, as in the install manifests. Absent: this edge is older, or has none. */
  agent: z.object({ version: z.string(), sha256: z.string() }).optional(),
});

export const epochSchema = z.object({ epoch: z.int().min(0) });

/** One cluster that serves a hostname. Lower priority value first; weight shares within one priority. */
export const memberSchema = z
  .object({ cluster: z.string(), priority: z.int(), weight: z.int() })
  .meta({ id: "Member" });
export type Member = Readonly<z.infer<typeof memberSchema>>;

export const directoryEntrySchema = z
  .object({
    hostname: z.string(),
    owner: z.string(),
    /** Never empty; the owner alone, unless the owner or the admin listed others. */
    members: list(memberSchema),
  })
  .meta({ id: "DirectoryEntry" });
export type DirectoryEntry = Readonly<z.infer<typeof directoryEntrySchema>>;

/** What others may build on of the routing table; its ETag is the generation. The rest of it is the edge's own. */
export const tableSchema = z.object({
  cluster: z.string(),
  generation: z.int(),
  listeners: list(
    z.object({
      hostname: z.string(),
      port: z.int().min(1).max(65_535),
      /** The edge terminates TLS there. */
      tls: z.boolean(),
      /** Index into routes. */
      route: z.int().min(0),
    }),
  ),
  routes: list(
    z.object({
      /** "namespace/name" */
      service: z.string(),
      /** Of the Service. */
      port: z.int(),
      /** Why it answers 503 whatever nodes are connected; absent: it serves. */
      unavailable: z.object({ reason: z.string(), message: z.string() }).optional(),
    }),
  ),
});

/** One node as a shard sees it. */
export const tunnelNodeSchema = z.object({
  node: z.string(),
  connections: list(
    z.object({
      instance: z.string(),
      since: z.number(),
      draining: z.boolean(),
      inFlight: z.int(),
      version: z.string(),
      /** SHA-256 of the agent that runs, to compare with the edge's own. Absent: it runs from sources, or is older than this. */
      bundle: z.string().optional(),
    }),
  ),
  available: z.boolean(),
  /** Why not, in words; empty where it is. */
  reason: z.string(),
  /** Endpoints that the node's agent itself finds unavailable: "namespace/name address:port" and why. */
  endpoints: list(z.object({ endpoint: z.string(), reason: z.string() })),
});
export type TunnelNode = Readonly<z.infer<typeof tunnelNodeSchema>>;

/** One node as the whole edge sees it. */
export const clusterNodeSchema = z
  .object({
    node: z.string(),
    /** False: a shard sees it, the snapshot does not know it. */
    known: z.boolean(),
    /** Why the snapshot gives it no new streams; absent: it may get them. */
    excluded: z.string().optional(),
    directAddress: z.string().optional(),
    /** What probes say; absent: not probed. */
    probe: z.object({ healthy: z.boolean(), reason: z.string() }).optional(),
    tunnel: list(tunnelNodeSchema.extend({ shard: z.int() })),
  })
  .meta({ id: "Node" });
export type ClusterNode = Readonly<z.infer<typeof clusterNodeSchema>>;

export const nodesSchema = z.object({
  nodes: list(clusterNodeSchema),
  /** Shards that did not answer in time: their view is missing above. */
  silentShards: list(z.int()),
});
export type ClusterNodes = Readonly<z.infer<typeof nodesSchema>>;

/** Of the last good snapshot. `service`: "namespace/name". */
export const endpointsSchema = z.object({
  endpoints: list(snapshotEndpointSchema.extend({ service: z.string() })),
});

/** By "namespace/name". */
export const conditionsSchema = z.object({ services: z.record(z.string(), list(conditionSchema)) });
