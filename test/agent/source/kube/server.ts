// A small API server for tests that must steer time and failure: lists in pages, watches with history and bookmarks, merge of
// nothing. What it does wrong, and when, its test says. The real one is tested in test/cluster/.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { KubeApi } from "../../../../agent/kube/api.ts";
import type { Access } from "../../../../agent/kube/access.ts";
import type { Written } from "../objects.ts";

type Stored = Written & { readonly metadata: { readonly resourceVersion: string } };
interface Event {
  readonly type: string;
  readonly version: number;
  readonly object: unknown;
}
interface Watch {
  readonly path: string;
  readonly response: ServerResponse;
}
export interface Seen {
  readonly method: string;
  readonly url: URL;
  readonly token: string | undefined;
}
/** What to answer instead; undefined: as usual. */
export type Instead = { readonly status: number; readonly body?: object; readonly headers?: Record<string, string> };

const paths: Readonly<Record<string, string>> = {
  Service: "/api/v1/services",
  EndpointSlice: "/apis/discovery.k8s.io/v1/endpointslices",
  Node: "/api/v1/nodes",
  ServiceCIDR: "/apis/networking.k8s.io/v1/servicecidrs",
};
const ofCluster = ["Node", "ServiceCIDR"];

export class ScriptedApiServer {
  readonly seen: Seen[] = [];
  /** Set to intervene; asked for each request. */
  instead: (seen: Seen) => Instead | "reset" | "hang" | undefined = () => undefined;
  token = "first-token";
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #history = new Map<string, Event[]>();
  readonly #watches = new Set<Watch>();
  readonly #sockets = new Set<Socket>();
  #version = 100;
  #oldest = 0;
  #server: Server | undefined;
  #port = 0;

  async start(): Promise<void> {
    const server = createServer((request, response) => this.#answer(request, response));
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** As a killed process: every connection is gone. State stays, as in etcd. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, "close");
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#watches.clear();
    await closed;
  }

  access(): Access {
    return {
      servers: [new URL(`http://127.0.0.1:${this.#port}`)],
      namespace: "postern-system",
      installed: true,
      token: () => this.token,
      tls: () => ({ ca: undefined, cert: undefined, key: undefined }),
    };
  }

  api(): KubeApi {
    return new KubeApi(this.access());
  }

  get watching(): number {
    return this.#watches.size;
  }

  requests(what: "list" | "watch", kind: string): readonly Seen[] {
    return this.seen.filter(
      ({ url }) => url.pathname === paths[kind] && (url.searchParams.get("watch") === "1") === (what === "watch"),
    );
  }

  put(object: Written): void {
    const { kind, metadata } = object;
    const key = keyOf(object);
    const all = this.#all(kind);
    const before = all.get(key);
    const identity = { uid: `uid-${kind}-${key}`, creationTimestamp: "2026-01-01T00:00:00Z" };
    const namespace = ofCluster.includes(kind) ? {} : { namespace: "default" };
    const resourceVersion = String(++this.#version);
    const stored = { ...object, metadata: { ...namespace, ...identity, ...metadata, resourceVersion } };
    all.set(key, stored);
    this.#notify(kind, { type: before === undefined ? "ADDED" : "MODIFIED", version: this.#version, object: stored });
  }

  delete(object: Written): void {
    const { kind } = object;
    const before = this.#all(kind).get(keyOf(object));
    if (before === undefined) return;
    this.#all(kind).delete(keyOf(object));
    const resourceVersion = String(++this.#version);
    const last = { ...before, metadata: { ...before.metadata, resourceVersion } };
    this.#notify(kind, { type: "DELETED", version: this.#version, object: last });
  }

  bookmark(kind: string): void {
    const object = { kind, apiVersion: "v1", metadata: { resourceVersion: String(this.#version) } };
    this.#write(kind, `${JSON.stringify({ type: "BOOKMARK", object })}\n`);
  }

  /** Right into the watches of a kind. */
  raw(kind: string, text: string): void {
    this.#write(kind, text);
  }

  /** Everything before now is compacted: older versions are 410. */
  compact(): void {
    this.#oldest = this.#version;
    this.#history.clear();
  }

  endWatches(): void {
    for (const { response } of this.#watches) response.end();
  }

  #all(kind: string): Map<string, Stored> {
    const path = paths[kind] ?? kind;
    let all = this.#objects.get(path);
    if (all === undefined) this.#objects.set(path, (all = new Map()));
    return all;
  }

  #notify(kind: string, event: Event): void {
    const path = paths[kind] ?? kind;
    this.#history.set(path, [...(this.#history.get(path) ?? []), event]);
    this.#write(kind, line(event));
  }

  #write(kind: string, text: string): void {
    for (const { path, response } of this.#watches) if (path === paths[kind]) response.write(text);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://api");
    const token = request.headers.authorization?.replace("Bearer ", "");
    const seen = { method: request.method ?? "", url, token };
    this.seen.push(seen);
    const instead = this.instead(seen);
    if (instead === "hang") return;
    if (instead === "reset") return void request.socket.destroy();
    if (instead !== undefined)
      return void response.writeHead(instead.status, instead.headers).end(JSON.stringify(instead.body ?? {}));
    if (url.searchParams.get("watch") === "1") this.#watch(url, response);
    else this.#list(url, response);
  }

  #list({ pathname, searchParams }: URL, response: ServerResponse): void {
    const items = [...(this.#objects.get(pathname)?.values() ?? [])];
    const from = Number(searchParams.get("continue") ?? 0);
    const to = from + Number(searchParams.get("limit") ?? items.length);
    const more = to < items.length ? { continue: String(to) } : {};
    const metadata = { resourceVersion: String(this.#version), ...more };
    // As the real one does: items of a list carry neither kind nor apiVersion.
    const bare = items.slice(from, to).map(({ kind: _kind, apiVersion: _apiVersion, ...rest }) => rest);
    response.end(JSON.stringify({ kind: "List", metadata, items: bare }));
  }

  #watch({ pathname, searchParams }: URL, response: ServerResponse): void {
    const since = Number(searchParams.get("resourceVersion"));
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (since < this.#oldest) return void response.end(line({ type: "ERROR", version: 0, object: expired }));
    for (const event of this.#history.get(pathname) ?? []) if (event.version > since) response.write(line(event));
    const watch = { path: pathname, response };
    this.#watches.add(watch);
    response.on("close", () => this.#watches.delete(watch));
  }
}

export const expired = { kind: "Status", status: "Failure", reason: "Expired", message: "too old", code: 410 };
const line = ({ type, object }: Event): string => `${JSON.stringify({ type, object })}\n`;
const keyOf = ({ kind, metadata }: Written): string =>
  ofCluster.includes(kind) ? metadata.name : `${metadata.namespace ?? "default"}/${metadata.name}`;
