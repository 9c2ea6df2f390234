// The whole of it on one machine: edge, cluster, agents, pods, listener ports; started in order, kept in step with the
// YAML and the edge's table once a second, stopped together. Decides nothing about traffic.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ADMIN_LISTENER } from "../edge/http/forwarded.ts";
import { formatPortRanges, without } from "../edge/routing/port-ranges.ts";
import { type Api, createApi, type TableListener } from "../host/control-client.ts";
import { Child } from "../host/process/child.ts";
import { canListen, choosePort } from "./admin-port.ts";
import { askUrl } from "./ask-url.ts";
import { missing, type Observed, type Place, type Readiness, readinessOf } from "./readiness.ts";
import { type EdgeSettings, edgeEnvironment, edgeStartedSchema } from "./edge-settings.ts";
import { createListenerProxy, type ListenerProxy } from "../host/proxy/listener-proxy.ts";
import { Listeners } from "../host/listeners/listeners.ts";
import type { Lock } from "../host/state/lock.ts";
import { LogFile } from "../host/process/log-file.ts";
import { Manifests, type Wanted } from "./manifests.ts";
import { openFilesProblem } from "../host/process/open-files.ts";
import { demoManifests } from "../host/process/programs.ts";
import { type AgentSettings, Processes } from "./processes.ts";
import { randomToken } from "../host/state/random-token.ts";
import { createRunFolder, lockManifests, type RunFolder, seedManifests } from "./run-folder.ts";
import { sparingly } from "../host/process/sparingly.ts";

const CLUSTER = "home";
const READY_WITHIN_MS = 60_000;
/** What is waited for is told so often. */
const WAITING_TOLD_MS = 10_000;

/** What `--json` prints. */
export interface Ready {
  readonly urls: readonly string[];
  readonly api: { readonly url: string; readonly tokenFile: string };
  readonly nodes: readonly { readonly name: string; readonly address: string; readonly pid: number }[];
  readonly pods: readonly {
    readonly name: string;
    readonly address: string;
    readonly port: number;
    readonly pid: number;
  }[];
  readonly manifests: string;
}

export class Emulation {
  readonly #say: (line: string) => void;
  readonly #folder: RunFolder;
  readonly #processes: Processes;
  readonly #stopping = new AbortController();
  #edge: Child | undefined;
  #proxy: ListenerProxy | undefined;
  #listeners: Listeners | undefined;
  #lock: Lock | undefined;
  #table: readonly TableListener[] = [];

  constructor(base: string, say: (line: string) => void) {
    this.#say = say;
    this.#folder = createRunFolder(base);
    this.#processes = new Processes(this.#folder, say);
  }

  /** Resolves once every URL answers. Rejects, in words for its user, if something ends before. */
  async start(options: { base: string; manifests?: string; port?: number }): Promise<Ready> {
    const manifests = options.manifests ?? join(options.base, "manifests");
    if (options.manifests === undefined) await this.#seed(manifests);
    const files = new Manifests(manifests);
    const found = files.look();
    if (!found) throw new Error(`${manifests} cannot be read as a folder of YAML files: see --help.`);
    this.#lock = lockManifests(options.base, manifests);
    const { wanted, problems } = found;
    for (const problem of problems) this.#processes.warn(problem);
    const tooFewFiles = openFilesProblem();
    if (tooFewFiles !== undefined) this.#say(tooFewFiles);
    if (wanted.nodes.length === 0)
      throw new Error(
        `${manifests} has no Node with an InternalIP: copy one from ${join(demoManifests, "nodes.yaml")}.`,
      );

    this.#say(
      `Starting the edge, ${count(wanted.nodes.length, "node")} and ${count(wanted.pods.length, "demo pod")} …`,
    );
    this.#processes.reconcilePods(wanted);
    const port = await choosePort(options.port);
    const adminToken = randomToken();
    const secret = randomToken();
    const runtime = await Promise.race([this.#startEdge(port, adminToken, secret), this.#processes.failed]);
    const log = new LogFile(this.#folder.log("proxy"));
    const few = sparingly(this.#say, log.path);
    this.#proxy = createListenerProxy(runtime, secret, {
      log: (line) => {
        log.note(line);
        few(line);
      },
    });
    this.#listeners = new Listeners(this.#proxy, this.#say);
    const url = await this.#openApi(this.#proxy, port);
    const api = createApi(url, adminToken);
    const agents: AgentSettings = {
      edge: url,
      cluster: CLUSTER,
      tokenFile: this.#folder.secret("cluster-token", await api.createCluster(CLUSTER)),
      manifests,
    };
    this.#processes.reconcileNodes(wanted, agents);

    const urls = await Promise.race([this.#ready(api, wanted), this.#processes.failed, this.edgeFailed()]);
    this.#processes.settled();
    void this.#follow(api, agents, files);
    const tokenFile = this.#folder.secret("admin-token", adminToken);
    return { urls, api: { url, tokenFile }, nodes: this.#processes.nodes, pods: this.#processes.pods, manifests };
  }

  /** Rejects if the edge ends by itself; never resolves. */
  async edgeFailed(): Promise<never> {
    const how = await this.#edge?.exited;
    if (this.#stopping.signal.aborted) return new Promise<never>(() => {});
    throw new Error(`The edge ${how}, so nothing can be reached. Its last lines:\n${this.#edge?.lastLines()}`);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#listeners?.close();
    await Promise.all([this.#processes.stop(), this.#edge?.stop(), this.#proxy?.close()]);
    this.#lock?.release();
    this.#folder.remove();
  }

  /** For a second Ctrl-C, or a crash of our own: at once. */
  kill(): void {
    this.#stopping.abort();
    this.#edge?.kill();
    this.#processes.kill();
    this.#folder.remove();
  }

  async #seed(manifests: string): Promise<void> {
    const oneAddress = !(await canListen(0, "127.1.0.1"));
    if (oneAddress)
      this.#say(
        "This machine has no loopback address but 127.0.0.1: nodes and pods share it and differ by their ports.",
      );
    seedManifests(manifests, oneAddress);
  }

  async #startEdge(port: number, adminToken: string, secret: string): Promise<URL> {
    this.#edge = new Child({
      name: "the edge",
      program: "wrangler",
      args: [],
      // FORCE_COLOR=0: its last lines may be shown, and are kept in a file.
      env: { ...edgeEnvironment(this.#folder.path), FORCE_COLOR: "0" },
      log: this.#folder.log("edge"),
    });
    const settings: EdgeSettings = {
      folder: this.#folder.path,
      bindings: {
        EDGE_DOMAIN: "localhost",
        ADMIN_HOST: `127.0.0.1:${port}`,
        ADMIN_TOKEN_SHA256: createHash("sha256").update(adminToken).digest("hex"),
        LISTENER_PORTS: formatPortRanges(without([[1, 65_535]], port)),
        LISTENER_TLS: "none",
        DIRECT_ADDRESSES: "any",
        FORWARDER_SECRET: secret,
        PROBE_SECONDS: "2",
      },
    };
    this.#edge.send(settings);
    return new URL(edgeStartedSchema.parse(await this.#edge.message()).runtime);
  }

  /** The admin host, for API and tunnels: a port like the listeners', but always open. */
  async #openApi(proxy: ListenerProxy, port: number): Promise<string> {
    const server = proxy.server(ADMIN_LISTENER);
    this.#stopping.signal.addEventListener("abort", () => {
      server.close();
      server.closeAllConnections();
    });
    server.listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
    } catch (cause) {
      throw new Error(`Port ${port} was taken by another program meanwhile: start again, or give --port another one.`, {
        cause,
      });
    }
    // As listeners/listeners.ts has it: what cannot be accepted is its client's trouble.
    server.on("error", () => {});
    return `http://127.0.0.1:${port}`;
  }

  /** Until all nodes are connected, all listener ports open, and every URL answers. */
  async #ready(api: Api, wanted: Wanted): Promise<string[]> {
    const begun = performance.now();
    let told = begun;
    for (;;) {
      const { urls, waiting, notes } = await this.#look(api, wanted);
      const now = performance.now();
      const late = now - begun > READY_WITHIN_MS;
      if (waiting.length === 0 || late) {
        for (const note of notes) this.#say(note);
        if (late && waiting.length > 0)
          this.#say(
            `Still waiting, after a minute, for: ${waiting.join(", ")}. Logs are in ${this.#folder.path}/logs.`,
          );
        return urls;
      }
      if (now - told > WAITING_TOLD_MS) {
        told = now;
        this.#say(`Waiting for: ${waiting.join(", ")}.`);
      }
      await delay(100, undefined, { signal: this.#stopping.signal });
    }
  }

  async #look(api: Api, { nodes }: Wanted): Promise<Readiness & { urls: string[] }> {
    const connected = await this.#connected(api);
    const places = this.#places();
    const urls = places.map(({ url }) => url);
    const waiting = missing({ nodes: nodes.map(({ name }) => name), connected, places });
    if (waiting.length > 0) return { urls, waiting, notes: [] };
    const answers = await Promise.all(
      places.map(
        async ({ url, unavailable }) =>
          [url, unavailable === undefined ? await askUrl(url) : { refuses: unavailable }] as const,
      ),
    );
    return { urls, ...readinessOf(new Map(answers)) };
  }

  async #connected(api: Api): Promise<Observed["connected"]> {
    try {
      await this.#openListeners(api);
      return await api.connectedNodes(CLUSTER);
    } catch (error) {
      return { problem: error instanceof Error ? error.message : String(error) };
    }
  }

  async #follow(api: Api, agents: AgentSettings, files: Manifests): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const found = files.look();
      for (const problem of found?.problems ?? []) this.#processes.warn(problem);
      if (found)
        try {
          this.#processes.reconcilePods(found.wanted);
          this.#processes.reconcileNodes(found.wanted, agents);
        } catch (error) {
          // No process could be started (too many of them, no memory). What runs goes on, and it is tried again.
          this.#processes.warn(`The YAML is not in force: ${error instanceof Error ? error.message : String(error)}`);
        }
      // A poll that fails is repeated; if the edge ended, edgeFailed says so.
      await this.#openListeners(api).catch((error) => {
        if (!this.#stopping.signal.aborted)
          this.#processes.warn(`The edge does not tell its table, so ports stay as they are: ${String(error)}`);
      });
      await delay(1_000, undefined, { signal: this.#stopping.signal }).catch(() => {});
    }
  }

  async #openListeners(api: Api): Promise<void> {
    this.#table = await api.listeners(CLUSTER);
    if (!this.#stopping.signal.aborted) await this.#listeners?.reconcile(new Set(this.#table.map(({ port }) => port)));
  }

  #places(): Place[] {
    return this.#table.flatMap(({ hostname, port, unavailable }) => {
      const at = this.#listeners?.at(port);
      const url = `http://${hostname}${at === 80 ? "" : `:${at}`}/`;
      return at === undefined ? [] : [unavailable === undefined ? { url } : { url, unavailable }];
    });
  }
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
