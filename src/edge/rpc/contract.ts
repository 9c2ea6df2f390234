// What the three Durable Objects promise each other and the Worker over RPC. New code may talk to an object that still
// runs the version before (up to 300 s after a deploy): fields are only ever added, and readers tolerate their absence.
// Expected failures are values with a reason; only the impossible throws.
import type { RoutingTable } from "../routing/table.ts";
import type {
  ClusterNodes,
  ClusterRecord,
  DirectoryEntry,
  Member,
  TokenRecord,
  TokenRole,
  TunnelNode,
} from "../../shared/control/answers.ts";
import type { LogFilter, LogRecord } from "../../shared/control/access-log.ts";
import type { ProbedConnection, ProbedService, ProbeOutcome } from "../../shared/control/probe.ts";
import type { Condition } from "../../shared/model/conditions.ts";
import type { PublishResult, SnapshotEndpoint, SnapshotGeneration } from "../../shared/model/snapshot.ts";

/** An expected refusal. `status` is the HTTP status that the control API answers with. */
export interface Refusal {
  readonly ok: false;
  readonly status: 400 | 401 | 403 | 404 | 409 | 413 | 429 | 503;
  /** kebab-case, stable, machine-readable. */
  readonly reason: string;
  /** Names the field and the remedy. */
  readonly message: string;
}
export type Outcome<T> = ({ readonly ok: true } & T) | Refusal;

/** GatewayObject, one per deployment; its name is in names.ts, as are the others'. */
export interface GatewayRpc {
  createCluster(input: {
    name: string;
    hostnames: readonly string[];
    shards: number;
  }): Promise<Outcome<{ cluster: ClusterRecord }>>;
  listClusters(): Promise<readonly ClusterRecord[]>;
  getCluster(name: string): Promise<ClusterRecord | undefined>;
  /** Frees its hostnames and destroys its ClusterObject, at once or, where that cannot be reached, as soon as it can. */
  deleteCluster(name: string): Promise<Outcome<object>>;
  /** Replaces the set of hostnames that `cluster` claims. Refused ones are named with why; the rest is granted. */
  claim(
    cluster: string,
    hostnames: readonly string[],
  ): Promise<{
    refused: readonly { hostname: string; reason: "owned" | "not-allowed" | "reserved"; message: string }[];
  }>;
  setMembers(
    hostname: string,
    members: readonly Member[],
    by: { admin: true } | { cluster: string },
  ): Promise<Outcome<{ entry: DirectoryEntry }>>;
  /** What one hostname resolves to; undefined where nobody owns it. */
  getHostname(hostname: string): Promise<DirectoryEntry | undefined>;
  /** Who has which of these; those that nobody owns are not among them. */
  lookUp(
    hostnames: readonly string[],
  ): Promise<{ readonly version: number; readonly entries: readonly DirectoryEntry[] }>;
  /** The whole directory, or undefined where `known` is its present version. */
  directory(
    known?: number,
  ): Promise<{ version: number; entries?: readonly DirectoryEntry[]; shards?: Readonly<Record<string, number>> }>;
}

/** What probes say of direct nodes; absent nodes are unknown and may be used. */
export interface ProbeState {
  readonly version: number;
  readonly unhealthy: readonly { readonly node: string; readonly reason: string }[];
}

export interface InstallCodeInput {
  /** A token's id; "" for the admin. */
  readonly madeBy: string;
  /** With the agent in it; absent: the agent is fetched from the edge. */
  readonly image?: string | undefined;
  /** Of Node.js, for an agent that is fetched; absent: the manifest's own. */
  readonly nodeImage?: string | undefined;
  /** Of the agent, by name without dashes in front. */
  readonly options?: Readonly<Record<string, string>> | undefined;
}

/** What a redeemed code leads to. */
export interface Redeemed {
  readonly image?: string;
  readonly nodeImage?: string;
  readonly options: Readonly<Record<string, string>>;
}

/** Who published. */
export interface Publisher {
  /** The token's id. */
  readonly token?: string;
  /** Of the agent, as it says. */
  readonly node?: string;
}

export interface Published extends Publisher, SnapshotGeneration {
  /** Epoch ms. */
  readonly at: number;
}

/** What came of one probe stream. `answer`: what the node said, PROBE_MAX bytes at most, which nobody has read yet. */
export type ProbeResult =
  | { readonly ok: true; readonly sentAt: number; readonly answeredAt: number; readonly answer: string }
  | Extract<ProbeOutcome, { readonly ok: false }>;
export type ProbedLink = Omit<ProbedConnection, "shard" | "probe"> & { readonly probe: ProbeResult };
export interface ShardProbe {
  readonly connections: readonly ProbedLink[];
  readonly leftOut: number;
}

/** What a cluster's nodes answered. */
export interface ClusterProbe {
  readonly connections: readonly (ProbedLink & { readonly shard: number })[];
  readonly leftOut: number;
  /** Shards that did not answer in time. */
  readonly silentShards: readonly number[];
}

/** What the ClusterObject knows that a probe tells. */
export interface ClusterFacts {
  readonly generation: number;
  readonly snapshot?: {
    readonly generation?: SnapshotGeneration;
    readonly services: number;
    readonly nodes: readonly { readonly name: string; readonly excluded?: string }[];
  };
  readonly lastAccepted?: Published;
  readonly lastRefused?: Published & { readonly reason: string; readonly message: string };
  /** Hostnames without owner and members: those are the directory's. */
  readonly services: readonly ProbedService[];
  readonly servicesLeftOut: number;
}

/** ClusterObject, one per cluster, named by the cluster. */
export interface ClusterRpc {
  /** Makes (or re-makes) it with a first token, returned once and stored hashed. */
  create(cluster: ClusterRecord): Promise<{ token: string }>;
  /** Closes its sockets, forgets everything. */
  destroy(): Promise<void>;
  /** Constant time. The id names the token in logs and sockets; it is no secret. */
  verify(token: string): Promise<Outcome<{ tokenId: string; cluster: ClusterRecord; role?: TokenRole }>>;
  /**
   * A new token in place of the one with this id, or of the only one; the old one stops working at once and its sockets are
   * closed. The new one has its role, and what it made is the new one's. Refused with `not-created` where create() never ran:
   * the caller may run it.
   */
  rotate(id?: string): Promise<Outcome<{ token: string }>>;
  tokens(): Promise<Outcome<{ tokens: readonly TokenRecord[] }>>;
  /** It stops working at once, as does all that came of it: its install codes, the tokens they minted. Their sockets are closed. */
  revoke(id: string): Promise<Outcome<object>>;
  createInstallCode(by: InstallCodeInput): Promise<Outcome<{ code: string; expiresAt: number; uses: number }>>;
  /** Mints a new token, an agent's. */
  redeemInstallCode(code: string): Promise<Outcome<Redeemed & { token: string }>>;
  /** An agent is about to dial this shard: from now on its TunnelObject exists and is pushed tables. */
  dialled(shard: number): Promise<void>;
  /** One more than any that was granted or used. `reset`: as for a cluster that never published; its last snapshot serves on. */
  grantEpoch(options?: { reset?: boolean }): Promise<Outcome<{ epoch: number }>>;
  /** `body` is JSON text of a Snapshot, already size-limited. */
  publish(generation: SnapshotGeneration, body: string, by?: Publisher): Promise<Outcome<{ result: PublishResult }>>;
  /**
   * Table and probe state, each only where it differs from what the caller knows; and until when records are wanted for the access
   * log, epoch ms, where somebody reads it.
   */
  table(known?: {
    generation?: number;
    probes?: number;
  }): Promise<{ generation: number; table?: RoutingTable; probes?: ProbeState; watchedUntil?: number }>;
  conditions(): Promise<Readonly<Record<string, readonly Condition[]>>>;
  endpoints(): Promise<readonly (SnapshotEndpoint & { readonly service: string })[]>;
  /** Every node that the snapshot names or a shard sees. */
  nodes(): Promise<ClusterNodes>;
  /** What is known of the cluster: of all Services, or of the one asked for. `client`: the asker's address, "" unknown. */
  facts(about: { service?: string; client: string; most: number; nodesMost: number }): Promise<ClusterFacts>;
  /**
   * Asks `most` of the agents' connections, each of which has `limitMs`. One round after the other: who asks what a round under way asks
   * gets its answer, and too many that wait are refused.
   */
  probe(about: { service?: string; limitMs: number; most: number }): Promise<Outcome<ClusterProbe>>;
  /** Lines of the access log (LogLine, as JSON with a line's end) from now on, for as long as the stream is read. */
  watchLog(filter: LogFilter): Promise<Outcome<{ lines: ReadableStream<Uint8Array>; until: number }>>;
  /** Records for whoever reads the access log; `leftOut`: there were so many more. */
  log(records: readonly LogRecord[], leftOut: number): Promise<void>;
  /** Compiles again (a hostname was granted, taken or listed elsewhere). */
  recompile(): Promise<void>;
}

/**
 * TunnelObject, one per cluster and shard. Its fetch() takes two kinds of request: an agent's
 * dial (path TUNNEL_PATH, already authorised by the Worker) and a client's request, passed on as it came.
 */
export interface TunnelRpc {
  /** Pushed by the ClusterObject at each new generation. */
  setTable(table: RoutingTable): Promise<void>;
  /** Closes the sockets of one token, or all; 4001 tells the agent that redialling with it is pointless. */
  closeToken(tokenId: string | "all", reason: string): Promise<{ closed: number }>;
  nodes(): Promise<readonly TunnelNode[]>;
  /** Somebody reads the access log: until then, epoch ms, answers say which nodes were asked. */
  watchLog(until: number): Promise<void>;
  /** Opens a probe stream on each of `most` connections at the same time; answers after `limitMs` at the latest. */
  probe(about: { question: { service?: string }; limitMs: number; most: number }): Promise<ShardProbe>;
}

/**
 * A cluster's token: pst_<cluster>_<32 random bytes as base64url>. The cluster is in it so that a request can be led to the
 * one object that knows its hash.
 */
export const TOKEN_PATTERN = /^pst_([a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?)_([A-Za-z0-9_-]{43})$/;

/** An install code: as a token, but short-lived, and good for nothing but a manifest with a new token. */
export const INSTALL_CODE_PATTERN = /^psi_([a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?)_([A-Za-z0-9_-]{43})$/;

/**
 * Says whose dial it is. The control API writes it over whatever the agent sent, and a TunnelObject reads it on requests to the
 * admin host alone, which only the control API forwards.
 */
export const DIAL_HEADER = "x-postern-dial";
