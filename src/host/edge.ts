// The edge as a service of this machine: workerd, the admin host, and the listener ports of all clusters. Owns the state folder,
// alone: it is locked before anything is written, and the admin port is open before workerd's configuration is.
// Requests wait while workerd is started again, and none is lost that may be sent twice.
// Survives a restart: the state folder (clusters, tokens, tables, the admin's token, logs). Sockets do not.
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Server } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ADMIN_LISTENER } from "../edge/http/forwarded.ts";
import { formatPortRanges, inRanges, without } from "../edge/routing/port-ranges.ts";
import { type Api, createApi } from "./control-client.ts";
import { createListenerProxy, type ListenerProxy } from "./proxy/listener-proxy.ts";
import { freePort } from "./process/free-port.ts";
import { Listeners } from "./listeners/listeners.ts";
import type { Lock } from "./state/lock.ts";
import { LogFile } from "./process/log-file.ts";
import { openFilesProblem } from "./process/open-files.ts";
import { hostPort } from "../shared/net/host-port.ts";
import { randomToken } from "./state/random-token.ts";
import { sparingly } from "./process/sparingly.ts";
import { chooseListeners, type ListenerRules, PORTS_MOST, PORTS_MOST_OF_CLUSTER } from "./listeners/listener-choice.ts";
import type { Options } from "./options.ts";
import { adminToken, openStateFolder } from "./state/state-folder.ts";
import { trustedProxies } from "./proxy/trusted-proxies.ts";
import { type BuiltWorker, builtWorker } from "./workerd/built-worker.ts";
import { workerdConfig, type WorkerdSettings } from "./workerd/configuration.ts";
import { Workerd } from "./workerd/supervisor.ts";
import { byTopic } from "./process/by-topic.ts";

/** How long requests wait for workerd to be back. */
const PATIENCE_MS = 20_000;
const FOLLOW_MS = 500;

export class Edge {
  readonly #options: Options;
  readonly #say: (line: string) => void;
  /** What clusters and clients can make us say: all of it goes to the log, some to the terminal. */
  readonly #few: (line: string) => void;
  readonly #terminal: (line: string) => void;
  readonly #stopping = new AbortController();
  readonly #admin: Server[] = [];
  readonly #log: LogFile;
  readonly #rules: ListenerRules;
  readonly #secret = randomToken();
  /** Cluster → its ports as last read: one whose table cannot be read keeps them. */
  #wanted: ReadonlyMap<string, ReadonlySet<number>> = new Map();
  /** Says what is found at every look, but not at every look. */
  readonly #tell: (topic: string, words: string) => void;
  #lock: Lock | undefined;
  #built: Promise<BuiltWorker> | undefined;
  #workerd: Workerd | undefined;
  #proxy: ListenerProxy | undefined;
  #listeners: Listeners | undefined;

  constructor(options: Options, say: (line: string) => void) {
    this.#options = options;
    this.#log = new LogFile(this.#logPath("edge"));
    const logged = (terminal: (line: string) => void) => (line: string) => {
      terminal(line);
      // Before the folder is ours nothing is written there.
      if (this.#lock !== undefined) this.#log.note(line);
    };
    this.#terminal = say;
    this.#say = logged(say);
    this.#few = logged(sparingly(say, this.#log.path));
    this.#tell = byTopic(this.#few);
    const { listenerPorts, port } = options;
    this.#rules = {
      offered: without(listenerPorts ?? [[1, 65_535]], port),
      ...(listenerPorts === undefined ? { most: { all: PORTS_MOST, cluster: PORTS_MOST_OF_CLUSTER } } : {}),
    };
  }

  get adminTokenFile(): string {
    return join(this.#options.state, "admin-token");
  }

  /** As agents dial it. */
  get url(): string {
    return this.#options.publicUrl ?? this.#ownUrl;
  }

  /** Resolves once the API answers and the ports of what is published are open. */
  async start(): Promise<Api> {
    const { state, port, refuse, addresses, trustedProxies: proxies } = this.#options;
    this.#lock = openStateFolder(state);
    const token = adminToken(this.adminTokenFile);
    const tooFewFiles = openFilesProblem();
    if (tooFewFiles !== undefined) this.#say(tooFewFiles);
    if (this.#options.listenerPorts !== undefined && inRanges(this.#rules.offered, 443))
      this.#say(
        "Port 443 is listed, and stays closed: nothing here ends TLS. Put a TLS proxy before the edge (see --help).",
      );
    const runtime = new URL(`http://127.0.0.1:${await freePort()}`);
    this.#proxy = createListenerProxy(runtime, this.#secret, {
      refuse,
      patienceMs: PATIENCE_MS,
      trustedProxies: trustedProxies(proxies),
      log: this.#few,
    });
    this.#listeners = new Listeners(this.#proxy, this.#few, {
      hosts: addresses,
      mayStandIn: (at) => inRanges(this.#rules.offered, at),
    });
    // Before anything is written: whoever has the port is told before a file is touched. What asks already waits.
    const up = Promise.withResolvers<void>();
    this.#proxy.pause(up.promise);
    for (const address of addresses) await this.#openAdmin(this.#proxy, address, port);
    this.#built = builtWorker(join(state, "worker.json"), {
      assets: this.#assets,
      log: this.#logPath("build"),
      building: () => this.#say("building the Worker and the agent, which are kept for the next start"),
      signal: this.#stopping.signal,
    });
    const { declared, module } = await this.#built;
    this.#say(`starting workerd; its log is ${this.#logPath("workerd")}, this program's ${this.#log.path}`);
    this.#workerd = new Workerd({
      folder: state,
      log: this.#logPath("workerd"),
      url: runtime,
      secret: this.#secret,
      say: this.#say,
      relay: sparingly(this.#terminal, this.#logPath("workerd")),
      away: (up) => this.#proxy?.pause(up),
    });
    await this.#workerd.start({
      "postern.js": module,
      "workerd.capnp": workerdConfig("postern.js", declared, this.#settings(runtime.host, token)),
    });
    up.resolve();
    const api = createApi(this.#ownUrl, token);
    await this.#reconcile(api);
    void this.#follow(api);
    return api;
  }

  /** workerd anew, of the same files; requests wait. Nothing while it is starting anyway. */
  restart(): void {
    this.#workerd?.restart();
  }

  /** When it resolves, nothing runs, and nothing will be started. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#listeners?.close();
    for (const server of this.#admin) {
      server.close();
      server.closeAllConnections();
    }
    // What start() throws, its caller hears.
    const built = this.#built?.catch(() => {});
    await Promise.all([built, this.#workerd?.stop(), this.#proxy?.close()]);
    this.#log.close();
    this.#lock?.release();
  }

  kill(): void {
    this.#stopping.abort();
    this.#workerd?.kill();
  }

  get #ownUrl(): string {
    const { addresses, port } = this.#options;
    const [address = ""] = addresses;
    return `http://${hostPort(address, port)}`;
  }

  get #assets(): string {
    return join(this.#options.state, "assets");
  }

  #logPath(of: "edge" | "workerd" | "build"): string {
    return join(this.#options.state, "logs", `${of}.log`);
  }

  #settings(listen: string, token: string): WorkerdSettings {
    const { state, domain, publicUrl, directLoopback } = this.#options;
    const { offered, most } = this.#rules;
    return {
      listen,
      storage: join(state, "storage"),
      assets: this.#assets,
      loopback: directLoopback,
      bindings: {
        EDGE_DOMAIN: domain,
        ADMIN_HOST: new URL(this.url).host,
        ADMIN_TOKEN_SHA256: createHash("sha256").update(token).digest("hex"),
        LISTENER_PORTS: formatPortRanges(offered),
        ...(most === undefined ? {} : { LISTENER_PORTS_MOST: String(most.cluster) }),
        LISTENER_TLS: "none",
        ...(publicUrl === undefined ? {} : { PUBLIC_URL: publicUrl }),
        ...(directLoopback ? { DIRECT_ADDRESSES: "any" } : {}),
        FORWARDER_SECRET: this.#secret,
        PROBE_SECONDS: "2",
      },
    };
  }

  async #openAdmin(proxy: ListenerProxy, address: string, port: number): Promise<void> {
    const server = proxy.server(ADMIN_LISTENER);
    server.listen(port, address);
    try {
      await once(server, "listening");
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (this.#admin.length > 0 && (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT")) return;
      throw new Error(
        code === "EADDRINUSE"
          ? `port ${port} on ${address} is in use: stop what uses it (ss -ltnp 'sport = :${port}'), or give --port another one`
          : `${address}:${port} cannot be opened (${code}): --address must be one of this machine's (ip -brief address)`,
        { cause },
      );
    }
    // As listeners/listeners.ts has it: what cannot be accepted is its client's trouble.
    server.on("error", () => {});
    this.#admin.push(server);
  }

  async #follow(api: Api): Promise<void> {
    for (;;) {
      await this.#wait(FOLLOW_MS);
      if (this.#stopping.signal.aborted) return;
      try {
        await this.#reconcile(api);
      } catch (error) {
        // It is repeated; if workerd ended, its supervisor says so.
        if (this.#workerd?.serving === true)
          this.#tell("clusters", `The clusters' tables cannot be read, so ports stay as they are: ${String(error)}`);
      }
    }
  }

  async #reconcile(api: Api): Promise<void> {
    const wanted = new Map<string, ReadonlySet<number>>();
    await Promise.all(
      (await api.clusters()).map(async (cluster) => {
        try {
          const listeners = await api.listeners(cluster);
          // A table from before this edge was told that it ends no TLS may still have some.
          wanted.set(cluster, new Set(listeners.filter(({ tls }) => !tls).map(({ port }) => port)));
        } catch (error) {
          const before = this.#wanted.get(cluster);
          if (before !== undefined) wanted.set(cluster, before);
          this.#tell(
            `table ${cluster}`,
            `The table of cluster ${cluster} cannot be read, so its ports stay as they are: ${String(error)}`,
          );
        }
      }),
    );
    this.#wanted = wanted;
    const open = this.#listeners?.open ?? new Set();
    const { ports, refused } = chooseListeners(wanted, open, this.#rules);
    for (const [cluster, words] of refused)
      this.#tell(
        `ports ${cluster}`,
        `Of cluster ${cluster}, ${words} are not opened. Which ports may be is yours to say: --listener-ports 80,8000-8999`,
      );
    if (!this.#stopping.signal.aborted) await this.#listeners?.reconcile(ports);
  }

  /** Less where the edge stops meanwhile. */
  async #wait(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }
}
