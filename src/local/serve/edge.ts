// The edge as a service of this machine: workerd, the admin host, and the listener ports of all clusters. Owns the state folder.
// workerd is started again when it ends; requests wait for that, and none is lost that may be sent twice.
// Survives a restart: the state folder (clusters, tokens, tables, the admin's token). Sockets do not.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { request } from "undici";
import { ADMIN_LISTENER } from "../../http/forwarded.ts";
import { type Api, createApi } from "../api.ts";
import { Child } from "../child.ts";
import { createForwarder, type Forwarder } from "../forwarder.ts";
import { freePort } from "../free-port.ts";
import { Listeners } from "../listeners.ts";
import { randomToken } from "../run-folder.ts";
import type { Options } from "./options.ts";
import { bundleWorker, workerdConfig } from "./workerd.ts";

const UP_WITHIN_MS = 30_000;
/** How long requests wait for workerd to be back. */
const PATIENCE_MS = 20_000;
const FOLLOW_MS = 500;
/** Ended sooner than that, it is not started again at once. */
const HEALTHY_MS = 5_000;

export class Edge {
  readonly #options: Options;
  readonly #say: (line: string) => void;
  readonly #stopping = new AbortController();
  readonly #admin: Server[] = [];
  #workerd: Child | undefined;
  #forwarder: Forwarder | undefined;
  #listeners: Listeners | undefined;

  constructor(options: Options, say: (line: string) => void) {
    this.#options = options;
    this.#say = say;
  }

  get adminTokenFile(): string {
    return join(this.#options.state, "admin-token");
  }

  /** As agents dial it. */
  get url(): string {
    const { addresses, port } = this.#options;
    const [address = ""] = addresses;
    return `http://${address.includes(":") ? `[${address}]` : address}:${port}`;
  }

  /** Resolves once the API answers and the ports of what is published are open. */
  async start(): Promise<Api> {
    const { state, port, refuse, addresses } = this.#options;
    mkdirSync(join(state, "storage"), { recursive: true, mode: 0o700 });
    const adminToken = this.#adminToken();
    const secret = randomToken();
    const listen = `127.0.0.1:${await freePort()}`;
    this.#say("building the Worker");
    writeFileSync(join(state, "postern.js"), await bundleWorker());
    writeFileSync(
      join(state, "workerd.capnp"),
      workerdConfig("postern.js", {
        listen,
        storage: join(state, "storage"),
        bindings: {
          EDGE_DOMAIN: this.#options.domain,
          ADMIN_HOST: new URL(this.url).host,
          ADMIN_TOKEN_SHA256: createHash("sha256").update(adminToken).digest("hex"),
          LISTENER_PORTS: "any",
          FORWARDER_SECRET: secret,
          PROBE_SECONDS: "2",
        },
      }),
      { mode: 0o600 },
    );
    this.#forwarder = createForwarder(new URL(`http://${listen}`), secret, { refuse, patienceMs: PATIENCE_MS });
    this.#listeners = new Listeners(this.#forwarder, this.#say, addresses);
    this.#say("starting workerd");
    this.#startWorkerd();
    await this.#untilServing(`http://${listen}`);
    for (const address of addresses) await this.#openAdmin(this.#forwarder, address, port);
    void this.#keepUp(`http://${listen}`);
    const api = createApi(this.url, adminToken);
    await this.#reconcile(api);
    void this.#follow(api);
    return api;
  }

  /** workerd anew, as after an upgrade; requests wait. */
  restart(): void {
    this.#workerd?.kill();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#listeners?.close();
    for (const server of this.#admin) {
      server.close();
      server.closeAllConnections();
    }
    await Promise.all([this.#workerd?.stop(), this.#forwarder?.close()]);
  }

  kill(): void {
    this.#stopping.abort();
    this.#workerd?.kill();
  }

  #adminToken(): string {
    if (!existsSync(this.adminTokenFile)) writeFileSync(this.adminTokenFile, `${randomToken()}\n`, { mode: 0o600 });
    return readFileSync(this.adminTokenFile, "utf8").trim();
  }

  #startWorkerd(): void {
    const { state } = this.#options;
    this.#workerd = new Child({
      name: "workerd",
      script: "src/local/serve/run-workerd.ts",
      args: [join(state, "workerd.capnp")],
      log: join(state, "workerd.log"),
    });
  }

  /** Started again for as long as we run. */
  async #keepUp(runtime: string): Promise<void> {
    for (;;) {
      const begun = performance.now();
      const how = await this.#workerd?.exited;
      if (this.#stopping.signal.aborted) return;
      this.#say(`workerd ${how}: starting it again. Its last lines:\n${this.#workerd?.lastLines()}`);
      const up = Promise.withResolvers<void>();
      this.#forwarder?.pause(up.promise);
      if (performance.now() - begun < HEALTHY_MS) await delay(1_000);
      this.#startWorkerd();
      await this.#untilServing(runtime).then(
        () => this.#say("workerd serves again"),
        (error: unknown) => this.#say(String(error)),
      );
      up.resolve();
    }
  }

  async #untilServing(runtime: string): Promise<void> {
    const deadline = performance.now() + UP_WITHIN_MS;
    const host = new URL(this.url).host;
    while (!(await answers(runtime, host))) {
      if (this.#stopping.signal.aborted) return;
      if (this.#workerd?.ended === true || performance.now() > deadline)
        throw new Error(`workerd does not serve. Its last lines:\n${this.#workerd?.lastLines()}`);
      await delay(20);
    }
  }

  async #openAdmin(forwarder: Forwarder, address: string, port: number): Promise<void> {
    const server = forwarder.server(ADMIN_LISTENER, port);
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
    this.#admin.push(server);
  }

  async #follow(api: Api): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await delay(FOLLOW_MS, undefined, { signal: this.#stopping.signal }).catch(() => {});
      // One that fails is repeated; if workerd ended, keepUp says so.
      await this.#reconcile(api).catch(() => {});
    }
  }

  async #reconcile(api: Api): Promise<void> {
    const tables = await Promise.all((await api.clusters()).map((cluster) => api.listeners(cluster)));
    // Without certificates there is no HTTPS here. The admin host's port is open already.
    const ports = tables.flat().filter(({ tls, port }) => !tls && port !== this.#options.port);
    if (!this.#stopping.signal.aborted) await this.#listeners?.reconcile(new Set(ports.map(({ port }) => port)));
  }
}

async function answers(runtime: string, host: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${runtime}/healthz`, { headers: { host } });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}
