// Events on Services, as a person sees them with `kubectl describe`. Equal ones are one Event whose `count` is patched; each
// object has a bucket of 25, refilled by one in five minutes, as in client-go. Events are best effort: they never delay a
// status, and what cannot be written is dropped.
// Survives a restart: nothing; an Event is then written anew.
import type { Logger } from "pino";
import { describe, type KubeApi, STRATEGIC_MERGE } from "../kube/api.ts";
import type { KubeService } from "../source/resources.ts";
import type { Happening } from "./event.ts";

const BURST = 25;
const REFILL_MS = 300_000;
/** Objects and Events that are remembered; the longest unused one goes. */
const REMEMBERED_MAX = 20_000;
/** Objects. */
const WAITING_MAX = 10_000;
const AT_ONCE = 4;
const MESSAGE_MAX = 1024;

export interface Bucket {
  readonly tokens: number;
  readonly at: number;
}

/** The bucket after one Event, or undefined where there is no token left. Pure; `now` in ms. */
export function spend(bucket: Bucket | undefined, now: number): Bucket | undefined {
  const { tokens, at } = bucket ?? { tokens: BURST, at: now };
  const full = Math.min(BURST, tokens + (now - at) / REFILL_MS);
  return full < 1 ? undefined : { tokens: full - 1, at: now };
}

interface Pending {
  readonly service: KubeService;
  readonly happened: Happening[];
}

export class Events {
  readonly #api: KubeApi;
  readonly #reporter: string;
  readonly #log: Logger;
  readonly #buckets = new Map<string, Bucket>();
  /** What it says → the Event that says so. */
  readonly #written = new Map<string, { readonly name: string; readonly count: number }>();
  /** By the object's UID: what is not yet written of it, oldest object first. */
  readonly #waiting = new Map<string, Pending>();
  /** UIDs: one object's Events are written one after the other, so that they stay in order and counts are right. */
  readonly #writing = new Set<string>();
  #number = 0;
  #running = 0;
  #stopped = false;

  /** `reporter`: which agent; shown as the Event's source. */
  constructor(api: KubeApi, reporter: string, log: Logger) {
    this.#api = api;
    this.#reporter = reporter;
    this.#log = log;
  }

  tell(service: KubeService, happened: readonly Happening[]): void {
    const { uid } = service.metadata;
    for (const happening of happened) {
      const bucket = spend(this.#buckets.get(uid), Date.now());
      const waiting = this.#waiting.get(uid);
      if (bucket === undefined || (waiting === undefined && this.#waiting.size >= WAITING_MAX)) break;
      remember(this.#buckets, uid, bucket);
      if (waiting === undefined) this.#waiting.set(uid, { service, happened: [happening] });
      else waiting.happened.push(happening);
    }
    while (this.#running < AT_ONCE && this.#waiting.size > this.#running) void this.#work();
  }

  stop(): void {
    this.#stopped = true;
  }

  async #work(): Promise<void> {
    this.#running++;
    try {
      for (let next = this.#next(); next !== undefined && !this.#stopped; next = this.#next()) {
        const [uid, { service, happened }] = next;
        this.#waiting.delete(uid);
        this.#writing.add(uid);
        for (const happening of happened) await this.#write(service, happening);
        this.#writing.delete(uid);
      }
    } finally {
      this.#running--;
    }
  }

  /** Nanoseconds in hex, as client-go names Events: listed by name they are in order, within one second, too. */
  #stamp(): string {
    this.#number = (this.#number + 1) % 1_000_000;
    return (BigInt(Date.now()) * 1_000_000n + BigInt(this.#number)).toString(16);
  }

  /** At most as many are passed over as are being written. */
  #next(): [string, Pending] | undefined {
    for (const waiting of this.#waiting) if (!this.#writing.has(waiting[0])) return waiting;
    return undefined;
  }

  async #write(service: KubeService, happening: Happening): Promise<void> {
    const { namespace, name, uid } = service.metadata;
    const path = `/api/v1/namespaces/${namespace}/events`;
    const key = JSON.stringify([uid, happening]);
    const before = this.#written.get(key);
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    if (before !== undefined) {
      const count = before.count + 1;
      const answer = await this.#api.call("PATCH", `${path}/${before.name}`, {
        body: { count, lastTimestamp: now },
        contentType: STRATEGIC_MERGE,
      });
      if (answer.kind === "ok") return remember(this.#written, key, { ...before, count });
      // Events live for an hour; after that it is told anew.
      this.#written.delete(key);
      if (answer.kind !== "status" || answer.status !== 404) return this.#log.debug(`Event: ${describe(answer)}`);
    }
    const event = `${name.slice(0, 200)}.${this.#stamp()}`;
    const answer = await this.#api.call("POST", path, {
      body: {
        metadata: { name: event, namespace },
        involvedObject: { apiVersion: "v1", kind: "Service", namespace, name, uid },
        type: happening.type,
        reason: happening.reason.slice(0, 128),
        message: happening.message.slice(0, MESSAGE_MAX),
        source: { component: "postern", host: this.#reporter },
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
      },
    });
    if (answer.kind === "ok") remember(this.#written, key, { name: event, count: 1 });
    else this.#log.debug(`Event: ${describe(answer)}`);
  }
}

function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= REMEMBERED_MAX) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
