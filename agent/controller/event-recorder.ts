// Writes Events on Services, which a person sees with `kubectl describe`. Equal ones become one Event whose `count` is patched.
// Each object has a bucket of 25 Events, refilled by one in five minutes, as in client-go. Events are best effort: they never
// delay a status, and one that cannot be written is dropped.
// Nothing survives a restart: the next agent writes the same Event as a new one.
import type { Logger } from "pino";
import { describe, type KubeApi, STRATEGIC_MERGE } from "../kube/api.ts";
import type { KubeService } from "../source/resources.ts";
import type { ServiceEvent } from "./event.ts";

export interface Allowance {
  /** So many at once, */
  readonly burst: number;
  /** and then one in this time, ms. */
  readonly everyMs: number;
}

const OF_OBJECT: Allowance = { burst: 25, everyMs: 300_000 };
/** This many objects, and as many Events, are remembered; the one unused for longest is dropped. */
const REMEMBERED_MAX = 20_000;
/** This many objects may have Events that are not yet written; further objects get none. */
const WAITING_MAX = 10_000;
const AT_ONCE = 4;
const MESSAGE_MAX = 1024;

export interface Bucket {
  readonly tokens: number;
  readonly at: number;
}

/** The bucket after one Event, or undefined where there is no token left. Pure; `now` in ms. */
export function spend(
  bucket: Bucket | undefined,
  now: number,
  { burst, everyMs }: Allowance = OF_OBJECT,
): Bucket | undefined {
  const { tokens, at } = bucket ?? { tokens: burst, at: now };
  const full = Math.min(burst, tokens + (now - at) / everyMs);
  return full < 1 ? undefined : { tokens: full - 1, at: now };
}

interface Pending {
  readonly service: KubeService;
  readonly events: ServiceEvent[];
}

export class EventRecorder {
  readonly #api: KubeApi;
  readonly #reporter: string;
  readonly #log: Logger;
  readonly #buckets = new Map<string, Bucket>();
  /** UID and content of an Event → the name under which it was written, and its count. */
  readonly #written = new Map<string, { readonly name: string; readonly count: number }>();
  /** By the object's UID: its Events that are not yet written. The object that has waited longest comes first. */
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

  record(service: KubeService, events: readonly ServiceEvent[]): void {
    const { uid } = service.metadata;
    for (const event of events) {
      const bucket = spend(this.#buckets.get(uid), Date.now());
      const waiting = this.#waiting.get(uid);
      if (bucket === undefined || (waiting === undefined && this.#waiting.size >= WAITING_MAX)) break;
      remember(this.#buckets, uid, bucket);
      if (waiting === undefined) this.#waiting.set(uid, { service, events: [event] });
      else waiting.events.push(event);
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
        const [uid, { service, events }] = next;
        this.#waiting.delete(uid);
        this.#writing.add(uid);
        for (const event of events) await this.#write(service, event);
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

  /** Skips objects of which an Event is being written just now: AT_ONCE at most. */
  #next(): [string, Pending] | undefined {
    for (const waiting of this.#waiting) if (!this.#writing.has(waiting[0])) return waiting;
    return undefined;
  }

  async #write(service: KubeService, event: ServiceEvent): Promise<void> {
    const { namespace, name, uid } = service.metadata;
    const path = `/api/v1/namespaces/${namespace}/events`;
    const key = JSON.stringify([uid, event]);
    const before = this.#written.get(key);
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    if (before !== undefined) {
      const count = before.count + 1;
      const answer = await this.#api.call("PATCH", `${path}/${before.name}`, {
        body: { count, lastTimestamp: now },
        contentType: STRATEGIC_MERGE,
      });
      if (answer.kind === "ok") return remember(this.#written, key, { ...before, count });
      // The API server keeps an Event for an hour. After that a new one is written.
      this.#written.delete(key);
      if (answer.kind !== "status" || answer.status !== 404) return this.#log.debug(`Event: ${describe(answer)}`);
    }
    const eventName = `${name.slice(0, 200)}.${this.#stamp()}`;
    const answer = await this.#api.call("POST", path, {
      body: {
        metadata: { name: eventName, namespace },
        involvedObject: { apiVersion: "v1", kind: "Service", namespace, name, uid },
        type: event.type,
        reason: event.reason.slice(0, 128),
        message: event.message.slice(0, MESSAGE_MAX),
        source: { component: "postern", host: this.#reporter },
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
      },
    });
    if (answer.kind === "ok") remember(this.#written, key, { name: eventName, count: 1 });
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
