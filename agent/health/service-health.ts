// The healthCheckNodePorts of Services: a balancer in front of the nodes asks each one how many ready endpoints of a Service it
// has, and sends only to those that have some. One HTTP server for each Service and address; it answers whatever path is asked.
// A port that is taken concerns its Service alone. Nothing survives a restart.
import { createServer, type Server } from "node:http";
import type { NodeProblem } from "../dataplane/executor.ts";
import { type HeldPort, holdPort } from "./held-port.ts";
import { SERVER } from "./proxy-health.ts";

/** "namespace/name" → where it is asked for, and what is true of it. */
export type ServiceChecks = ReadonlyMap<string, { readonly nodePort: number; readonly localEndpoints: number }>;

interface Open {
  readonly nodePort: number;
  localEndpoints: number;
  /** By address; "" is all of them. */
  readonly ports: Map<string, { readonly held: HeldPort; failure: Error | undefined }>;
}

export class ServiceHealth {
  readonly #isProxyHealthy: () => boolean;
  readonly #open = new Map<string, Open>();

  constructor(isProxyHealthy: () => boolean) {
    this.#isProxyHealthy = isProxyHealthy;
  }

  /**
   * From now on `checks` are answered, at these addresses ("all": at every one; "0.0.0.0" and "::": at every one of a family), and
   * no others. Resolves when each port that is not ours was tried once more; one that is taken is tried on by itself, and named.
   */
  async serve(checks: ServiceChecks, addresses: "all" | readonly string[]): Promise<readonly NodeProblem[]> {
    const hosts = addresses === "all" ? [""] : addresses;
    for (const [key, open] of this.#open) {
      if (checks.get(key)?.nodePort !== open.nodePort) this.#close(key, open, () => true);
      else this.#close(key, open, (host, { isHeld }) => !isHeld || !hosts.includes(host));
    }
    for (const [key, { nodePort, localEndpoints }] of checks) {
      const open = this.#open.get(key) ?? { nodePort, localEndpoints, ports: new Map() };
      this.#open.set(key, open);
      open.localEndpoints = localEndpoints;
      for (const host of hosts) if (!open.ports.has(host)) this.#hold(key, open, host);
    }
    const ports = [...this.#open].flatMap(([key, open]) =>
      [...open.ports].map(([host, port]) => ({ key, open, host, port })),
    );
    await Promise.all(ports.map(({ port }) => port.held.tried));
    return ports.flatMap(({ key, open, host, port: { held, failure } }) =>
      held.isHeld || failure === undefined
        ? []
        : [
            {
              service: key,
              reason: "FailedToStartServiceHealthcheck",
              message: `healthCheckNodePort ${open.nodePort}${host === "" ? "" : ` at ${host}`} cannot be opened: ${failure.message}${hint(failure)}`,
            },
          ],
    );
  }

  close(): void {
    for (const [key, open] of this.#open) this.#close(key, open, () => true);
  }

  #hold(key: string, open: Open, host: string): void {
    const at = { ...(host === "" ? {} : { host, ipv6Only: host === "::" }), port: open.nodePort };
    const entry: { held: HeldPort; failure: Error | undefined } = {
      held: holdPort(this.#server(key, open), at, (error) => (entry.failure = error)),
      failure: undefined,
    };
    open.ports.set(host, entry);
  }

  #close(key: string, open: Open, which: (host: string, held: HeldPort) => boolean): void {
    for (const [host, { held }] of open.ports) {
      if (!which(host, held)) continue;
      held.close();
      open.ports.delete(host);
    }
    if (open.ports.size === 0) this.#open.delete(key);
  }

  #server(key: string, open: Open): Server {
    const [namespace, name] = key.split("/");
    return createServer((_request, response) => {
      const { localEndpoints } = open;
      const serviceProxyHealthy = this.#isProxyHealthy();
      response.writeHead(localEndpoints > 0 && serviceProxyHealthy ? 200 : 503, {
        "content-type": "application/json",
        "x-content-type-options": "nosniff",
        "x-load-balancing-endpoint-weight": String(localEndpoints),
        server: SERVER,
      });
      response.end(JSON.stringify({ service: { namespace, name }, localEndpoints, serviceProxyHealthy }));
    });
  }
}

const hint = (failure: NodeJS.ErrnoException): string =>
  failure.code === "EADDRINUSE"
    ? " (another program of the node has it: end that, or give the Service another port)"
    : "";
