// POST /api/v1/clusters/{cluster}/probe: what it may be sent, and what the edge answers. It is made for `postern doctor`: it states
// facts, from the edge and from each node, and judges nothing. A probe takes PROBE_MS at most, however many nodes are silent.
// Times are milliseconds since 1970 by the edge's clock (`…At`, `since`), ages and durations are milliseconds (`…Ms`, `…AgoMs`).
// As for all answers: fields are only ever added, and a reader ignores those that it does not know.
import { z } from "zod";
import { conditionSchema } from "../model/conditions.ts";
import { nodeReportSchema } from "../model/node-report.ts";
import { memberSchema } from "./answers.ts";

/** A connection that has not answered its probe stream after so long, ms, is said not to have answered. */
export const PROBE_MS = 2_500;
/** Connections of one cluster that one probe asks; those beyond are counted only. */
export const PROBED_MAX = 1_024;
/** Services in one answer; where one is asked for, that one alone. */
export const PROBED_SERVICES_MAX = 200;
/** Nodes named for one Service; the counts are of all. */
export const PROBED_NODES_MAX = 50;

/** "namespace/name", as Kubernetes allows names. */
export const serviceKeySchema = z
  .string()
  .max(253 + 1 + 63)
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
    "must be a Service as namespace/name, such as default/web",
  )
  .meta({ example: "default/web" });

export const probeInputSchema = z.strictObject({
  service: serviceKeySchema.optional().meta({
    description: "Only this Service, which every node then looks at as well: its endpoints and NodePorts are dialled",
  }),
});
export type ProbeInput = z.input<typeof probeInputSchema>;

const epochMs = z.number();
const ms = z.number().min(0);
const leftOut = z.int().min(0);

/** A thing that an isolate of the Worker keeps a copy of, and an object owns. */
const copySchema = z.object({
  /** What the owning object has now; null: it did not answer in time. */
  current: z.int().nullable(),
  /** What the isolate that answers this has; null: it has served nothing that needed it. On Cloudflare other isolates may have another. */
  here: z.int().nullable(),
  /** How long ago the isolate last had it confirmed; null where `here` is. Beyond 60,000 it serves nothing by it any more. */
  checkedAgoMs: ms.nullable(),
});

const edgeFactsSchema = z.object({
  /** "postern-edge 0.1.0" */
  software: z.string(),
  /** The edge's clock when it was asked, for the asker to compare with its own. */
  now: epochMs,
  /** The host, with a port where it is not the scheme's own, that this API is served at. */
  adminHost: z.string(),
  /** Suffix of default hostnames. */
  domain: z.string(),
  /** Which listener ports it offers: "standard" (what a Cloudflare zone accepts), "any", or a list such as "80,8000-8999". */
  listenerPorts: z.string(),
  /** False: nothing here ends TLS, so there is no port 443. */
  tls: z.boolean(),
  /** Which cluster has which hostname. Numbers are versions, which rise with each change. */
  directory: copySchema,
  /** The routing table of the cluster. Numbers are generations, as in GET …/table. */
  table: copySchema,
  /** The asker's address as the edge sees it; null: unknown. */
  yourAddress: z.string().nullable(),
});

/** A publish as the edge has it. */
const publishSchema = z.object({
  at: epochMs,
  /** Of the snapshot that was sent. */
  epoch: z.int(),
  sequence: z.int(),
  /** Id of the token that sent it; an install code's agents share one. null: unknown, or the admin's. */
  token: z.string().nullable(),
  /** The node whose agent sent it; null: it did not say. */
  node: z.string().nullable(),
});

const clusterFactsSchema = z.object({
  name: z.string(),
  createdAt: epochMs,
  shards: z.int(),
  /** The snapshot that is served; null: none was ever accepted. */
  snapshot: z
    .object({
      epoch: z.int().nullable(),
      sequence: z.int().nullable(),
      services: z.int(),
      nodes: z.int(),
      /** How long ago its content was accepted; null: by an edge that did not write that down. An old snapshot is no fault: nothing may have changed. */
      acceptedAgoMs: ms.nullable(),
    })
    .nullable(),
  /** The last that changed what is served; null: unknown. */
  lastAccepted: publishSchema.nullable(),
  /** The last that was refused, and why, since the cluster's object woke; null: none. */
  lastRefused: publishSchema.extend({ reason: z.string(), message: z.string() }).nullable(),
});

const probedHostnameSchema = z.object({
  hostname: z.string(),
  /** True: it has a listener in the table. False: see the Service's conditions (HostnameConflict, HostnameNotAllowed). */
  served: z.boolean(),
  /** The cluster that owns it; null: nobody, or (unless the admin asks) a cluster that the asker may not know of. */
  owner: z.string().nullable(),
  /** Which clusters serve it, where the asker may know. */
  members: z.array(memberSchema),
});

const probedPortSchema = z.object({
  /** Of the Service. */
  port: z.int(),
  protocol: z.enum(["TCP", "UDP", "SCTP"]),
  /** null: it has none. */
  nodePort: z.int().nullable(),
  /** Listener ports of the edge that lead to it: its own number, and 443 beside it where TLS ends at the edge. Empty: the edge offers none for it. */
  listeners: z.array(z.object({ port: z.int(), tls: z.boolean() })),
  /** How the edge reaches its nodes. null: it is not routed. "direct" may have become "tunnel" where direct is not possible. */
  transport: z.enum(["tunnel", "direct"]).nullable(),
  /** Why it answers 503 whatever nodes are connected; null: it does not. */
  unavailable: z.object({ reason: z.string(), message: z.string() }).nullable(),
  /** Nodes that may get streams of it, and how many of those the Service's hints or policy prefer. */
  eligible: z.int(),
  preferred: z.int(),
  /** Names of the eligible ones, PROBED_NODES_MAX at most, in order of names. */
  nodes: z.array(z.string()),
});

const probedServiceSchema = z
  .object({
    /** "namespace/name" */
    service: z.string(),
    kind: z.enum(["LoadBalancer", "Headless", "ExternalName"]),
    /** What the Service asks for; the ports say what it got. */
    transport: z.enum(["tunnel", "direct"]),
    externalTrafficPolicy: z.enum(["Cluster", "Local"]),
    hostnames: z.array(probedHostnameSchema),
    ports: z.array(probedPortSchema),
    /** CIDRs as written; empty: everybody. */
    sourceRanges: z.array(z.string()),
    /** Whether they let the asker's address in, as the edge sees it. */
    youAreAllowed: z.boolean(),
    /** By the last good snapshot. `ready` is what the edge sends to; `serving` counts those that are terminating and still serve. */
    endpoints: z.object({ known: z.int(), ready: z.int(), serving: z.int(), terminating: z.int() }),
    /** As GET …/conditions has them. */
    conditions: z.array(conditionSchema),
  })
  .meta({ id: "ProbedService" });
export type ProbedService = Readonly<z.infer<typeof probedServiceSchema>>;

/** A node that the snapshot gives no new streams. */
const excludedNodeSchema = z.object({ node: z.string(), why: z.string() });

/**
 * not-answered: PROBE_MS have passed. reset: the agent, or memory that ran out, ended the stream. busy: the agent answers another
 * probe, or was asked too often. lost: the connection ended meanwhile. draining: the agent stops and takes no streams.
 * full: the connection has no stream left. unsupported: the agent is older than probes. bad-answer: what came is no report.
 */
export const probeStages = [
  "not-answered",
  "reset",
  "busy",
  "lost",
  "draining",
  "full",
  "unsupported",
  "bad-answer",
] as const;
export type ProbeStage = (typeof probeStages)[number];

/** What came of the probe stream of one connection. */
export const probeOutcomeSchema = z.discriminatedUnion("ok", [
  z.object({
    ok: z.literal(true),
    /** From sending the question to having the answer, without the time that the agent says it worked. */
    roundTripMs: ms,
    /** The agent's clock less the edge's, when the question came: the true value lies within half a round trip of it. */
    clockSkewMs: z.number(),
    report: nodeReportSchema,
  }),
  z.object({
    ok: z.literal(false),
    stage: z.enum(probeStages),
    /** How long after the question that was known; 0 where none was sent. */
    afterMs: ms,
    /** Any frame has come from the node since the question was sent: the connection lives, whatever became of the probe. */
    heard: z.boolean(),
    /** In words. */
    why: z.string(),
  }),
]);
export type ProbeOutcome = Readonly<z.infer<typeof probeOutcomeSchema>>;

/** One tunnel connection. A node has one at each shard, and for a while two where its agent is being replaced. */
export const probedConnectionSchema = z
  .object({
    node: z.string(),
    shard: z.int(),
    /** The agent's process: the pod's UID where there is one. */
    instance: z.string(),
    /** "postern-agent 0.1.0" */
    software: z.string(),
    /** Id of the token that it dialled with. */
    token: z.string(),
    /** When it dialled. */
    since: epochMs,
    /** How long ago anything was heard of it before this probe, a ping included. An agent pings every 10,000 ms. */
    heardAgoMs: ms,
    /** It said that it stops: open streams finish, and no new one is opened. */
    draining: z.boolean(),
    /** It was silent while a request waited; new streams prefer other nodes until it is heard. */
    suspect: z.boolean(),
    /** Streams open on it, without the probe's own. */
    inFlight: z.int(),
    probe: probeOutcomeSchema,
  })
  .meta({ id: "ProbedConnection" });
export type ProbedConnection = Readonly<z.infer<typeof probedConnectionSchema>>;

export const probeAnswerSchema = z
  .object({
    edge: edgeFactsSchema,
    cluster: clusterFactsSchema,
    /** All, or the one that was asked for, sorted. Empty where that one is not in the snapshot. */
    services: z.array(probedServiceSchema),
    servicesLeftOut: leftOut,
    /** PROBED_NODES_MAX at most. */
    excludedNodes: z.array(excludedNodeSchema),
    excludedNodesLeftOut: leftOut,
    /** Nodes of the snapshot that have no connection at any shard that answered, PROBED_NODES_MAX at most. */
    unconnectedNodes: z.array(z.string()),
    unconnectedNodesLeftOut: leftOut,
    /** By node, then shard, then age, the newest first; PROBED_MAX at most. */
    connections: z.array(probedConnectionSchema),
    connectionsLeftOut: leftOut,
    /** Shards that did not answer in time: their connections are missing above. */
    silentShards: z.array(z.int()),
  })
  .meta({ id: "ProbeAnswer" });
export type ProbeAnswer = Readonly<z.infer<typeof probeAnswerSchema>>;
