// What the stand-in for an API server knows: objects by kind, each change with a version of its own, and all changes, so
// that a watch can go on from any version. Pure but for what it holds; each object is encoded once, when it comes.
import { encodeBare, encodeEvent, envelope } from "./protobuf.ts";
import type { KubeObject } from "./objects.ts";

export interface Collection {
  readonly kind: string;
  readonly apiVersion: string;
  readonly path: string;
}

export const collections: readonly Collection[] = [
  { kind: "Service", apiVersion: "v1", path: "/api/v1/services" },
  { kind: "Node", apiVersion: "v1", path: "/api/v1/nodes" },
  { kind: "EndpointSlice", apiVersion: "discovery.k8s.io/v1", path: "/apis/discovery.k8s.io/v1/endpointslices" },
  { kind: "ServiceCIDR", apiVersion: "networking.k8s.io/v1", path: "/apis/networking.k8s.io/v1/servicecidrs" },
];

export type EventType = "ADDED" | "MODIFIED" | "DELETED";

/** An object as it was at one version, in both encodings. */
export class Stored {
  readonly object: KubeObject;
  readonly version: number;
  readonly json: Buffer;
  readonly protobuf: Buffer;

  constructor(object: KubeObject, version: number) {
    this.object = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    this.version = version;
    this.json = Buffer.from(JSON.stringify(this.object));
    this.protobuf = encodeBare(this.object);
  }

  event(type: EventType, protobuf: boolean): Buffer {
    if (!protobuf) return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), this.json, Buffer.from("}\n")]);
    return encodeEvent(type, envelope(this.object.apiVersion, this.object.kind, this.protobuf));
  }
}

export interface Change {
  readonly type: EventType;
  readonly stored: Stored;
}

export interface Page {
  readonly items: readonly Stored[];
  readonly version: number;
  /** Where the next page begins; absent: this was the last one. */
  readonly next: number | undefined;
  readonly remaining: number;
}

const keyOf = ({ metadata }: KubeObject): string =>
  metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;

export class Store {
  #version = 0;
  readonly #objects = new Map<string, Map<string, Stored>>(collections.map(({ kind }) => [kind, new Map()]));
  /** Since the cluster was complete: nobody watches before. */
  readonly #changes = new Map<string, Change[]>(collections.map(({ kind }) => [kind, []]));
  readonly #listeners = new Set<(change: Change) => void>();
  #oldest = 0;

  get version(): number {
    return this.#version;
  }

  /** What was put until now is what lists begin with; no watch goes back behind it. */
  completed(): void {
    for (const changes of this.#changes.values()) changes.length = 0;
    this.#oldest = this.#version;
  }

  put(object: KubeObject): Stored {
    const objects = this.#of(object.kind);
    const key = keyOf(object);
    const stored = new Stored(object, ++this.#version);
    const type = objects.has(key) ? "MODIFIED" : "ADDED";
    objects.set(key, stored);
    this.#tell({ type, stored });
    return stored;
  }

  remove(object: KubeObject): void {
    const objects = this.#of(object.kind);
    const key = keyOf(object);
    const gone = objects.get(key);
    if (gone === undefined) throw new Error(`there is no ${object.kind} ${key}`);
    objects.delete(key);
    this.#tell({ type: "DELETED", stored: new Stored(gone.object, ++this.#version) });
  }

  get(kind: string, key: string): Stored | undefined {
    return this.#of(kind).get(key);
  }

  list(kind: string, selects: (object: KubeObject) => boolean, { limit = 0, from = 0 } = {}): Page {
    const all = [...this.#of(kind).values()].filter(({ object }) => selects(object));
    const items = limit === 0 ? all.slice(from) : all.slice(from, from + limit);
    const next = from + items.length;
    return { items, version: this.#version, next: next < all.length ? next : undefined, remaining: all.length - next };
  }

  /** Undefined: it is not known any more what happened since then. */
  changesSince(kind: string, version: number): readonly Change[] | undefined {
    if (version < this.#oldest) return undefined;
    return (this.#changes.get(kind) ?? []).filter(({ stored }) => stored.version > version);
  }

  /** Until the returned function is called. */
  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(change: Change): void {
    this.#changes.get(change.stored.object.kind)?.push(change);
    for (const listener of this.#listeners) listener(change);
  }

  #of(kind: string): Map<string, Stored> {
    const objects = this.#objects.get(kind);
    if (objects === undefined) throw new Error(`the stand-in keeps no ${kind}`);
    return objects;
  }
}
