// The rows of one cluster (those of its tokens apart): its record, snapshot, compiled results, which shards exist and what they were sent,
// which sockets are still to be closed, and what probes found. SQL only, no decisions.
// Everything here survives; the table is kept in memory as well, because every isolate asks for it.
import type { RoutingTable } from "../routing/table.ts";
import type { PublishResult, SnapshotGeneration } from "../../shared/model/snapshot.ts";
import type { Published } from "../rpc/contract.ts";
import type { ClusterRecord } from "../../shared/control/answers.ts";
import { documentsTable, getDocument, putDocument } from "../storage/documents.ts";
import { codeOptionsMigration, tokenRolesMigration, tokensMigration } from "./tokens.ts";

export const clusterMigrations = [
  `${documentsTable};
   -- One row. generation: of the compiled table; granted: the last epoch handed out; probes: version of the probe state.
   CREATE TABLE cluster (record TEXT NOT NULL, epoch INTEGER, sequence INTEGER, granted INTEGER NOT NULL DEFAULT 0,
     generation INTEGER NOT NULL DEFAULT 0, probes INTEGER NOT NULL DEFAULT 0);
   CREATE TABLE token (id TEXT PRIMARY KEY, hash BLOB NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;
   -- pushed: the newest table generation that the shard confirmed.
   CREATE TABLE shard (shard INTEGER PRIMARY KEY, pushed INTEGER NOT NULL DEFAULT 0);
   -- Sockets of withdrawn tokens, closed in so many rounds; not_before: epoch ms.
   CREATE TABLE closing (token TEXT NOT NULL, shard INTEGER NOT NULL, reason TEXT NOT NULL, not_before INTEGER NOT NULL,
     rounds INTEGER NOT NULL, PRIMARY KEY (token, shard)) WITHOUT ROWID;
   -- Direct nodes that are not simply well: a threshold state as JSON.
   CREATE TABLE probe (node TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;`,
  tokensMigration,
  codeOptionsMigration,
  tokenRolesMigration,
];

/** What was compiled from the stored snapshot, beside the table. */
export interface Compiled {
  readonly services: PublishResult["services"];
  /** Service UID → its default label, which stays its own. */
  readonly assigned: Readonly<Record<string, string>>;
}

export type Closing = { token: string; shard: number; reason: string; not_before: number; rounds: number };

export class ClusterStore {
  readonly #sql: SqlStorage;
  #table: RoutingTable | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  insert(record: ClusterRecord): void {
    // Versions start at the clock, for the reason that setTable() gives.
    this.#sql.exec("INSERT INTO cluster (record, probes) VALUES (?, ?)", JSON.stringify(record), record.createdAt);
  }

  record(): ClusterRecord | undefined {
    const row = this.#sql.exec<{ record: string }>("SELECT record FROM cluster").toArray()[0];
    return row === undefined ? undefined : (JSON.parse(row.record) as ClusterRecord);
  }

  /** Of the stored snapshot; undefined before the first. */
  snapshotGeneration(): SnapshotGeneration | undefined {
    const { epoch, sequence } = this.#sql
      .exec<{ epoch: number | null; sequence: number | null }>("SELECT epoch, sequence FROM cluster")
      .one();
    return epoch === null || sequence === null ? undefined : { epoch, sequence };
  }

  setSnapshotGeneration({ epoch, sequence }: SnapshotGeneration): void {
    this.#sql.exec("UPDATE cluster SET epoch = ?, sequence = ?", epoch, sequence);
  }

  grantedEpoch(): number {
    return this.#sql.exec<{ granted: number }>("SELECT granted FROM cluster").one().granted;
  }

  setGrantedEpoch(epoch: number): void {
    this.#sql.exec("UPDATE cluster SET granted = ?", epoch);
  }

  /** Epoch and generation become as before the first snapshot. The snapshot itself stays, and serves. */
  forgetGenerations(): void {
    this.#sql.exec("UPDATE cluster SET granted = 0, epoch = NULL, sequence = NULL");
  }

  snapshotText(): string | undefined {
    return getDocument(this.#sql, "snapshot");
  }

  setSnapshotText(text: string): void {
    putDocument(this.#sql, "snapshot", text);
  }

  /** The publish that brought the stored snapshot; undefined: an earlier version of the edge stored it. */
  published(): Published | undefined {
    const text = getDocument(this.#sql, "published");
    return text === undefined ? undefined : (JSON.parse(text) as Published);
  }

  setPublished(published: Published): void {
    putDocument(this.#sql, "published", JSON.stringify(published));
  }

  compiled(): Compiled {
    const text = getDocument(this.#sql, "compiled");
    return text === undefined ? { services: {}, assigned: {} } : (JSON.parse(text) as Compiled);
  }

  /** `text`: a Compiled as JSON. */
  setCompiled(text: string): void {
    putDocument(this.#sql, "compiled", text);
  }

  /** What the edge was set to when the table was compiled. */
  settings(): string | undefined {
    return getDocument(this.#sql, "settings");
  }

  setSettings(settings: string): void {
    putDocument(this.#sql, "settings", settings);
  }

  generation(): number {
    return this.#sql.exec<{ generation: number }>("SELECT generation FROM cluster").one().generation;
  }

  table(): RoutingTable | undefined {
    const text = this.#table === undefined ? getDocument(this.#sql, "table") : undefined;
    if (text !== undefined) this.#table = { ...(JSON.parse(text) as RoutingTable), generation: this.generation() };
    return this.#table;
  }

  /**
   * Answers whether the content differs; only then the generation rises. It is never below the clock in ms, so that a cluster
   * that was deleted and made again starts above whatever a cache still holds: the old one, which changes at most once a ms,
   * is never ahead of the clock. `text`: a RoutingTable without its generation, as JSON.
   */
  setTable(text: string, now: number): boolean {
    if (text === getDocument(this.#sql, "table")) return false;
    putDocument(this.#sql, "table", text);
    this.#sql.exec("UPDATE cluster SET generation = max(generation + 1, ?)", now);
    // Not kept in memory yet: the caller's transaction may still be rolled back.
    this.#table = undefined;
    return true;
  }

  shards(): { shard: number; pushed: number }[] {
    return this.#sql
      .exec<{ shard: number; pushed: number }>("SELECT shard, pushed FROM shard ORDER BY shard")
      .toArray();
  }

  /** Answers whether it is new. */
  addShard(shard: number): boolean {
    return this.#sql.exec("INSERT OR IGNORE INTO shard (shard) VALUES (?)", shard).rowsWritten > 0;
  }

  setPushed(shard: number, generation: number): void {
    this.#sql.exec("UPDATE shard SET pushed = max(pushed, ?) WHERE shard = ?", generation, shard);
  }

  closings(): Closing[] {
    return this.#sql.exec<Closing>("SELECT * FROM closing").toArray();
  }

  setClosing({ token, shard, reason, not_before, rounds }: Closing): void {
    this.#sql.exec("INSERT OR REPLACE INTO closing VALUES (?, ?, ?, ?, ?)", token, shard, reason, not_before, rounds);
  }

  removeClosing({ token, shard }: Closing): void {
    this.#sql.exec("DELETE FROM closing WHERE token = ? AND shard = ?", token, shard);
  }

  probes(): Map<string, string> {
    const rows = this.#sql.exec<{ node: string; state: string }>("SELECT node, state FROM probe").toArray();
    return new Map(rows.map((row) => [row.node, row.state]));
  }

  probesVersion(): number {
    return this.#sql.exec<{ probes: number }>("SELECT probes FROM cluster").one().probes;
  }

  /** undefined removes. */
  setProbe(node: string, state: string | undefined): void {
    if (state === undefined) this.#sql.exec("DELETE FROM probe WHERE node = ?", node);
    else this.#sql.exec("INSERT OR REPLACE INTO probe VALUES (?, ?)", node, state);
  }

  raiseProbesVersion(): void {
    this.#sql.exec("UPDATE cluster SET probes = probes + 1");
  }
}
