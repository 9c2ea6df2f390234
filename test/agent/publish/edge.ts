// An edge for tests of publishing: an HTTP server on loopback that takes epochs and snapshots as the control API does, with
// the edge's own reader, compiler and rule of generations, but in memory and for one cluster. What it does wrong, and when,
// its test says. The real one is tested in test/edge/cluster/ and test/edge/control/.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { compareGenerations, readInSlices } from "../../../src/edge/cluster/snapshot-input.ts";
import { dialRules } from "../../../src/edge/routing/dial.ts";
import { compile } from "../../../src/edge/routing/compile.ts";
import type { Snapshot, SnapshotGeneration } from "../../../src/shared/model/snapshot.ts";

export interface Put {
  readonly generation: SnapshotGeneration;
  /** "namespace/name" of each Service in it. */
  readonly services: readonly string[];
  readonly status: number;
}

export class Edge {
  readonly puts: Put[] = [];
  /** Set to intervene: a status instead of what it would do. */
  instead: () => number | undefined = () => undefined;
  /** Hostnames that another cluster owns. */
  readonly owned = new Set<string>();
  #snapshot: Snapshot = { version: 1, nodes: [], services: [] };
  #text = "";
  #generation: SnapshotGeneration | undefined;
  #granted = 0;
  #assigned: Readonly<Record<string, string>> = {};
  readonly #server: Server = createServer((request, response) => void this.#answer(request, response));

  async start(): Promise<void> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  /** "namespace/name" of each Service that it serves now. */
  get serves(): readonly string[] {
    return this.#snapshot.services.map(keyOf);
  }

  /** Addresses of a Service's endpoints, as it was told. */
  endpoints(key: string): readonly string[] {
    const service = this.#snapshot.services.find((each) => keyOf(each) === key);
    return service?.endpoints.map(({ address }) => address) ?? [];
  }

  get generation(): SnapshotGeneration | undefined {
    return this.#generation;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Only publishing: no tunnel.
    if (request.method === "GET") return void response.writeHead(404).end();
    const raw = await buffer(request).catch(() => undefined);
    // Broken off by the agent.
    if (raw === undefined) return;
    const answer = (status: number, body: object) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (request.method === "POST") {
      this.#granted = Math.max(this.#granted, this.#generation?.epoch ?? 0) + 1;
      return void answer(200, { epoch: this.#granted });
    }
    const [epoch = 0, sequence = 0] = String(request.headers["postern-generation"]).split(".").map(Number);
    const read = readAtOnce(gunzipSync(raw).toString());
    if (!read.ok) return void answer(read.status, { reason: read.reason, detail: read.message });
    const { snapshot, text } = read;
    const status = this.instead() ?? this.#take({ epoch, sequence }, snapshot, text);
    this.puts.push({ generation: { epoch, sequence }, services: snapshot.services.map(keyOf), status });
    if (status !== 200) return void answer(status, { reason: status === 409 ? "superseded" : "scripted" });
    const { hostnames, conditions } = this.#compile();
    const services = Object.fromEntries(
      Object.keys(hostnames).map((key) => [
        key,
        { hostnames: hostnames[key] ?? [], conditions: conditions[key] ?? [] },
      ]),
    );
    answer(200, { generation: this.#generation, table: 1, changed: true, services });
  }

  /** Equal content is taken from anybody, other content from a newer generation only. */
  #take(generation: SnapshotGeneration, snapshot: Snapshot, text: string): 200 | 409 {
    const newer = this.#generation === undefined || compareGenerations(generation, this.#generation) > 0;
    if (!newer && text !== this.#text) return 409;
    if (newer) this.#generation = generation;
    [this.#snapshot, this.#text] = [snapshot, text];
    return 200;
  }

  #compile() {
    const refused = new Map([...this.owned].map((name) => [name, { reason: "owned", message: `${name} is taken` }]));
    const dial = dialRules({ ADMIN_HOST: "admin.test", LISTENER_PORTS: "standard" });
    const context = { cluster: "home", edgeDomain: "edge.test", listenerPorts: "standard", dial } as const;
    const compiled = compile(this.#snapshot, { ...context, assigned: this.#assigned, refused });
    this.#assigned = compiled.assigned;
    return compiled;
  }
}

const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`;

/** Without the pauses that an edge makes for others' requests. */
function readAtOnce(body: string) {
  const slices = readInSlices(body);
  for (;;) {
    const { done, value } = slices.next();
    if (done === true) return value;
  }
}
