// Keeps the status of every Service as the edge says it should be: a shell around status.ts that owns requests, retries and
// the memory of what was written. One patch a Service at a time, a few Services at once; only where something differs.
// Survives a restart: nothing; the status itself is the memory.
import type { Logger } from "pino";
import { inParallel } from "../../src/shared/in-parallel.ts";
import type { PublishResult, Snapshot } from "../../src/shared/model/snapshot.ts";
import { backoff } from "../../src/shared/net/backoff.ts";
import type { KubeApi } from "../kube/api.ts";
import type { KubeService } from "../source/resources.ts";
import { type PatchResult, patchStatus } from "./patch-status.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { type Contest, contested, PEACE_MS, written } from "./restore.ts";
import { type ExposedKind, isMarked, type EdgeAnswer, type StatusPatch, statusPatch } from "./status.ts";

export interface StatusWriterOptions {
  readonly api: KubeApi;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly exposedAs: (service: KubeService) => ExposedKind | undefined;
  /** False: this agent leads no more, and writes nothing. */
  readonly holds: () => boolean;
  readonly random?: () => number;
}

const AT_ONCE = 16;
/** An edge that cannot be asked must not keep a Service from going: snapshots are complete, it will hear of it. */
const RELEASE_MS = 10_000;
const MOMENT_MS = 50;
/** An API server that is away comes back; what it refuses it most likely refuses again. */
const RETRY = {
  unreachable: { firstMs: 500, maxMs: 30_000 },
  refused: { firstMs: 500, maxMs: 300_000 },
} as const;

interface Entry {
  service: KubeService;
  /** Newer than `service`: what the API server answered to our patch, until the watch brings another version. */
  reply: KubeService | undefined;
  contest: Contest | undefined;
  /** Number of the last snapshot that it was offered in; 0: of none. */
  offered: number;
  /** Since when it is none of ours any more; ms. */
  goingSince: number | undefined;
  failures: number;
  timer: NodeJS.Timeout | undefined;
  busy: boolean;
  again: boolean;
}

type Answers = ReadonlyMap<string, { readonly uid: string; readonly answer: EdgeAnswer }>;
const nothingSaid: PublishResult["services"][string] = { hostnames: [], conditions: [] };

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #random: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #queue = new Set<string>();
  /** What the edge answered of each Service; undefined before its first answer. */
  #answers: Answers | undefined;
  readonly #offers = new WeakMap<Snapshot, number>();
  #offered = 0;
  /** Number of the snapshot that `#answers` belongs to. */
  #concluded = 0;
  #running = 0;
  #stopped = false;
  #idle: (() => void) | undefined;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** All Services there are. Unchanged ones must be the same objects as before. */
  observe(services: readonly KubeService[]): void {
    const present = new Set<string>();
    for (const service of services) {
      const key = keyOf(service);
      present.add(key);
      const entry = this.#entries.get(key);
      if (entry?.service === service) continue;
      if (entry === undefined || entry.service.metadata.uid !== service.metadata.uid) {
        clearTimeout(entry?.timer);
        this.#entries.set(key, fresh(service));
      } else this.#changed(entry, service);
      this.#queue.add(key);
    }
    for (const [key, entry] of this.#entries) {
      if (present.has(key)) continue;
      clearTimeout(entry.timer);
      this.#entries.delete(key);
    }
    this.#pump();
  }

  /** What the edge will get next. Until it has taken a later one it may serve all that is in this one. */
  offered(snapshot: Snapshot): void {
    this.#offers.set(snapshot, ++this.#offered);
    for (const service of snapshot.services) {
      const entry = this.#entries.get(`${service.namespace}/${service.name}`);
      if (entry?.service.metadata.uid === service.uid) entry.offered = this.#offered;
    }
  }

  /** What the edge made of a snapshot that it was offered. */
  conclude({ services }: PublishResult, snapshot: Snapshot): void {
    const before = this.#answers;
    const answers = new Map(
      snapshot.services.map(({ namespace, name, uid, ports }) => {
        const key = `${namespace}/${name}`;
        return [key, { uid, answer: { ...(services[key] ?? nothingSaid), ports } }] as const;
      }),
    );
    [this.#answers, this.#concluded] = [answers, this.#offers.get(snapshot) ?? 0];
    for (const [key, { goingSince }] of this.#entries) {
      const news = JSON.stringify(before?.get(key)) !== JSON.stringify(answers.get(key));
      if (news || before === undefined || goingSince !== undefined) this.#queue.add(key);
    }
    this.#pump();
  }

  /** Lets what is under way end. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#queue.clear();
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
    await this.#untilIdle();
  }

  /** Takes all of ours from every Service, whatever is wanted: Postern is being uninstalled. */
  async releaseAll(): Promise<void> {
    await this.stop();
    const marked = [...this.#entries.values()].filter(({ service, reply }) => isMarked(reply ?? service));
    await inParallel(AT_ONCE, marked, async (entry) => {
      const service = entry.reply ?? entry.service;
      const wanted = { exposed: undefined, answer: undefined, released: true, otherWriter: undefined };
      const patch = statusPatch(service, wanted, new Date().toISOString());
      if (patch !== undefined) await this.#send(service, patch);
    });
  }

  #changed(entry: Entry, service: KubeService): void {
    entry.service = service;
    // What the watch brings may be older than our own write: that holds until it has caught up.
    if (entry.reply !== undefined && age(service) >= age(entry.reply)) entry.reply = undefined;
  }

  #pump(): void {
    for (const key of this.#queue) {
      if (this.#running >= AT_ONCE || this.#stopped) return;
      this.#queue.delete(key);
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      if (entry.busy) entry.again = true;
      else void this.#work(key, entry);
    }
  }

  async #work(key: string, entry: Entry): Promise<void> {
    this.#running++;
    entry.busy = true;
    try {
      await this.#reconcile(key, entry);
    } finally {
      entry.busy = false;
      this.#running--;
      if (entry.again && !this.#stopped && this.#entries.get(key) === entry) this.#queue.add(key);
      entry.again = false;
      if (this.#running === 0) this.#idle?.();
      this.#pump();
    }
  }

  async #reconcile(key: string, entry: Entry): Promise<void> {
    clearTimeout(entry.timer);
    const service = entry.reply ?? entry.service;
    const now = Date.now();
    const exposed = this.#options.exposedAs(service);
    entry.goingSince = exposed === undefined ? (entry.goingSince ?? now) : undefined;
    const known = this.#answers?.get(key);
    const answer = known?.uid === service.metadata.uid ? known.answer : undefined;
    const confirmed = this.#answers !== undefined && answer === undefined && this.#concluded > entry.offered;
    const released = confirmed || (entry.goingSince !== undefined && now - entry.goingSince >= RELEASE_MS);
    // Of another type the API server itself takes away what we wrote.
    if (exposed !== "LoadBalancer") entry.contest = undefined;
    else if (entry.contest !== undefined) entry.contest = contested(entry.contest, service, now);
    const wanted = { exposed, answer, released, otherWriter: entry.contest?.otherWriter };
    const patch = statusPatch(service, wanted, new Date(now).toISOString());
    if (patch === undefined) {
      entry.failures = 0;
      // A timer may end a millisecond before its time by this clock: then it is a moment more, and not all of it again.
      if (entry.goingSince !== undefined && isMarked(service))
        this.#later(key, entry, Math.max(MOMENT_MS, entry.goingSince + RELEASE_MS - now));
      // The condition that names the other writer is removed then.
      else if (entry.contest?.otherWriter !== undefined) this.#later(key, entry, PEACE_MS + 1_000);
      return;
    }
    const wait = (entry.contest?.notBefore ?? 0) - now;
    if (wait > 0 && patch.purpose !== "release") return this.#later(key, entry, wait);
    await this.#apply(key, entry, service, patch);
  }

  async #apply(key: string, entry: Entry, service: KubeService, patch: StatusPatch): Promise<void> {
    const result = await this.#send(service, patch);
    if (result === "refused" || result === "unreachable") {
      const range = backoff(entry.failures, RETRY[result]);
      entry.failures++;
      return this.#later(key, entry, range * (0.5 + this.#random() / 2));
    }
    entry.failures = 0;
    if (result === "overtaken") return;
    entry.contest = patch.purpose === "release" ? undefined : written(entry.contest, result);
    // Where the watch was faster it has the truth already. What is gone with its finalizer is answered in its old version.
    if (age(entry.service) <= age(result)) entry.reply = result;
    entry.again = true;
  }

  async #send(service: KubeService, patch: StatusPatch): Promise<PatchResult> {
    // Whoever leads now has written something else meanwhile.
    return this.#options.holds() ? await patchStatus(this.#options, service, patch) : "overtaken";
  }

  #later(key: string, entry: Entry, ms: number): void {
    if (this.#stopped) return;
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => {
      this.#queue.add(key);
      this.#pump();
    }, ms);
  }

  async #untilIdle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }
}

const fresh = (service: KubeService): Entry => ({
  service,
  reply: undefined,
  contest: undefined,
  offered: 0,
  goingSince: undefined,
  failures: 0,
  timer: undefined,
  busy: false,
  again: false,
});
/** Versions are numbers that only rise, for all objects of one cluster. */
const age = ({ metadata }: KubeService): number => Number(metadata.resourceVersion ?? 0);
const keyOf = ({ metadata }: KubeService): string => `${metadata.namespace}/${metadata.name}`;
