// A stand-in for an API server, which costs the machine next to nothing while something else is measured: lists (whole or
// in pages), watches (from a version, or beginning with all objects), single objects, and Events, which it forgets.
// Answers in protobuf where that is asked for, in JSON otherwise. Owns its port; close() cuts what is open.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { KubeObject } from "./objects.ts";
import { encodeEnvelope, encodeEvent, encodeList } from "./protobuf.ts";
import { selector, UnknownSelector } from "./selectors.ts";
import { type Change, type Collection, collections, type EventType, type Store, type Stored } from "./store.ts";

const PROTOBUF = "application/vnd.kubernetes.protobuf";
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";
/** So many events are written at once. */
const BATCH = 500;

export interface StandInOptions {
  readonly store: Store;
  /** Hears of requests that it does not answer. */
  readonly onUnknown: (request: string) => void;
}

export class StandIn {
  /** Lists that were asked for, pages counted one by one: who watches with initial events needs none. */
  lists = 0;
  readonly #store: Store;
  readonly #onUnknown: (request: string) => void;
  readonly #server: Server;

  constructor({ store, onUnknown }: StandInOptions) {
    this.#store = store;
    this.#onUnknown = onUnknown;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  async listen(port: number, address: string): Promise<number> {
    this.#server.listen(port, address);
    await once(this.#server, "listening");
    const bound = this.#server.address();
    return typeof bound === "object" && bound !== null ? bound.port : port;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://stand-in");
    const protobuf = (request.headers.accept ?? "").includes(PROTOBUF);
    try {
      if (request.method === "POST" && pathname.endsWith("/events")) return echo(request, response);
      const collection = collections.find(({ path }) => path === pathname);
      if (request.method === "GET" && collection !== undefined) {
        const ask = { collection, params: searchParams, protobuf, response };
        return searchParams.get("watch") === null ? this.#list(ask) : this.#watch(ask);
      }
      const found = request.method === "GET" ? this.#find(pathname) : undefined;
      if (found !== undefined) {
        return send(response, 200, protobuf ? encodeEnvelope(found.object) : found.json, protobuf);
      }
    } catch (error) {
      if (!(error instanceof UnknownSelector)) throw error;
      this.#onUnknown(`selector ${error.message}`);
      return refuse(response, protobuf, 400, "BadRequest", `the stand-in knows no selector ${error.message}`);
    }
    this.#onUnknown(`${request.method} ${request.url}`);
    return refuse(response, protobuf, 404, "NotFound", "the stand-in does not have it");
  }

  /** /api/v1/nodes/NAME, /api/v1/namespaces/NAMESPACE/services/NAME */
  #find(pathname: string): Stored | undefined {
    const [, group = "", namespace, resource = "", name = ""] =
      /^(\/api\/v1|\/apis\/[^/]+\/v1)(?:\/namespaces\/([^/]+))?\/([^/]+)\/([^/]+)$/.exec(pathname) ?? [];
    const collection = collections.find(({ path }) => path === `${group}/${resource}`);
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    return collection && this.#store.get(collection.kind, key);
  }

  #list({ collection, params, protobuf, response }: Ask): void {
    this.lists++;
    const [from = 0, version = this.#store.version] = (params.get("continue") ?? "")
      .split("-")
      .filter(Boolean)
      .map(Number);
    if (version !== this.#store.version) {
      return refuse(response, protobuf, 410, "Expired", "the continue token is of an older version");
    }
    const page = this.#store.list(collection.kind, selectorOf(params), {
      limit: Number(params.get("limit") ?? 0),
      from,
    });
    const metadata = {
      resourceVersion: String(page.version),
      ...(page.next === undefined
        ? {}
        : { continue: `${page.next}-${page.version}`, remainingItemCount: page.remaining }),
    };
    const [kind, { apiVersion }] = [`${collection.kind}List`, collection];
    if (protobuf) {
      const items = page.items.map((item) => item.protobuf);
      return send(response, 200, encodeList(apiVersion, kind, metadata, items), true);
    }
    const head = `${JSON.stringify({ kind, apiVersion, metadata }).slice(0, -1)},"items":[`;
    const items = page.items.flatMap((item, index) => (index === 0 ? [item.json] : [comma, item.json]));
    return send(response, 200, Buffer.concat([Buffer.from(head), ...items, Buffer.from("]}")]), false);
  }

  #watch({ collection, params, protobuf, response }: Ask): void {
    const selects = selectorOf(params);
    const version = params.get("resourceVersion") ?? "";
    const initial = params.get("sendInitialEvents") === "true";
    const since = initial || version === "" || version === "0" ? undefined : Number(version);
    const missed = since === undefined ? [] : this.#store.changesSince(collection.kind, since);
    response.writeHead(200, { "content-type": protobuf ? `${PROTOBUF};stream=watch` : "application/json" });
    response.flushHeaders();
    if (missed === undefined) {
      const status = statusOf(410, "Expired", `version ${since} is too old`);
      const event = protobuf
        ? encodeEvent("ERROR", encodeEnvelope(status))
        : `${JSON.stringify({ type: "ERROR", object: status })}\n`;
      response.end(event);
      return;
    }
    if (since === undefined) {
      const all = this.#store.list(collection.kind, selects).items;
      writeEvents(
        response,
        all.map((stored) => ({ type: "ADDED" as const, stored })),
        protobuf,
      );
      if (initial) response.write(bookmark(collection, this.#store.version, protobuf));
    }
    writeEvents(
      response,
      missed.filter(({ stored }) => selects(stored.object)),
      protobuf,
    );
    const silence = this.#store.listen(({ type, stored }) => {
      if (stored.object.kind !== collection.kind || !selects(stored.object)) return;
      response.write(stored.event(type, protobuf));
    });
    const seconds = Number(params.get("timeoutSeconds") ?? 0);
    const timer = seconds === 0 ? undefined : setTimeout(() => response.end(), seconds * 1000);
    response.on("close", () => {
      silence();
      clearTimeout(timer);
    });
  }
}

interface Ask {
  readonly collection: Collection;
  readonly params: URLSearchParams;
  readonly protobuf: boolean;
  readonly response: ServerResponse;
}

const comma = Buffer.from(",");
const selectorOf = (params: URLSearchParams): ((object: KubeObject) => boolean) =>
  selector(params.get("labelSelector") ?? "", params.get("fieldSelector") ?? "");

function writeEvents(
  response: ServerResponse,
  changes: readonly { readonly type: EventType; readonly stored: Change["stored"] }[],
  protobuf: boolean,
): void {
  for (let from = 0; from < changes.length; from += BATCH) {
    const batch = changes.slice(from, from + BATCH);
    response.write(Buffer.concat(batch.map(({ type, stored }) => stored.event(type, protobuf))));
  }
}

/** Says that the reader has seen all that there was. */
function bookmark({ kind, apiVersion }: Collection, version: number, protobuf: boolean): Buffer {
  const metadata = { resourceVersion: String(version), annotations: { [INITIAL_EVENTS_END]: "true" } };
  const object = { kind, apiVersion, metadata };
  return protobuf
    ? encodeEvent("BOOKMARK", encodeEnvelope(object))
    : Buffer.from(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
}

const statusOf = (code: number, reason: string, message: string) => ({
  kind: "Status",
  apiVersion: "v1",
  metadata: {},
  status: "Failure",
  message,
  reason,
  code,
});

function refuse(response: ServerResponse, protobuf: boolean, code: number, reason: string, message: string): void {
  const status = statusOf(code, reason, message);
  send(response, code, protobuf ? encodeEnvelope(status) : Buffer.from(JSON.stringify(status)), protobuf);
}

function send(response: ServerResponse, code: number, body: Buffer, protobuf: boolean): void {
  response.writeHead(code, {
    "content-type": protobuf ? PROTOBUF : "application/json",
    "content-length": body.length,
  });
  response.end(body);
}

/** An Event is created: its writer gets back what it sent, in the same encoding. */
function echo(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const type = request.headers["content-type"] ?? "application/json";
    response.writeHead(201, { "content-type": type }).end(Buffer.concat(chunks));
  });
}
