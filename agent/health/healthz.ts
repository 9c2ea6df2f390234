// What this agent says about itself to kubelet and Prometheus: /healthz, /readyz and /metrics on an address of its own.
// Ready latches: once synced, programmed and connected it stays ready, for an edge outage during a rollout must not make
// Kubernetes take away the only connected agent. Decides nothing else; the agent sets the facts.
import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";

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

  /** `address`: "127.0.0.1:10256", "[::1]:10256". Rejects where it cannot be opened. */
  async listen({ host, port }: { host: string; port: number }): Promise<{ port: number; close(): void }> {
    const server = createServer((request, response) => void this.#answer(request.url ?? "/", response));
    server.listen({ host, port });
    await once(server, "listening");
    const bound = server.address();
    return {
      port: typeof bound === "object" && bound !== null ? bound.port : port,
      close: () => {
        server.close();
        server.closeAllConnections();
      },
    };
  }

  async #answer(path: string, response: ServerResponse): Promise<void> {
    const answer = (status: number, type: string, body: string) => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
    };
    const facts = (good: boolean) => answer(good ? 200 : 503, "application/json", JSON.stringify(this.#facts));
    switch (path.split("?")[0]) {
      case "/healthz":
        return facts(this.healthy);
      case "/readyz":
        return facts(this.#ready);
      case "/metrics":
        return answer(200, this.registry.contentType, await this.registry.metrics());
      default:
        return answer(404, "text/plain", "try /healthz, /readyz or /metrics\n");
    }
  }

  #gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }
}
