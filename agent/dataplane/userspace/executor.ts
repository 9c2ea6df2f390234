// The userspace executor: opens the plan's TCP NodePorts on this node's own address and relays each connection to an
// endpoint, as kube-proxy's userspace mode once did. For machines without kernel rules, such as the local emulation.
// Owns the listeners and their connections; endpoints are Backends'. Nothing survives the process.
// Not done here: ClusterIPs (they need the kernel), UDP and SCTP (a problem says so).
import { createServer, type Server, type Socket } from "node:net";
import { annotation } from "../../../src/shared/model/annotations.ts";
import type { ForwardingPlan } from "../../plan/plan.ts";
import type { Applied, Executor } from "../executor.ts";
import { createEndpointBalancer, userspaceAlgorithms } from "../../endpoints/balance/index.ts";
import type { Backends } from "../../endpoints/endpoints.ts";
import { relay } from "./relay.ts";

/** Connections at once through one NodePort; further ones are closed at once. */
export const CONNECTIONS_MAX = 4_096;

export interface UserspaceOptions {
  /** This node's address: NodePorts are opened on it and on no other. */
  readonly address: string;
  readonly backends: Backends;
  readonly now?: () => number;
}

type Problem = Applied["problems"][number];

interface Target {
  readonly nodePort: number;
  readonly service: string;
  readonly port: number;
}

export function userspaceExecutor(options: UserspaceOptions): Executor {
  return new UserspaceExecutor(options);
}

class UserspaceExecutor implements Executor {
  readonly #address: string;
  readonly #backends: Backends;
  readonly #now: () => number;
  readonly #open = new Map<number, { readonly target: Target; readonly server: Server }>();
  /** They may outlive their listener: a Service that lost its endpoints may finish what it began. */
  readonly #clients = new Map<Socket, Target>();

  constructor({ address, backends, now = Date.now }: UserspaceOptions) {
    this.#address = address;
    this.#backends = backends;
    this.#now = now;
  }

  async apply(plan: ForwardingPlan): Promise<Applied> {
    this.#backends.update(plan);
    const problems = algorithmProblems(plan);
    const wanted = wantedNodePorts(plan, problems);
    for (const [client, target] of this.#clients) {
      if (!isSame(target, wanted.get(target.nodePort))) client.resetAndDestroy();
    }
    // Without endpoints a port is closed: the caller is refused, as by a kernel rule.
    const hasEndpoints = ({ service, port }: Target) =>
      this.#backends.findNodePort(service, port)?.refusal === undefined;
    for (const [nodePort, { target, server }] of this.#open) {
      if (isSame(target, wanted.get(nodePort)) && hasEndpoints(target)) continue;
      this.#open.delete(nodePort);
      server.close();
    }
    for (const [nodePort, target] of wanted) {
      if (this.#open.has(nodePort) || !hasEndpoints(target)) continue;
      const problem = await this.#listen(target);
      if (problem !== undefined) problems.push(problem);
    }
    return { problems };
  }

  async clear(): Promise<void> {
    for (const client of this.#clients.keys()) client.resetAndDestroy();
    const closed = [...this.#open.values()].map(
      ({ server }) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    this.#open.clear();
    await Promise.all(closed);
  }

  /** Undefined where it now listens. */
  #listen(target: Target): Promise<Problem | undefined> {
    const { nodePort, service, port } = target;
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      const backend = this.#backends.findNodePort(service, port);
      if (backend === undefined) {
        client.resetAndDestroy();
        return;
      }
      this.#clients.set(client, target);
      client.once("close", () => this.#clients.delete(client));
      void relay(client, backend, this.#now);
    });
    server.maxConnections = CONNECTIONS_MAX;
    return new Promise((resolve) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        const message = `NodePort ${nodePort} cannot be opened on ${this.#address}: ${remedy(error)}`;
        resolve({ service, reason: "NodePortNotOpened", message });
      });
      server.listen({ host: this.#address, port: nodePort, ipv6Only: true }, () => {
        server.removeAllListeners("error");
        // Failing to accept (no file descriptor left) costs that connection, not the process.
        server.on("error", () => undefined);
        this.#open.set(nodePort, { target, server });
        resolve(undefined);
      });
    });
  }
}

const isSame = (a: Target, b: Target | undefined): boolean => a.service === b?.service && a.port === b.port;

/** NodePort → what it leads to. Two Services with one NodePort cannot both have it: the first by name has. */
function wantedNodePorts(plan: ForwardingPlan, problems: Problem[]): ReadonlyMap<number, Target> {
  const wanted = new Map<number, Target>();
  for (const { key: service, ports } of plan.services) {
    for (const { nodePort, port, protocol } of ports) {
      if (nodePort === undefined) continue;
      const owner = wanted.get(nodePort);
      if (protocol !== "TCP") {
        const message = `NodePort ${nodePort}: ${protocol} cannot be forwarded in userspace, TCP only`;
        problems.push({ service, reason: "ProtocolNotSupported", message });
      } else if (owner !== undefined) {
        const message = `NodePort ${nodePort} is taken by Service ${owner.service}: give one of them another nodePort`;
        problems.push({ service, reason: "NodePortConflict", message });
      } else wanted.set(nodePort, { nodePort, service, port });
    }
  }
  return wanted;
}

function algorithmProblems(plan: ForwardingPlan): Problem[] {
  return plan.services
    .filter(({ algorithm }) => createEndpointBalancer(algorithm) === undefined)
    .map(({ key, algorithm }) => ({
      service: key,
      reason: "EndpointAlgorithmNotSupported",
      message: `${annotation.endpointAlgorithm}: ${algorithm} cannot be done in userspace (possible: ${userspaceAlgorithms.join(", ")}); endpoints are ordered at random`,
    }));
}

function remedy(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "EADDRINUSE":
      return "another process listens there. Stop it, or choose another nodePort; it is tried again until then";
    case "EADDRNOTAVAIL":
      return "this machine does not have that address. Start the agent with --address and one that it has";
    case "EACCES":
      return "ports below 1024 need a privilege. Choose a nodePort of 1024 or more";
    default:
      return error.message;
  }
}
