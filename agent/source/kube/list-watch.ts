// One kind of object, listed once and watched from there on: a shell around resume.ts that owns requests, timers and what is
// known of the kind. What is known stays while the API server is away; a new list replaces it in one step. An object of the same
// version stays the same one: whoever compares by identity sees only what has changed.
// Survives a restart: nothing.
import { setTimeout as delay } from "node:timers/promises";
import { type KubeApi, type Refused, statusOf } from "../../kube/api.ts";
import type { KubeObject } from "../resources.ts";
import type { SourceProblem } from "../source.ts";
import { afterList, afterMissing, afterWatch, backoff, type Ending, type Step } from "./resume.ts";
import { LineTooLong, lines } from "./lines.ts";
import { type Kind, type Received, receive, record } from "./objects.ts";

/** In milliseconds, but for the first. */
export interface Times {
  /** How long a watch lives at least, and at most twice that: all agents started together and must not list together. */
  readonly watchSeconds: number;
  /** A watch that outlives its own end by so much is dead. */
  readonly slackMs: number;
  readonly backoff: typeof backoff;
  /** An API server that does not have an optional kind is asked again after this at least, and at most twice that. */
  readonly missingMs: number;
}
export const times: Times = { watchSeconds: 300, slackMs: 15_000, backoff, missingMs: 600_000 };

/** So many objects at most, and half of them each time that they are too large together. */
const PAGE = 500;
/** etcd holds 1.5 MiB an object; escaped JSON may be larger. */
const LINE_MAX_BYTES = 8 * 1024 * 1024;
const PROBLEMS_MAX = 20;
/** A watch that ends after this has worked, though it had nothing to say. */
const LIVED_MS = 1_000;

/**
 * Called after each change of objects (the first list included) or problems. `key`: of the only object that has changed; absent: any
 * may have.
 */
export type OnChange = (what: "objects" | "problems", key?: string) => void;

export class ListWatch {
  readonly #api: KubeApi;
  readonly #kind: Kind;
  readonly #times: Times;
  readonly #random: () => number;
  readonly #onChange: OnChange;
  readonly #stopping = new AbortController();
  #objects = new Map<string, KubeObject>();
  /** By object: why its newest version is not used. */
  #unusable = new Map<string, string>();
  #problem: string | undefined;
  #version = "";
  #page = PAGE;
  #synced = false;
  #settled = false;

  /** Works until stop(). */
  constructor(
    api: KubeApi,
    kind: Kind,
    onChange: OnChange,
    { times: given, random }: { times: Times; random: () => number },
  ) {
    this.#api = api;
    this.#kind = kind;
    this.#times = given;
    this.#random = random;
    this.#onChange = onChange;
    void this.#run();
  }

  /** True from the first complete list on, for ever. For an optional kind, a first list that was refused is enough. */
  get settled(): boolean {
    return this.#settled;
  }

  /** "namespace/name" or "name" → object. */
  get objects(): ReadonlyMap<string, KubeObject> {
    return this.#objects;
  }

  get problems(): readonly SourceProblem[] {
    const kept = this.#synced ? "; the last known state stays in use" : "";
    const own =
      this.#problem === undefined
        ? []
        : [{ where: `Kubernetes API, ${this.#kind.name}s`, message: this.#problem + kept }];
    const objects = [...this.#unusable].slice(0, PROBLEMS_MAX).map(([key, message]) => {
      const old = this.#objects.has(key) ? " (its last good version stays in use)" : "";
      return { where: `${this.#kind.name} ${key}`, message: message + old };
    });
    return [...own, ...objects];
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #run(): Promise<void> {
    let step: Step = { do: "list", afterMs: 0, failures: 0, problem: undefined };
    while (!this.#stopping.signal.aborted) {
      await this.#sleep(step.afterMs);
      if (this.#stopping.signal.aborted) return;
      step = step.do === "list" ? await this.#list(step.failures) : await this.#watch(step.failures);
      if (this.#stopping.signal.aborted) return;
      // Not while the first failures are still retried: what was wrong before may still be so.
      if (step.problem !== undefined || step.failures === 0) this.#setProblem(step.problem);
    }
  }

  async #list(failures: number): Promise<Step> {
    const { backoff: wait } = this.#times;
    const found = new Map<string, KubeObject>();
    const unusable = new Map<string, string>();
    let next = "";
    let version = "";
    do {
      const query = { limit: String(this.#page), ...(next === "" ? {} : { continue: next }) };
      const answer = await this.#api.call("GET", this.#kind.path, { query, signal: this.#stopping.signal });
      if (answer.kind === "unreachable" && answer.tooLarge === true && this.#page > 1) {
        this.#page = Math.ceil(this.#page / 2);
        return { do: "list", afterMs: 0, failures, problem: undefined };
      }
      if (answer.kind !== "ok") return this.#refused(answer) ?? afterList(answer, failures, this.#random, wait);
      const { items, metadata } = record(answer.body);
      const { continue: following, resourceVersion } = record(metadata);
      // An empty list is [] or null, but never absent together with its version.
      if (typeof resourceVersion !== "string" || !(Array.isArray(items) || items === null))
        return afterList({ kind: "malformed" }, failures, this.#random, wait);
      for (const item of items ?? []) this.#take(receive(this.#kind, item), found, unusable);
      next = typeof following === "string" ? following : "";
      version = resourceVersion;
    } while (next !== "" && !this.#stopping.signal.aborted);
    if (this.#stopping.signal.aborted) return { do: "list", afterMs: 0, failures, problem: undefined };
    [this.#objects, this.#unusable, this.#version] = [found, unusable, version];
    [this.#synced, this.#settled] = [true, true];
    this.#onChange("objects");
    // A list that worked does not prove that watches do: failures are forgotten once one was heard.
    return { do: "watch", afterMs: 0, failures, problem: undefined };
  }

  async #watch(failures: number): Promise<Step> {
    const seconds = Math.round(this.#times.watchSeconds * (1 + this.#random()));
    const silence = new AbortController();
    // It ends by itself after `seconds`, and sends bookmarks before: whatever is longer silent than that is dead.
    const limit = seconds * 1000 + this.#times.slackMs;
    const timer = setTimeout(() => silence.abort(), limit);
    const signal = AbortSignal.any([this.#stopping.signal, silence.signal]);
    const query = {
      watch: "1",
      allowWatchBookmarks: "true",
      resourceVersion: this.#version,
      timeoutSeconds: String(seconds),
    };
    const began = performance.now();
    let heard = false;
    let ending: Ending | undefined;
    try {
      const answer = await this.#api.watch(this.#kind.path, query, signal);
      if (answer.kind === "open") {
        // Connected again: what was wrong with the API server is over.
        this.#setProblem(undefined);
        ending = await this.#read(answer.body, () => {
          heard = true;
          timer.refresh();
        });
        heard ||= performance.now() - began > LIVED_MS;
        ending ??= { kind: "closed", heard };
      } else ending = answer;
    } finally {
      clearTimeout(timer);
    }
    if (silence.signal.aborted) ending = { kind: "silent" };
    const missing = ending.kind === "status" ? this.#refused(ending) : undefined;
    if (missing !== undefined) return missing;
    // Only a watch that carried something proves that all is well again.
    return afterWatch(ending, heard ? 0 : failures, this.#random, this.#times.backoff);
  }

  /** Nothing waits any longer for a kind that need not be there. Returns the next step where the API server does not have it. */
  #refused(answer: Refused): Step | undefined {
    if (!this.#kind.optional) return undefined;
    if (!this.#settled) {
      this.#settled = true;
      this.#onChange("objects");
    }
    const missing = answer.kind === "status" && answer.status === 404;
    return missing ? afterMissing(this.#random, this.#times.missingMs) : undefined;
  }

  /** Undefined: it ended, in good order or not. An API server that stops, or the network: both are daily life. */
  async #read(body: AsyncIterable<Buffer>, onLine: () => void): Promise<Ending | undefined> {
    try {
      for await (const line of lines(body, LINE_MAX_BYTES)) {
        if (this.#stopping.signal.aborted) break;
        const ended = this.#event(line);
        if (ended !== undefined) return ended;
        onLine();
      }
    } catch (error) {
      if (error instanceof LineTooLong) return { kind: "malformed" };
    }
    return undefined;
  }

  /** Undefined: go on. */
  #event(line: string): Ending | undefined {
    let event: Readonly<Record<string, unknown>>;
    try {
      event = record(JSON.parse(line));
    } catch {
      return { kind: "malformed" };
    }
    const { type, object } = event;
    if (type === "ERROR") {
      const { code, reason, message } = statusOf(object);
      return { kind: "status", status: code, reason, message, afterMs: 0 };
    }
    if (type === "BOOKMARK") {
      const { resourceVersion } = record(record(object)["metadata"]);
      if (typeof resourceVersion === "string") this.#version = resourceVersion;
      return undefined;
    }
    const received = receive(this.#kind, object);
    if (received.key === undefined || received.version === "") return { kind: "malformed" };
    if (type === "DELETED") {
      this.#objects.delete(received.key);
      this.#unusable.delete(received.key);
    } else if (type === "ADDED" || type === "MODIFIED") this.#take(received, this.#objects, this.#unusable);
    else return { kind: "malformed" };
    this.#version = received.version;
    this.#onChange("objects", received.key);
    return undefined;
  }

  #take(received: Received, objects: Map<string, KubeObject>, unusable: Map<string, string>): void {
    const key = received.key ?? "without a name";
    const before = this.#objects.get(key);
    if (received.ok) {
      const isKnown = before?.metadata.resourceVersion === received.version;
      objects.set(key, isKnown ? before : received.object);
      unusable.delete(key);
      return;
    }
    unusable.set(key, received.problem);
    // A new list brings nothing better: the last good version stays.
    if (before !== undefined) objects.set(key, before);
  }

  #setProblem(problem: string | undefined): void {
    if (this.#problem === problem) return;
    this.#problem = problem;
    this.#onChange("problems");
  }

  /** Ends early when stopped. */
  async #sleep(ms: number): Promise<void> {
    if (ms > 0) await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
