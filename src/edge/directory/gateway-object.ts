// GatewayObject, one per deployment: the clusters, and the directory hostname → owning cluster. Everything is in SQLite and
// survives; memory holds one copy of the directory for the isolates that ask.
// A ClusterObject may be waiting for an answer of this object, so this object never calls one meanwhile. What has to be done in
// other clusters is stored as an errand; the alarm carries errands out, and repeats those that fail.
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import type { ClusterRecord, DirectoryEntry, Member } from "../../shared/control/answers.ts";
import type { GatewayRpc, Outcome } from "../rpc/contract.ts";
import { Directory, directoryMigrations, type Errand, ownerAlone } from "./store.ts";
import { nameVerdict } from "./hostnames.ts";
import { annotation } from "../../shared/model/annotations.ts";
import { backoff } from "../../shared/net/backoff.ts";
import { migrate } from "../storage/schema.ts";
import { within } from "../rpc/within.ts";

/** A directory is loaded whole by every isolate. */
const HOSTNAMES_PER_CLUSTER = 10_000;
/** Of them, those with a list of members. They outlive the cluster's Services, so they have a limit of their own. */
const LISTED_PER_CLUSTER = 1_000;
const ERRAND_TIMEOUT_MS = 30_000;
const ERRAND_RETRY = { firstMs: 2_000, maxMs: 600_000 };

type Refused = Awaited<ReturnType<GatewayRpc["claim"]>>["refused"][number];

export class GatewayObject extends DurableObject<Env> implements GatewayRpc {
  readonly #directory: Directory;
  /** Errands that are being carried out. Running one twice could destroy a cluster that was created again in between. */
  readonly #running = new Set<string>();
  #failures = 0;
  #answer: Awaited<ReturnType<GatewayRpc["directory"]>> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, directoryMigrations);
    this.#directory = new Directory(ctx.storage.sql);
  }

  async createCluster(input: {
    name: string;
    hostnames: readonly string[];
    shards: number;
  }): Promise<Outcome<{ cluster: ClusterRecord }>> {
    const { name } = input;
    if (this.#directory.cluster(name) !== undefined) {
      const message = `cluster ${name} exists: choose another name, or delete it first`;
      return { ok: false, status: 409, reason: "cluster-exists", message };
    }
    if (this.#directory.errands().some((errand) => errand.cluster === name && errand.kind === "destroy")) {
      const message = `the old cluster ${name} is still being deleted: try again in a few seconds`;
      return { ok: false, status: 503, reason: "cluster-being-deleted", message };
    }
    const cluster = { ...input, createdAt: Date.now() };
    await this.#change(() => {
      this.#directory.addCluster(cluster);
      return [];
    });
    return { ok: true, cluster };
  }

  async listClusters(): Promise<readonly ClusterRecord[]> {
    return this.#directory.clusters();
  }

  async getCluster(name: string): Promise<ClusterRecord | undefined> {
    return this.#directory.cluster(name);
  }

  async deleteCluster(name: string): Promise<Outcome<object>> {
    if (this.#directory.cluster(name) === undefined) return noCluster(name);
    await this.#change(() => {
      this.#directory.addErrand(name, "destroy");
      return this.#directory.removeCluster(name);
    });
    // No ClusterObject waits for this call, so the errand may run now; usually it is done when the call returns.
    for (const errand of this.#directory.errands())
      if (errand.cluster === name && errand.kind === "destroy") await this.#run(errand);
    return { ok: true };
  }

  async claim(cluster: string, hostnames: readonly string[]): Promise<{ refused: readonly Refused[] }> {
    const record = this.#directory.cluster(cluster);
    const granted = new Set<string>();
    const refused: Refused[] = [];
    const rules = {
      edgeDomain: this.env.EDGE_DOMAIN,
      adminHost: this.env.ADMIN_HOST,
      clusters: this.#directory.clusters().map((each) => each.name),
    };
    const entries = this.#directory.entriesOf(hostnames);
    for (const hostname of new Set(hostnames)) {
      const entry = entries.get(hostname);
      const foreign = entry !== undefined && entry.owner !== cluster;
      // The owner lists this cluster as a member: it may serve the name, which stays the owner's.
      if (foreign && entry.members.some((member) => member.cluster === cluster)) continue;
      if (record === undefined) {
        refused.push({ hostname, reason: "not-allowed", message: `cluster ${cluster} does not exist` });
        continue;
      }
      const verdict = nameVerdict(hostname, cluster, record.hostnames, rules);
      if (!verdict.allowed) refused.push({ hostname, reason: verdict.reason, message: verdict.message });
      // A cluster learns that another has the name only where the admin has granted it to both.
      else if (foreign)
        refused.push({ hostname, reason: "owned", message: `another cluster of this edge owns ${hostname}` });
      else if (granted.size < HOSTNAMES_PER_CLUSTER) granted.add(hostname);
      else {
        const message = `cluster ${cluster} has ${HOSTNAMES_PER_CLUSTER} hostnames already, the most that one may have`;
        refused.push({ hostname, reason: "not-allowed", message });
      }
    }
    if (record !== undefined) {
      const wishes = refused
        .filter(({ reason }) => reason !== "reserved")
        .slice(0, HOSTNAMES_PER_CLUSTER)
        .map(({ hostname }) => hostname);
      await this.#change(() => this.#directory.claim(cluster, granted, wishes));
    }
    return { refused };
  }

  async setMembers(
    hostname: string,
    members: readonly Member[],
    by: { admin: true } | { cluster: string },
  ): Promise<Outcome<{ entry: DirectoryEntry }>> {
    const entry = this.#directory.entry(hostname);
    // A cluster must not learn that another one has this hostname: the answer is as for one that nobody has.
    if (entry === undefined || ("cluster" in by && by.cluster !== entry.owner)) {
      const message = `${hostname} is not claimed${"cluster" in by ? " by this cluster" : ""}: publish a Service that has it in ${annotation.hostname} first`;
      return { ok: false, status: "cluster" in by ? 403 : 404, reason: "hostname-not-claimed", message };
    }
    // A cluster may list what it likes, and so does not learn which other clusters there are; directory() leaves out the rest.
    const unknown = members.find((member) => this.#directory.cluster(member.cluster) === undefined);
    if (unknown !== undefined && "admin" in by) {
      const message = `members: cluster ${unknown.cluster} does not exist`;
      return { ok: false, status: 400, reason: "no-such-member", message };
    }
    if ("cluster" in by && this.#directory.listed(by.cluster) >= LISTED_PER_CLUSTER) {
      const message = `cluster ${by.cluster} has members listed for ${LISTED_PER_CLUSTER} hostnames, the most that one may have: list its own cluster alone for those that need no others`;
      return { ok: false, status: 409, reason: "too-many-listed", message };
    }
    await this.#change(() => this.#directory.setMembers(entry, members));
    return { ok: true, entry: { hostname, owner: entry.owner, members } };
  }

  async getHostname(hostname: string): Promise<DirectoryEntry | undefined> {
    return this.#directory.entry(hostname);
  }

  async lookUp(hostnames: readonly string[]): ReturnType<GatewayRpc["lookUp"]> {
    const entries = hostnames.map((hostname) => this.#directory.entry(hostname));
    return { version: this.#directory.version(), entries: entries.filter((entry) => entry !== undefined) };
  }

  async directory(known?: number): ReturnType<GatewayRpc["directory"]> {
    const version = this.#directory.version();
    if (known === version) return { version };
    if (this.#answer?.version !== version) {
      const shards = Object.fromEntries(this.#directory.clusters().map((each) => [each.name, each.shards]));
      const entries = this.#directory.entries().map((entry) => present(entry, shards));
      this.#answer = { version, entries, shards };
    }
    return this.#answer;
  }

  override async alarm(): Promise<void> {
    for (const errand of this.#directory.errands()) await this.#run(errand);
    if (this.#directory.errands().length === 0) return;
    await this.ctx.storage.setAlarm(Date.now() + backoff(this.#failures, ERRAND_RETRY));
  }

  /** One transaction; the clusters that `change` names are compiled again, soon, by the alarm. */
  async #change(change: () => readonly string[]): Promise<void> {
    this.ctx.storage.transactionSync(() => {
      for (const cluster of change())
        if (this.#directory.cluster(cluster) !== undefined) this.#directory.addErrand(cluster, "recompile");
    });
    if (this.#directory.errands().length > 0) await this.ctx.storage.setAlarm(Date.now());
  }

  /** An errand that fails stays stored, and the alarm tries again. */
  async #run(errand: Errand): Promise<void> {
    const { cluster, kind } = errand;
    const key = `${kind} ${cluster}`;
    if (this.#running.has(key)) return;
    this.#running.add(key);
    try {
      const object = this.env.CLUSTER.getByName(cluster);
      await within(ERRAND_TIMEOUT_MS, kind === "destroy" ? object.destroy() : object.recompile());
      this.#directory.finishErrand(errand);
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      console.error(`cluster ${cluster}: ${kind} failed, will be repeated`, error);
    } finally {
      this.#running.delete(key);
    }
  }
}

/** Leaves out members that do not exist: calling their objects would create them. */
function present(entry: DirectoryEntry, clusters: Readonly<Record<string, unknown>>): DirectoryEntry {
  const members = entry.members.filter(({ cluster }) => Object.hasOwn(clusters, cluster));
  return { ...entry, members: members.length > 0 ? members : ownerAlone(entry.owner) };
}

function noCluster(name: string): Outcome<never> {
  return { ok: false, status: 404, reason: "no-such-cluster", message: `cluster ${name} does not exist` };
}
