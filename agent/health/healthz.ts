// Answers kubelet and Prometheus: /livez, /healthz, /readyz and /metrics, on a Unix socket of this agent and, if asked for, on a
// port of its node.
// Ready latches: once synced, programmed and connected, the agent stays ready, because an edge outage during a rollout must not
// make Kubernetes take away the only connected agent. The agent sets the facts; nothing else is decided here.
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type Closable, closable, type HeldPort, holdPort } from "./held-port.ts";
import { Metrics } from "./metrics.ts";

export interface HealthFacts {
  /** The source has delivered a complete state. */
  readonly synced: boolean;
  /** The node does what the latest plan says. */
  readonly programmed: boolean;
  /** At least one shard of the edge is connected. */
  readonly connected: boolean;
}

export class Health {
  readonly metrics = new Metrics();
  #facts: HealthFacts = { synced: false, programmed: false, connected: false };
  #ready = false;

  constructor() {
    this.set({});
  }

  set(facts: Partial<HealthFacts>): void {
    this.#facts = { ...this.#facts, ...facts };
    const { synced, programmed, connected } = this.#facts;
    this.#ready ||= synced && programmed && connected;
    for (const [fact, value] of Object.entries({ ...this.#facts, ready: this.#ready })) {
      this.metrics.state.set({ fact }, value ? 1 : 0);
    }
  }

  get healthy(): boolean {
    return this.#facts.synced && this.#facts.programmed;
  }

  /** Listens at a Unix socket, and replaces what an earlier process left there. Rejects if the socket cannot be opened. */
  async listenAt(path: string): Promise<Closable> {
    await rm(path, { force: true });
    const server = this.#server();
    server.listen({ path });
    await once(server, "listening");
    return closable(server);
  }

  /** Listens at a port of the node, as soon as it is free. `busy` is called once if the first try fails. */
  hold(at: { host: string; port: number }, busy: (error: Error) => void): HeldPort {
    return holdPort(this.#server(), at, busy);
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
        return answer(200, this.metrics.contentType, await this.metrics.text());
      default:
        return answer(404, "text/plain", "try /livez, /healthz, /readyz or /metrics\n");
    }
  }
}
