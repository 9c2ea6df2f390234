// What this agent says about itself to kubelet and Prometheus: /livez, /healthz, /readyz and /metrics, on a socket of its own
// and, if asked for, on a port of its node.
// Ready latches: once synced, programmed and connected it stays ready, for an edge outage during a rollout must not make
// Kubernetes take away the only connected agent. Decides nothing else; the agent sets the facts.
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";

const HOLD_RETRY_MS = 500;

export interface Closable {
  close(): void;
}

const closable = (server: Server): Closable => ({
  close() {
    server.close();
    server.closeAllConnections();
  },
});

export interface HealthFacts {
  /** The source has delivered a complete state. */
  readonly synced: boolean;
  /** The node does what the latest plan says. */
  readonly programmed: boolean;
  /** At least one shard of the edge is connected. */
  readonly connected: boolean;
}

export class Health {
  readonly registry = new Registry();
  /** By kind: Service, EndpointSlice, Node. */
  readonly observed = this.#gauge("postern_observed_objects", "Kubernetes objects observed", ["kind"]);
  readonly problems = this.#gauge("postern_problems", "What the agent finds wrong now", ["about"]);
  readonly publishes = new Counter({
    name: "postern_snapshots_accepted_total",
    help: "Snapshots that the edge accepted",
    registers: [this.registry],
  });
  readonly #fact = this.#gauge("postern_state", "1 where it is so", ["fact"]);
  #facts: HealthFacts = { synced: false, programmed: false, connected: false };
  #ready = false;

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    this.set({});
  }

  set(facts: Partial<HealthFacts>): void {
    this.#facts = { ...this.#facts, ...facts };
    const { synced, programmed, connected } = this.#facts;
    this.#ready ||= synced && programmed && connected;
    for (const [fact, value] of Object.entries({ ...this.#facts, ready: this.#ready })) {
      this.#fact.set({ fact }, value ? 1 : 0);
    }
  }

  get healthy(): boolean {
    return this.#facts.synced && this.#facts.programmed;
  }

  /** A Unix socket; what an earlier process left there is replaced. Rejects where it cannot be opened. */
  async listenAt(path: string): Promise<Closable> {
    await rm(path, { force: true });
    const server = this.#server();
    server.listen({ path });
    await once(server, "listening");
    return closable(server);
  }

  /**
   * The port belongs to the node, not to this agent: during an upgrade the agent before still holds it, until it is told to
   * finish. So this one tries until it gets it; `busy` is called once where that takes longer than one try.
   */
  hold(
    { host, port }: { host: string; port: number },
    busy: (error: Error) => void,
  ): Closable & { readonly port: number } {
    const server = this.#server();
    let retry: NodeJS.Timeout | undefined;
    const listen = () => void server.listen({ host, port });
    server.on("error", (error) => {
      if (retry === undefined) busy(error);
      retry = setTimeout(listen, HOLD_RETRY_MS);
    });
    listen();
    return {
      get port() {
        const bound = server.address();
        return typeof bound === "object" && bound !== null ? bound.port : port;
      },
      close() {
        clearTimeout(retry);
        closable(server).close();
      },
    };
  }

  #server(): Server {
    return createServer((request, response) => void this.#answer(request.url ?? "/", response));
  }

  async #answer(path: string, response: ServerResponse): Promise<void> {
    const answer = (status: number, type: string, body: string) => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
    };
    const facts = (good: boolean) => answer(good ? 200 : 503, "application/json", JSON.stringify(this.#facts));
    switch (path.split("?")[0]) {
      case "/livez":
        return answer(200, "text/plain", "ok\n");
      case "/healthz":
        return facts(this.healthy);
      case "/readyz":
        return facts(this.#ready);
      case "/metrics":
        return answer(200, this.registry.contentType, await this.registry.metrics());
      default:
        return answer(404, "text/plain", "try /livez, /healthz, /readyz or /metrics\n");
    }
  }

  #gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }
}
