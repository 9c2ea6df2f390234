// ClusterObject, one per cluster, named by it: tokens, the last good snapshot, and the RoutingTable compiled from it, which it
// pushes to the cluster's TunnelObjects. Everything is in SQLite and survives; memory only saves reading.
// A refused publication changes nothing: the last good state keeps serving. What a shard has not confirmed is sent again by
// the alarm.
import { DurableObject } from "cloudflare:workers";
import { effects } from "../effects.ts";
import type { Env } from "../env.ts";
import { COMPILE_VERSION } from "../routing/compile.ts";
import { dialRules } from "../routing/dial.ts";
import type { ListenerSettings } from "../routing/ports.ts";
import type { LogFilter, LogRecord } from "../../shared/control/access-log.ts";
import type { Condition } from "../../shared/model/conditions.ts";
import type { PublishResult, Snapshot, SnapshotEndpoint, SnapshotGeneration } from "../../shared/model/snapshot.ts";
import { clusterNodes } from "./nodes.ts";
import { ClusterStore, clusterMigrations, type Compiled } from "./store.ts";
import type { ClusterNodes, ClusterRecord, TokenRecord } from "../../shared/control/answers.ts";
import type {
  ClusterFacts,
  ClusterProbe,
  ClusterRpc,
  InstallCodeInput,
  Outcome,
  Published,
  Publisher,
  Redeemed,
  Refusal,
} from "../rpc/contract.ts";
import { LogWatchers } from "./log-watchers.ts";
import { epochLimit, nextEpoch } from "./epochs.ts";
import { probedServices } from "./probed-services.ts";
import { Prober } from "./probes.ts";
import { prepare } from "./publication.ts";
import { created, migrate } from "../storage/schema.ts";
import { Rounds } from "./rounds.ts";
import { Shards } from "./shards.ts";
import { compareGenerations, readInSlices } from "./snapshot-input.ts";
import { type MintedSecret, hashSecret, mint } from "./token.ts";
import { Tokens, unknownCode } from "./tokens.ts";
import { GATEWAY_NAME } from "../rpc/names.ts";
import { within } from "../rpc/within.ts";

/** Publications that may wait for each other; each holds a snapshot in memory. */
const WAITING_MAX = 4;
/** Sockets of withdrawn tokens that wait to be closed, by token and shard: all of a cluster's tokens at all its shards. */
const CLOSINGS_MAX = 400;
const GATEWAY_TIMEOUT_MS = 10_000;
const PROBE_SECONDS = 60;

const notCreated: Refusal = {
  ok: false,
  status: 404,
  reason: "not-created",
  message: "this cluster does not exist: create it first",
};

/** Called between the parts of long work, so that the requests of other clusters, which share the thread, run in between. */
const othersFirst = async (): Promise<void> => await scheduler.wait(0);

/** Runs `work` to its end, and lets other requests run between its slices. */
async function inSlices<T>(work: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await othersFirst();
  }
}

export class ClusterObject extends DurableObject<Env> implements ClusterRpc {
  readonly #store: ClusterStore;
  readonly #tokens: Tokens;
  readonly #shards: Shards;
  readonly #prober: Prober;
  #created: boolean;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #lastRefused: ClusterFacts["lastRefused"];
  readonly #rounds = new Rounds<ClusterProbe>();
  readonly #logWatchers: LogWatchers;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new ClusterStore(ctx.storage.sql);
    this.#tokens = new Tokens(ctx.storage);
    this.#shards = new Shards(this.#store, env.TUNNEL);
    this.#prober = new Prober(this.#store, (Number(env.PROBE_SECONDS) || PROBE_SECONDS) * 1000, dialRules(env));
    this.#logWatchers = new LogWatchers(effects, (until) => {
      const { name } = this.#record() ?? {};
      if (name !== undefined) ctx.waitUntil(this.#shards.watchLog(name, until));
    });
    this.#created = created(ctx.storage.sql);
    if (this.#created) migrate(ctx.storage, clusterMigrations);
    // Compiled by other settings or by another version of the edge: tables and conditions must not wait for the next snapshot.
    if (this.#record() !== undefined && this.#store.settings() !== this.#settings())
      ctx.waitUntil(this.recompile().catch((error) => console.error("the tables of changed settings wait", error)));
  }

  async create(cluster: ClusterRecord): Promise<{ token: string }> {
    return await this.#alone(async () => {
      const minted = await mint("pst", cluster.name);
      if (this.#created) {
        this.#created = false;
        await this.ctx.storage.deleteAll();
      }
      migrate(this.ctx.storage, clusterMigrations);
      this.ctx.storage.transactionSync(() => {
        this.#store.insert(cluster);
        this.#tokens.add(minted, "first", "owner", "", Date.now());
      });
      this.#created = true;
      return { token: minted.secret };
    });
  }

  /** Throws where a shard could not be told to close its sockets: the caller repeats it. */
  async destroy(): Promise<void> {
    // Not queued behind publications: the tokens must stop working at once.
    if (this.#record() !== undefined) this.#tokens.removeAll();
    await this.#alone(async () => {
      const record = this.#record();
      if (record === undefined) return;
      this.#logWatchers.endAll();
      await this.#shards.closeAll(record.name, "cluster deleted");
      this.#created = false;
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll();
    });
  }

  async verify(token: string): ReturnType<ClusterRpc["verify"]> {
    const hash = await hashSecret(token);
    const cluster = this.#record();
    const found = cluster && this.#tokens.find(hash);
    if (cluster === undefined || found === undefined)
      return { ok: false, status: 401, reason: "unknown-token", message: "the token is not, or no longer, valid" };
    return { ok: true, tokenId: found.id, cluster, role: found.role };
  }

  async rotate(id?: string): Promise<Outcome<{ token: string }>> {
    const minted = await this.#mint("pst");
    if (minted === undefined) return notCreated;
    if (this.#store.closings().length >= CLOSINGS_MAX) {
      const message = "too many tokens were rotated just now: try again in half a minute";
      return { ok: false, status: 429, reason: "too-many-rotations", message };
    }
    const replaced = this.#tokens.replace(id, minted, Date.now());
    if (!replaced.ok) return replaced;
    await this.#withdraw(replaced.withdrawn, "token rotated");
    return { ok: true, token: minted.secret };
  }

  async tokens(): Promise<Outcome<{ tokens: readonly TokenRecord[] }>> {
    return this.#record() === undefined ? notCreated : { ok: true, tokens: this.#tokens.list() };
  }

  async revoke(id: string): Promise<Outcome<object>> {
    if (this.#record() === undefined) return notCreated;
    const revoked = this.#tokens.revoke(id);
    if (!revoked.ok) return revoked;
    await this.#withdraw(revoked.withdrawn, "token revoked");
    return { ok: true };
  }

  async createInstallCode(by: InstallCodeInput): Promise<Outcome<{ code: string; expiresAt: number; uses: number }>> {
    const minted = await this.#mint("psi");
    if (minted === undefined) return notCreated;
    const added = this.#tokens.addCode(minted, by, Date.now());
    return added.ok ? { ...added, code: minted.secret } : added;
  }

  async redeemInstallCode(code: string): Promise<Outcome<Redeemed & { token: string }>> {
    const hash = await hashSecret(code);
    const minted = await this.#mint("pst");
    if (minted === undefined) return unknownCode;
    const redeemed = this.#tokens.redeem(hash, minted, Date.now());
    return redeemed.ok ? { ...redeemed, token: minted.secret } : redeemed;
  }

  async dialled(shard: number): Promise<void> {
    const record = this.#record();
    if (record === undefined || shard >= record.shards || !this.#store.addShard(shard)) return;
    this.ctx.waitUntil(this.#deliver());
  }

  async grantEpoch(options: { reset?: boolean } = {}): Promise<Outcome<{ epoch: number }>> {
    if (this.#record() === undefined) return notCreated;
    if (options.reset === true) this.#store.forgetGenerations();
    const epoch = nextEpoch(this.#store.grantedEpoch(), this.#store.snapshotGeneration()?.epoch ?? 0);
    if (epoch === undefined) {
      const message = "this cluster's epochs are used up: the admin starts them again with POST .../epoch?reset=true";
      return { ok: false, status: 409, reason: "epochs-used-up", message };
    }
    this.#store.setGrantedEpoch(epoch);
    return { ok: true, epoch };
  }

  async publish(
    generation: SnapshotGeneration,
    body: string,
    by: Publisher = {},
  ): Promise<Outcome<{ result: PublishResult }>> {
    const published: Published = { ...by, ...generation, at: Date.now() };
    const outcome = await this.#inTurn(published, body);
    if (!outcome.ok) this.#lastRefused = { ...published, reason: outcome.reason, message: outcome.message };
    return outcome;
  }

  async #inTurn(published: Published, body: string): Promise<Outcome<{ result: PublishResult }>> {
    if (this.#waiting >= WAITING_MAX) {
      const message = `${WAITING_MAX} snapshots are waiting already: try again in a few seconds`;
      return { ok: false, status: 429, reason: "too-many-snapshots", message };
    }
    this.#waiting++;
    try {
      return await this.#alone(() => this.#publish(published, body));
    } finally {
      this.#waiting--;
    }
  }

  async table(known: { generation?: number; probes?: number } = {}): ReturnType<ClusterRpc["table"]> {
    if (this.#record() === undefined) return { generation: 0 };
    const generation = this.#store.generation();
    const table = known.generation === generation ? undefined : this.#store.table();
    const probes = known.probes === this.#store.probesVersion() ? undefined : this.#prober.state();
    const { until: watchedUntil } = this.#logWatchers;
    return {
      generation,
      ...(table && { table }),
      ...(probes && { probes }),
      ...(watchedUntil > 0 && { watchedUntil }),
    };
  }

  async watchLog(filter: LogFilter): ReturnType<ClusterRpc["watchLog"]> {
    if (this.#record() === undefined) return notCreated;
    const lines = this.#logWatchers.watch(filter);
    if (lines !== undefined) return { ok: true, lines, until: this.#logWatchers.until };
    const message = "too many read this cluster's access log already: end one of them, or try again in a minute";
    return { ok: false, status: 429, reason: "too-many-readers", message };
  }

  async log(records: readonly LogRecord[], leftOut: number): Promise<void> {
    this.#logWatchers.add(records, leftOut);
  }

  async conditions(): Promise<Readonly<Record<string, readonly Condition[]>>> {
    if (this.#record() === undefined) return {};
    const services = Object.entries(this.#store.compiled().services);
    return Object.fromEntries(services.map(([service, { conditions }]) => [service, conditions]));
  }

  async endpoints(): Promise<readonly (SnapshotEndpoint & { readonly service: string })[]> {
    return (this.#snapshot()?.services ?? []).flatMap(({ namespace, name, endpoints }) =>
      endpoints.map((endpoint) => ({ ...endpoint, service: `${namespace}/${name}` })),
    );
  }

  async nodes(): Promise<ClusterNodes> {
    const { name } = this.#record() ?? {};
    if (name === undefined) return { nodes: [], silentShards: [] };
    const seen = await this.#shards.nodes(name);
    const table = this.#record() && this.#store.table();
    const probed = new Set((table ? this.#prober.targets(table) : []).map(({ node }) => node));
    const probes = table ? this.#prober.state() : { version: 0, unhealthy: [] };
    return clusterNodes(this.#snapshot()?.nodes ?? [], seen, probed, probes);
  }

  async facts(about: { service?: string; client: string; most: number; nodesMost: number }): Promise<ClusterFacts> {
    if (this.#record() === undefined) return { generation: 0, services: [], servicesLeftOut: 0 };
    const snapshot = this.#snapshot();
    const [table, generation] = [this.#store.table(), this.#store.snapshotGeneration()];
    const lastAccepted = this.#store.published();
    const known = { services: snapshot?.services ?? [], table, compiled: this.#store.compiled().services };
    const { services, leftOut } = probedServices(known, about);
    return {
      generation: this.#store.generation(),
      ...(snapshot && {
        snapshot: {
          ...(generation && { generation }),
          services: snapshot.services.length,
          nodes: snapshot.nodes.map(({ name, excluded }) => ({ name, ...(excluded !== undefined && { excluded }) })),
        },
      }),
      ...(lastAccepted && { lastAccepted }),
      ...(this.#lastRefused && { lastRefused: this.#lastRefused }),
      services,
      servicesLeftOut: leftOut,
    };
  }

  async probe(about: { service?: string; limitMs: number; most: number }): Promise<Outcome<ClusterProbe>> {
    const { name } = this.#record() ?? {};
    if (name === undefined) return notCreated;
    const { service, limitMs, most } = about;
    const question = service === undefined ? {} : { service };
    const answer = this.#rounds.ask(service ?? "", () => this.#shards.probe(name, { question, limitMs, most }));
    if (answer !== undefined) return { ok: true, ...(await answer) };
    const message = "other probes of this cluster are under way: try again in a few seconds";
    return { ok: false, status: 429, reason: "too-many-probes", message };
  }

  /** Throws where the directory cannot be reached. The GatewayObject, which calls this from its alarm, calls again. */
  async recompile(): Promise<void> {
    await this.#alone(async () => {
      const snapshot = this.#snapshot();
      const record = this.#record();
      if (snapshot === undefined || record === undefined) return;
      if (!(await this.#serve(record, snapshot))) throw new Error("the directory did not answer");
    });
  }

  override async alarm(): Promise<void> {
    const table = this.#record() && this.#store.table();
    const results = table && (await this.#prober.run(table, Date.now()));
    const present = this.#record() && this.#store.table();
    if (results !== undefined && present !== undefined) this.#prober.record(results, present);
    await this.#deliver();
  }

  async #publish(published: Published, body: string): Promise<Outcome<{ result: PublishResult }>> {
    const generation: SnapshotGeneration = { epoch: published.epoch, sequence: published.sequence };
    const record = this.#record();
    if (record === undefined) return notCreated;
    const limit = epochLimit(record.createdAt, this.#store.grantedEpoch(), Date.now());
    if (generation.epoch > limit) {
      // On `superseded` an agent asks for an epoch, and the one that it is granted is below the limit.
      const message = `epoch ${generation.epoch} is further ahead than any leader of this cluster can be (${limit}): ask for one with POST .../epoch`;
      return { ok: false, status: 409, reason: "superseded", message };
    }
    const read = await inSlices(readInSlices(body));
    if (!read.ok) return read;
    const { snapshot, text } = read;
    await othersFirst();
    const stored = this.#store.snapshotGeneration();
    const newer = stored === undefined || compareGenerations(generation, stored) > 0;
    if (text === this.#store.snapshotText()) {
      // A new leader that publishes the same content still fences off the old leader.
      if (newer) this.#store.setSnapshotGeneration(generation);
      return { ok: true, result: this.#result(newer ? generation : stored, false) };
    }
    if (!newer) {
      const message = `snapshot ${generation.epoch}.${generation.sequence} is superseded by ${stored.epoch}.${stored.sequence}: publish with a higher generation, in a newer epoch if another leader took over`;
      return { ok: false, status: 409, reason: "superseded", message };
    }
    if (!(await this.#serve(record, snapshot, { text, published }))) {
      const message = "the directory of hostnames did not answer: try again; the last good snapshot keeps serving";
      return { ok: false, status: 503, reason: "directory-unavailable", message };
    }
    await othersFirst();
    return { ok: true, result: this.#result(generation, true) };
  }

  /** Compiles, claims, stores all of it or nothing, and tells the shards. False: the directory did not answer. */
  async #serve(
    { name }: ClusterRecord,
    snapshot: Snapshot,
    fresh?: { text: string; published: Published },
  ): Promise<boolean> {
    const gateway = this.env.GATEWAY.getByName(GATEWAY_NAME);
    const compiled = await prepare(snapshot, {
      cluster: name,
      edgeDomain: this.env.EDGE_DOMAIN,
      dial: dialRules(this.env),
      listeners: this.#listeners(),
      assigned: this.#store.compiled().assigned,
      claim: async (hostnames) => {
        await othersFirst();
        return await within(GATEWAY_TIMEOUT_MS, gateway.claim(name, hostnames)).catch(() => undefined);
      },
    });
    if (compiled === undefined) return false;
    await othersFirst();
    const before = this.#store.table();
    const { table, conditions, hostnames, assigned } = compiled;
    const services = Object.fromEntries(
      snapshot.services.map((service) => {
        const key = `${service.namespace}/${service.name}`;
        return [key, { hostnames: hostnames[key] ?? [], conditions: conditions[key] ?? [] }];
      }),
    );
    // Megabytes each: the transaction only writes them.
    const compiledText = JSON.stringify({ services, assigned } satisfies Compiled);
    await othersFirst();
    const tableText = JSON.stringify(table);
    await othersFirst();
    this.ctx.storage.transactionSync(() => {
      if (fresh !== undefined) {
        this.#store.setSnapshotText(fresh.text);
        this.#store.setSnapshotGeneration(fresh.published);
        this.#store.setPublished(fresh.published);
      }
      this.#store.setCompiled(compiledText);
      this.#store.setSettings(this.#settings());
      this.#store.setTable(tableText, Date.now());
    });
    await othersFirst();
    const after = this.#store.table();
    if (after !== undefined) this.#prober.follow(before, after);
    await this.#deliver();
    return true;
  }

  #listeners(): ListenerSettings {
    const { LISTENER_PORTS: listenerPorts, LISTENER_PORTS_MOST: most, LISTENER_TLS } = this.env;
    const listenerPortsMost = most === undefined ? undefined : Number(most);
    return { listenerPorts, listenerPortsMost, listenerTls: LISTENER_TLS !== "none" };
  }

  /** All that tables and conditions are compiled from, but for the snapshot and the directory. */
  #settings(): string {
    return JSON.stringify([COMPILE_VERSION, this.env.EDGE_DOMAIN, this.#listeners(), dialRules(this.env)]);
  }

  #result(generation: SnapshotGeneration, changed: boolean): PublishResult {
    return { generation, table: this.#store.generation(), changed, services: this.#store.compiled().services };
  }

  /** Undefined where the cluster does not exist, or no longer. */
  async #mint(prefix: "pst" | "psi"): Promise<MintedSecret | undefined> {
    const record = this.#record();
    const minted = record && (await mint(prefix, record.name));
    return this.#record() === undefined ? undefined : minted;
  }

  /** Call in the same tick as the tokens' removal, so that SQLite commits both or neither. */
  async #withdraw(tokens: readonly string[], reason: string): Promise<void> {
    const now = Date.now();
    const { name } = this.#record() ?? {};
    this.#shards.withdraw(tokens, reason, now);
    if (name !== undefined) await this.#shards.close(name, now);
    await this.#schedule();
  }

  #record(): ClusterRecord | undefined {
    return this.#created ? this.#store.record() : undefined;
  }

  #snapshot(): Snapshot | undefined {
    const text = this.#created ? this.#store.snapshotText() : undefined;
    return text === undefined ? undefined : (JSON.parse(text) as Snapshot);
  }

  /** Sends the shards what they have not confirmed, and sets the alarm for what they do not confirm now. */
  async #deliver(): Promise<void> {
    const { name } = this.#record() ?? {};
    if (name === undefined) return;
    const table = this.#store.table();
    await Promise.all([table && this.#shards.push(table), this.#shards.close(name, Date.now())]);
    await this.#schedule();
  }

  /** An earlier alarm stays: after a restart it is the only record of when to probe. */
  async #schedule(): Promise<void> {
    if (this.#record() === undefined) return;
    const now = Date.now();
    const table = this.#store.table();
    const times = [this.#shards.due(table?.generation ?? 0, now), this.#prober.due(table, now)];
    const next = Math.min(...times.filter((time) => time !== undefined));
    const set = await this.ctx.storage.getAlarm();
    if (Number.isFinite(next) && (set === null || next < set)) await this.ctx.storage.setAlarm(Math.max(next, now));
  }

  /** Runs `work` after all earlier ones have ended, so that no two changes of the stored state overlap. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }
}
