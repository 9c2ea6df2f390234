// What the tests of hostile peers share: a backend of raw bytes, endpoints that can be looked into, and the agent's own
// pieces (connection, pools, servers) put together as index.ts does, so that what they hold can be counted.
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { WebSocket } from "ws";
import { type EndpointState, Backends } from "../../../agent/endpoints/endpoints.ts";
import type { Failures } from "../../../agent/endpoints/ejection.ts";
import { Connection } from "../../../agent/tunnel/connection.ts";
import { type Patience, Pools } from "../../../agent/tunnel/pools.ts";
import { serve } from "../../../agent/tunnel/serve.ts";
import { serveProbe } from "../../../agent/tunnel/serve-probe.ts";
import { BUDGET, MESSAGE_MAX } from "../../../src/shared/wire/limits.ts";
import type { Budget } from "../../../src/shared/wire/session.ts";
import { plan, planEndpoint, planPort, planService } from "../dataplane/plans.ts";

/** A request as a raw backend sees it: its head, as latin1, once it is complete. Whatever follows is on `socket`. */
export type Answer = (socket: Socket, head: string) => void;

export interface RawBackend {
  readonly port: number;
  /** Heads that came, in order. */
  readonly heads: string[];
  readonly sockets: Set<Socket>;
  stop(): void;
}

/** Reads heads without bodies, one after the other on each connection, and lets `answer` write. */
export async function rawBackend(answer: Answer): Promise<RawBackend> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    let text = "";
    const onData = (chunk: Buffer): void => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const head = text.slice(0, end + 4);
        text = text.slice(end + 4);
        heads.push(head);
        answer(socket, head);
      }
    };
    socket.on("data", onData);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    heads,
    sockets,
    stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

export const web = (ports: readonly number[]): Parameters<Backends["update"]>[0] =>
  plan(planService("default/web", [planPort(ports.map((port) => planEndpoint("127.0.0.1", port)))]));

/** Endpoints as Backends keeps them, with what is held against them. */
export const endpointsOf = (
  backends: Backends,
): readonly (EndpointState & { readonly failures: Failures; readonly inFlight: number })[] =>
  [...(backends.find("default/web", 80)?.order("", Date.now()) ?? [])] as never;

/** One connection to `url`, and all that serves its streams. */
export class Node {
  readonly backends = new Backends();
  readonly pools: Pools;
  readonly budget: Budget = { held: 0, limit: BUDGET };
  readonly faults: unknown[] = [];
  readonly connection: Connection;

  constructor(url: URL, ports: readonly number[], patience?: Patience) {
    this.pools = new Pools(patience);
    this.backends.update(web(ports));
    this.backends.onRetired((_key, address) => this.pools.retire(address));
    const socket = new WebSocket(`ws://${url.host}/tunnel`, { perMessageDeflate: false, maxPayload: MESSAGE_MAX });
    socket.on("error", () => {});
    this.connection = new Connection(
      socket,
      { node: "n1", instance: "pod-1", software: "test", started: 1 },
      this.budget,
      {
        onReady: () => {},
        onGoAway: () => {},
        onEnded: () => {},
        open: (stream, head, body, end) => serve(this, stream, head, body, end),
        probe: (stream) => serveProbe(stream, undefined),
        onFault: (error) => this.faults.push(error),
      },
    );
  }

  /** Everything that streams hold here. */
  get held(): unknown {
    return {
      ...this.connection.open,
      bytes: this.budget.held,
      inFlight: endpointsOf(this.backends).map(({ inFlight }) => inFlight),
    };
  }

  stop(): void {
    this.connection.terminate();
    this.pools.destroy();
  }
}
