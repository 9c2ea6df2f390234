// The directory's rows: clusters, who owns which hostname, who serves it, and who would like to. SQL only: what a name's form
// allows is decided in hostnames.ts, what follows from a change is done by GatewayObject.
// An entry lives while its owner claims it, or while explicit members were set for it.
// Every function that changes something answers which clusters must compile again.
import type { ClusterRecord, DirectoryEntry, Member } from "../../shared/control/answers.ts";

export const directoryMigrations = [
  `CREATE TABLE cluster (name TEXT PRIMARY KEY, created_at INTEGER NOT NULL, hostnames TEXT NOT NULL, shards INTEGER NOT NULL)
     WITHOUT ROWID;
   CREATE TABLE hostname (hostname TEXT PRIMARY KEY, owner TEXT NOT NULL, claimed INTEGER NOT NULL, members TEXT) WITHOUT ROWID;
   CREATE INDEX hostname_owner ON hostname (owner);
   -- What a cluster's snapshot wants and did not get: whom to ask again when a name becomes free.
   CREATE TABLE wish (hostname TEXT NOT NULL, cluster TEXT NOT NULL, PRIMARY KEY (hostname, cluster)) WITHOUT ROWID;
   -- Work for the alarm: clusters to compile again, clusters to destroy. asked counts how often, so that what is asked for
   -- while an errand runs is not taken for done.
   CREATE TABLE errand (cluster TEXT NOT NULL, kind TEXT NOT NULL, asked INTEGER NOT NULL, PRIMARY KEY (cluster, kind))
     WITHOUT ROWID;
   CREATE TABLE version (version INTEGER NOT NULL);
   INSERT INTO version VALUES (1);`,
  "CREATE INDEX wish_cluster ON wish (cluster)",
];

/** The items of a JSON list that is bound to it. */
const EACH = "SELECT value FROM json_each(?)";

export type Errand = { cluster: string; kind: "recompile" | "destroy"; asked: number };
type ClusterRow = { name: string; created_at: number; hostnames: string; shards: number };
type HostnameRow = { hostname: string; owner: string; claimed: number; members: string | null };

export class Directory {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  clusters(): ClusterRecord[] {
    return this.#sql.exec<ClusterRow>("SELECT * FROM cluster ORDER BY name").toArray().map(clusterRecord);
  }

  cluster(name: string): ClusterRecord | undefined {
    return this.#sql.exec<ClusterRow>("SELECT * FROM cluster WHERE name = ?", name).toArray().map(clusterRecord)[0];
  }

  addCluster(cluster: ClusterRecord): void {
    const { name, createdAt, hostnames, shards } = cluster;
    this.#sql.exec("INSERT INTO cluster VALUES (?, ?, ?, ?)", name, createdAt, JSON.stringify(hostnames), shards);
    this.#changed();
  }

  /** Frees its hostnames, takes it off the members of others' hostnames, and deletes its refused claims. */
  removeCluster(name: string): string[] {
    const affected = new Set<string>();
    for (const entry of this.entries()) {
      if (entry.owner === name) {
        for (const member of entry.members) affected.add(member.cluster);
        this.#sql.exec("DELETE FROM hostname WHERE hostname = ?", entry.hostname);
      } else if (entry.members.some((member) => member.cluster === name)) {
        const members = entry.members.filter((member) => member.cluster !== name);
        this.#writeMembers(entry.hostname, entry.owner, members);
      }
    }
    // The default names of a deleted cluster become free for all, so every cluster with a refused claim compiles again.
    for (const row of this.#sql.exec<{ cluster: string }>("SELECT DISTINCT cluster FROM wish"))
      affected.add(row.cluster);
    this.#sql.exec("DELETE FROM wish WHERE cluster = ?", name);
    this.#sql.exec("DELETE FROM cluster WHERE name = ?", name);
    this.#changed();
    affected.delete(name);
    return [...affected];
  }

  entry(hostname: string): DirectoryEntry | undefined {
    return this.#sql
      .exec<HostnameRow>("SELECT * FROM hostname WHERE hostname = ?", hostname)
      .toArray()
      .map(directoryEntry)[0];
  }

  /** The owners of those `hostnames` that have one. One statement, because there may be thousands. */
  entriesOf(hostnames: readonly string[]): Map<string, DirectoryEntry> {
    const found = this.#sql.exec<HostnameRow>(
      `SELECT * FROM hostname WHERE hostname IN (${EACH})`,
      JSON.stringify(hostnames),
    );
    return new Map(found.toArray().map((row) => [row.hostname, directoryEntry(row)]));
  }

  /** For how many hostnames `cluster` has members listed. */
  listed(cluster: string): number {
    return this.#sql
      .exec<{ n: number }>("SELECT count(*) AS n FROM hostname WHERE owner = ? AND members IS NOT NULL", cluster)
      .one().n;
  }

  entries(): DirectoryEntry[] {
    return this.#sql.exec<HostnameRow>("SELECT * FROM hostname ORDER BY hostname").toArray().map(directoryEntry);
  }

  /** Replaces what `cluster` owns by `granted`, all of which must be free or its own, and its refused claims by `refused`. */
  claim(cluster: string, granted: ReadonlySet<string>, refused: readonly string[]): string[] {
    const affected = new Set<string>();
    const had = new Map<string, HostnameRow>();
    for (const row of this.#sql.exec<HostnameRow>("SELECT * FROM hostname WHERE owner = ?", cluster))
      had.set(row.hostname, row);
    const gone: string[] = [];
    for (const row of had.values()) {
      if (granted.has(row.hostname) || row.claimed === 0) continue;
      if (row.members !== null) this.#sql.exec("UPDATE hostname SET claimed = 0 WHERE hostname = ?", row.hostname);
      else gone.push(row.hostname);
    }
    if (gone.length > 0) {
      for (const wisher of this.#wishers(gone)) affected.add(wisher);
      this.#sql.exec(`DELETE FROM hostname WHERE hostname IN (${EACH})`, JSON.stringify(gone));
    }
    const fresh = [...granted].filter((hostname) => !had.has(hostname));
    if (fresh.length > 0)
      this.#sql.exec(`INSERT INTO hostname SELECT value, ?, 1, NULL FROM (${EACH})`, cluster, JSON.stringify(fresh));
    for (const row of had.values())
      if (row.claimed === 0 && granted.has(row.hostname))
        this.#sql.exec("UPDATE hostname SET claimed = 1 WHERE hostname = ?", row.hostname);
    this.#replaceWishes(cluster, new Set(refused));
    if (gone.length > 0 || fresh.length > 0) this.#changed();
    affected.delete(cluster);
    return [...affected];
  }

  /** The owner alone is the default. It is not stored, so an entry that nobody claims any more becomes free. */
  setMembers(entry: DirectoryEntry, members: readonly Member[]): string[] {
    const affected = new Set([...entry.members, ...members].map((member) => member.cluster));
    this.#writeMembers(entry.hostname, entry.owner, members);
    this.#sql.exec("DELETE FROM hostname WHERE hostname = ? AND members IS NULL AND claimed = 0", entry.hostname);
    if (this.entry(entry.hostname) === undefined)
      for (const wisher of this.#wishers([entry.hostname])) affected.add(wisher);
    this.#changed();
    return [...affected];
  }

  version(): number {
    return this.#sql.exec<{ version: number }>("SELECT version FROM version").one().version;
  }

  addErrand(cluster: string, kind: Errand["kind"]): void {
    this.#sql.exec(
      "INSERT INTO errand VALUES (?, ?, 1) ON CONFLICT (cluster, kind) DO UPDATE SET asked = asked + 1",
      cluster,
      kind,
    );
  }

  errands(): Errand[] {
    return this.#sql.exec<Errand>("SELECT * FROM errand").toArray();
  }

  /** Deletes the errand, unless it was asked for again since `errand` was read. */
  finishErrand(errand: Errand): void {
    const { cluster, kind, asked } = errand;
    this.#sql.exec("DELETE FROM errand WHERE cluster = ? AND kind = ? AND asked = ?", cluster, kind, asked);
  }

  #wishers(hostnames: readonly string[]): string[] {
    return this.#sql
      .exec<{ cluster: string }>(
        `SELECT DISTINCT cluster FROM wish WHERE hostname IN (${EACH})`,
        JSON.stringify(hostnames),
      )
      .toArray()
      .map((row) => row.cluster);
  }

  #replaceWishes(cluster: string, wishes: Set<string>): void {
    const gone: string[] = [];
    for (const { hostname } of this.#sql
      .exec<{ hostname: string }>("SELECT hostname FROM wish WHERE cluster = ?", cluster)
      .toArray())
      if (!wishes.delete(hostname)) gone.push(hostname);
    if (gone.length > 0)
      this.#sql.exec(`DELETE FROM wish WHERE cluster = ? AND hostname IN (${EACH})`, cluster, JSON.stringify(gone));
    if (wishes.size > 0)
      this.#sql.exec(`INSERT INTO wish SELECT value, ? FROM (${EACH})`, cluster, JSON.stringify([...wishes]));
  }

  #writeMembers(hostname: string, owner: string, members: readonly Member[]): void {
    const [first, second] = members;
    const byDefault = first === undefined || (first.cluster === owner && second === undefined);
    const text = byDefault ? null : JSON.stringify(members);
    this.#sql.exec("UPDATE hostname SET members = ? WHERE hostname = ?", text, hostname);
  }

  #changed(): void {
    this.#sql.exec("UPDATE version SET version = version + 1");
  }
}

export const ownerAlone = (owner: string): readonly Member[] => [{ cluster: owner, priority: 0, weight: 1 }];

const clusterRecord = (row: ClusterRow): ClusterRecord => ({
  name: row.name,
  createdAt: row.created_at,
  hostnames: JSON.parse(row.hostnames) as string[],
  shards: row.shards,
});

const directoryEntry = (row: HostnameRow): DirectoryEntry => ({
  hostname: row.hostname,
  owner: row.owner,
  members: row.members === null ? ownerAlone(row.owner) : (JSON.parse(row.members) as Member[]),
});
