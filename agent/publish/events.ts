// Events on Services, as a person sees them with `kubectl describe`. Equal ones are one Event whose `count` is patched; each
// object has a bucket of 25, refilled by one in five minutes, as in client-go. Events are best effort: they never delay a
// status, and what cannot be written is dropped.
// Survives a restart: nothing; an Event is then written anew.
import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { describe, type KubeApi, STRATEGIC_MERGE } from "../kube/api.ts";
import type { KubeService } from "../source/resources.ts";
import type { Happening } from "./tell.ts";

const BURST = 25;
const REFILL_MS = 300_000;
/** Objects and Events that are remembered; the longest unused goes. */
const REMEMBERED_MAX = 20_000;
const WAITING_MAX = 20_000;
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
  readonly happening: Happening;
}

export class Events {
  readonly #api: KubeApi;
  readonly #reporter: string;
  readonly #log: Logger;
  readonly #buckets = new Map<string, Bucket>();
  /** What it says → the Event that says so. */
  readonly #written = new Map<string, { readonly name: string; readonly count: number }>();
  readonly #waiting: Pending[] = [];
  #running = 0;
  #stopped = false;

  /** `reporter`: which agent; shown as the Event's source. */
  constructor(api: KubeApi, reporter: string, log: Logger) {
    this.#api = api;
    this.#reporter = reporter;
    this.#log = log;
  }

  tell(service: KubeService, happened: readonly Happening[]): void {
    for (const happening of happened) {
      const { uid } = service.metadata;
      const bucket = spend(this.#buckets.get(uid), Date.now());
      if (bucket === undefined || this.#waiting.length >= WAITING_MAX) return;
      remember(this.#buckets, uid, bucket);
      this.#waiting.push({ service, happening });
    }
    // One object's in order: the same worker takes the next one only after it has written the one before.
    while (this.#running < AT_ONCE && this.#waiting.length > this.#running) void this.#work();
  }

  stop(): void {
    this.#stopped = true;
  }

  async #work(): Promise<void> {
    this.#running++;
    try {
      for (let next = this.#waiting.shift(); next !== undefined && !this.#stopped; next = this.#waiting.shift()) {
        await this.#write(next);
      }
    } finally {
      this.#running--;
    }
  }

  async #write({ service, happening }: Pending): Promise<void> {
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
    const event = `${name.slice(0, 200)}.${randomBytes(8).toString("hex")}`;
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
