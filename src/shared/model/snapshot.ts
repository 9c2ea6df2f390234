// The snapshot: what one cluster's leader observed, as it is published to the edge. Parsed once, with zod, where
// it enters the edge; inside, its types are trusted. Pure data: no decision is made here.
// Limits are part of the contract, so that a broken or hostile agent cannot grow the edge's storage.
import { z } from "zod";
import { conditionSchema } from "./conditions.ts";

/** Most bytes of one snapshot as JSON, after decompression. */
export const SNAPSHOT_MAX_BYTES = 8 * 1024 * 1024;

/** Most of each in one list; whoever reads a list looks at its length before its items. */
export const LISTS_MAX = { nodes: 5_000, services: 10_000 } as const;
export const SERVICE_LISTS_MAX = {
  hostnames: 64,
  ports: 128,
  sourceRanges: 512,
  endpoints: 10_000,
  conditions: 32,
} as const;

/** Most endpoints of all Services together. */
export const ENDPOINTS_MAX = 50_000;

/** How the edge orders nodes: annotation `postern.dev/algorithm`. */
export const nodeAlgorithms = ["least-request", "round-robin", "source-hash", "weighted"] as const;
const nodeAlgorithmSchema = z.enum(nodeAlgorithms);
export type NodeAlgorithm = z.infer<typeof nodeAlgorithmSchema>;

/** How the node orders endpoints: annotation `postern.dev/endpoint-algorithm`. */
export const endpointAlgorithms = ["random", "rr", "wrr", "lc", "wlc", "dh", "sh", "sed", "nq", "maglev"] as const;
const endpointAlgorithmSchema = z.enum(endpointAlgorithms);
export type EndpointAlgorithm = z.infer<typeof endpointAlgorithmSchema>;

/** A DNS label or subdomain as Kubernetes allows it in names. */
const name = z.string().min(1).max(253);
/** RFC 1123 host name, lower case, no wildcard. */
export const hostnameSchema = z
  .string()
  .max(253)
  .regex(/^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/, {
    message: "must be a DNS name in lower case, such as shop.example.com",
  });
const port = z.int().min(1).max(65535);

export const snapshotNodeSchema = z.object({
  name,
  zone: z.string().max(253).optional(),
  /** DNS name or IP address by which the Worker reaches the node's NodePorts: transport direct. */
  directAddress: z.string().max(253).optional(),
  /** Why this node gets no new streams (exclude label, being deleted, autoscaler taint). Absent: it may. */
  excluded: z.string().max(1024).optional(),
  /** Its share for every algorithm but `round-robin`: annotation postern.dev/weight. Absent: its number of endpoints. */
  weight: z.int().min(0).max(65535).optional(),
});
export type SnapshotNode = z.infer<typeof snapshotNodeSchema>;

export const snapshotEndpointSchema = z.object({
  /** targetRef UID where there is one, else the address: one pod counts once. */
  key: z.string().min(1).max(253),
  address: z.string().max(253),
  node: name.optional(),
  zone: z.string().max(253).optional(),
  ready: z.boolean(),
  serving: z.boolean(),
  terminating: z.boolean(),
  /** EndpointSlice hints. Absent: none. */
  forZones: z.array(z.string().max(253)).max(8).optional(),
  forNodes: z.array(name).max(8).optional(),
  /** Service port number → this endpoint's own port. */
  ports: z.record(z.string().regex(/^\d{1,5}$/), port),
});
export type SnapshotEndpoint = z.infer<typeof snapshotEndpointSchema>;

export const snapshotServiceSchema = z.object({
  namespace: name,
  name,
  uid: z.string().min(1).max(253),
  /** RFC 3339; the oldest Service owns a (hostname, port). */
  createdAt: z.iso.datetime({ offset: true }),
  /** How it is served: LoadBalancer goes to ready endpoints, Headless to its endpoints, ExternalName to a DNS name. */
  kind: z.enum(["LoadBalancer", "Headless", "ExternalName"]),
  externalName: z.string().max(253).optional(),
  /** Names of its own (annotation postern.dev/hostname), beside the default one. */
  hostnames: z.array(hostnameSchema).max(SERVICE_LISTS_MAX.hostnames),
  transport: z.enum(["tunnel", "direct"]),
  algorithm: nodeAlgorithmSchema,
  ports: z
    .array(
      z.object({
        name: z.string().max(63),
        port,
        protocol: z.enum(["TCP", "UDP", "SCTP"]),
        nodePort: port.optional(),
      }),
    )
    .max(SERVICE_LISTS_MAX.ports),
  externalTrafficPolicy: z.enum(["Cluster", "Local"]),
  /** sessionAffinity: ClientIP with this timeout, in seconds. Absent: None. */
  affinitySeconds: z.int().min(1).max(86_400).optional(),
  /** CIDRs as written; empty means everybody. Already checked by the agent. */
  sourceRanges: z.array(z.string().max(64)).max(SERVICE_LISTS_MAX.sourceRanges),
  endpoints: z.array(snapshotEndpointSchema).max(SERVICE_LISTS_MAX.endpoints),
  /** What the agent found wrong or worth saying about this Service (bad annotation, wrong selector, …). */
  conditions: z.array(conditionSchema).max(SERVICE_LISTS_MAX.conditions),
});
export type SnapshotService = z.infer<typeof snapshotServiceSchema>;

export const snapshotSchema = z.object({
  version: z.literal(1),
  nodes: z.array(snapshotNodeSchema).max(LISTS_MAX.nodes),
  services: z.array(snapshotServiceSchema).max(LISTS_MAX.services),
});
export type Snapshot = z.infer<typeof snapshotSchema>;

/**
 * Orders snapshots of one cluster: compare epoch, then sequence. The epoch is the Lease's transitions (kube source)
 * or granted by the ClusterObject (file source); the sequence counts within it.
 */
const snapshotGenerationSchema = z.object({ epoch: z.int().min(0), sequence: z.int().min(0) });
export type SnapshotGeneration = z.infer<typeof snapshotGenerationSchema>;

/** Answer to a publish: the conditions are the leader's to write into Service.status. */
export const publishResultSchema = z.object({
  generation: snapshotGenerationSchema,
  /** Generation of the compiled routing table. */
  table: z.int(),
  /** False where the content equalled what the edge had. */
  changed: z.boolean(),
  services: z.record(z.string(), z.object({ hostnames: z.array(z.string()), conditions: z.array(conditionSchema) })),
});
export type PublishResult = z.infer<typeof publishResultSchema>;
