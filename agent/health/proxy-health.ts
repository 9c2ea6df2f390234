// kube-proxy's two ports, answered in its place, so that what asks them goes on as before. On one (10256): /healthz for load
// balancers, which asks whether this node may get traffic, and /livez, which asks only whether the agent keeps up. On the other
// (10249): /metrics and /proxyMode. It decides nothing: who knows sets the facts.
import { createServer, type ServerResponse } from "node:http";
import type { Family } from "../plan/endpoints.ts";
import { type HeldPort, holdPort } from "./held-port.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";
import type { SyncHealth } from "./sync-health.ts";

/** In the `server` header of each answer: an agent that starts must tell another agent's port from a kube-proxy's. */
export const SERVER = "postern-agent";

export interface ProxyHealthOptions {
  readonly mode: string;
  readonly families: readonly Family[];
  readonly sync: SyncHealth;
  readonly metrics: ProxyMetrics;
  readonly now: () => number;
}

type At = { readonly host: string; readonly port: number };

export class ProxyHealth {
  readonly #options: ProxyHealthOptions;
  /** The own Node exists and stays. As kube-proxy has it, true until the contrary is known. */
  eligible = true;

  constructor(options: ProxyHealthOptions) {
    this.#options = options;
  }

  /** For the health checks of Services: this node serves what the plan says. */
  get healthy(): boolean {
    const { sync } = this.#options;
    return sync.hasSynced && sync.healthy;
  }

  holdHealth(at: At, busy: (error: Error) => void): HeldPort {
    return holdPort(
      createServer((request, response) => this.#answerHealth(request.url ?? "/", response)),
      at,
      busy,
    );
  }

  holdMetrics(at: At, busy: (error: Error) => void): HeldPort {
    return holdPort(
      createServer((request, response) => void this.#answerMetrics(request.url ?? "/", response)),
      at,
      busy,
    );
  }

  #answerHealth(url: string, response: ServerResponse): void {
    const { metrics, sync } = this.#options;
    const answer = (good: boolean, body: object): string => {
      const code = good ? 200 : 503;
      const headers = { "content-type": "application/json", "x-content-type-options": "nosniff", server: SERVER };
      response.writeHead(code, headers).end(JSON.stringify(body));
      return String(code);
    };
    switch (url.split("?")[0]) {
      case "/healthz":
        // kube-proxy says 200 before its first sync. But a node that has just booted forwards nothing by then, and a balancer that is
        // told 200 sends to it. Whoever would restart the agent asks /livez.
        metrics.healthz.inc({ code: answer(this.healthy && this.eligible, this.#facts(this.healthy, true)) });
        break;
      case "/livez":
        metrics.livez.inc({ code: answer(sync.healthy, this.#facts(sync.healthy, false)) });
        break;
      default:
        notFound(response, "try /healthz or /livez\n");
    }
  }

  #facts(healthy: boolean, withNode: boolean): object {
    const { families, sync, now } = this.#options;
    const currentTime = new Date(now()).toISOString();
    const synced = new Date(sync.lastUpdated ?? 0).toISOString();
    // While nothing waits, what there is is as new as now: old load balancers read `lastUpdated` alone.
    const lastUpdated = healthy ? currentTime : synced;
    const node = withNode ? { nodeEligible: this.eligible } : {};
    const status = Object.fromEntries(families.map((family) => [family, { lastUpdated: synced, healthy }]));
    return { lastUpdated, currentTime, ...node, healthy, status };
  }

  async #answerMetrics(url: string, response: ServerResponse): Promise<void> {
    const { metrics, mode } = this.#options;
    const headers = (type: string) => ({ "content-type": type, "x-content-type-options": "nosniff", server: SERVER });
    switch (url.split("?")[0]) {
      case "/metrics":
        response.writeHead(200, headers(metrics.contentType)).end(await metrics.text());
        break;
      case "/proxyMode":
        response.writeHead(200, headers("text/plain")).end(mode);
        break;
      case "/healthz":
        response.writeHead(200, headers("text/plain")).end("ok");
        break;
      default:
        notFound(response, "try /metrics or /proxyMode\n");
    }
  }
}

const notFound = (response: ServerResponse, hint: string) =>
  response.writeHead(404, { "content-type": "text/plain", server: SERVER }).end(hint);
