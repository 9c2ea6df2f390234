// The tunnel: one connection to every shard of the cluster, redialled for ever. It owns timers and sockets; supervise.ts decides when
// to redial. Nothing of it survives a restart of the agent.
import type { Logger } from "pino";
import type { WebSocket } from "ws";
import { BUDGET } from "../../src/shared/wire/limits.ts";
import type { ProbeQuestion, Report, RequestHead } from "../../src/shared/wire/messages.ts";
import type { Budget } from "../../src/shared/wire/session.ts";
import type { Backends } from "../endpoints/endpoints.ts";
import { Connection, type ServedStream, type Server } from "./connection.ts";
import { dial } from "./dial.ts";
import { Faults } from "./faults.ts";
import { Pools } from "./pools.ts";
import { type Serving, serve } from "./serve.ts";
import { serveProbe } from "./serve-probe.ts";
import { type Ended, redial } from "./supervise.ts";

export interface TunnelOptions {
  readonly edge: URL;
  readonly cluster: string;
  /** Asked at each dial: a token may be replaced while the agent runs. Throws where there is none, and is asked again later. */
  readonly token: () => string;
  readonly node: string;
  /** Identity of this process; the pod's UID where there is one. */
  readonly instance: string;
  readonly software: string;
  /** SHA-256 of the program that runs; undefined: it is no bundle. */
  readonly bundle?: string | undefined;
  readonly backends: Backends;
  /** A report as JSON; undefined: this node answers no probe now. */
  readonly answerProbe: (question: ProbeQuestion) => Promise<Uint8Array> | undefined;
  readonly log: Logger;
  readonly onState: (state: TunnelState) => void;
}

export interface TunnelState {
  /** At least one shard is connected. */
  readonly connected: boolean;
}

export interface Tunnel {
  /** Begins to dial. Not to be called before the node can serve what its plan says. Further calls do nothing. */
  dial(): void;
  /** The edge has just been reached by another way: shards that wait before they dial again wait no longer. */
  redialNow(): void;
  /** Says GOAWAY, and resolves when all open streams are finished or their connections are closed. */
  drain(): Promise<void>;
  close(): void;
  /** Endpoints that this node finds unavailable; replaces the list before. */
  report(problems: Report["endpoints"]): void;
}

/** How often a refused token is compared with the one that there is now. */
const TOKEN_CHECK_MS = 5_000;
const REPORT_MOST = 1000;

export function createTunnel(options: TunnelOptions): Tunnel {
  return new Shards(options);
}

class Shards implements Tunnel {
  readonly #options: TunnelOptions;
  readonly #started = Date.now();
  readonly #budget: Budget = { held: 0, limit: BUDGET };
  readonly #pools = new Pools();
  readonly #serving: Serving;
  readonly #faults: Faults;
  readonly #shards: Shard[] = [];
  #report: Report = { endpoints: [] };
  #draining = false;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.#serving = { backends: options.backends, pools: this.#pools };
    this.#faults = new Faults(options.log);
    options.backends.onRetired((_key, address) => this.#pools.retire(address));
  }

  dial(): void {
    if (!this.#draining) this.#grow(1);
  }

  redialNow(): void {
    for (const shard of this.#shards) shard.redialNow();
  }

  async drain(): Promise<void> {
    this.#draining = true;
    await Promise.all(this.#shards.map((shard) => shard.drain()));
  }

  close(): void {
    this.#draining = true;
    for (const shard of this.#shards) shard.close();
    this.#pools.destroy();
  }

  report(problems: Report["endpoints"]): void {
    this.#report = { endpoints: problems.slice(0, REPORT_MOST) };
    for (const shard of this.#shards) shard.connection?.report(this.#report);
  }

  /** The edge says how many shards there are. One connection is made to each, and made again when it ends. */
  #grow(shards: number): void {
    while (this.#shards.length < shards) {
      const index = this.#shards.length;
      this.#shards.push(
        new Shard(index, this.#options, this.#started, this.#budget, {
          ready: (connection, count) => {
            if (this.#report.endpoints.length > 0) connection.report(this.#report);
            this.#grow(count);
            this.#reportState();
          },
          ended: () => this.#reportState(),
          draining: () => this.#draining,
          serve: (stream, head, body, end) => serve(this.#serving, stream, head, body, end),
          probe: (stream, question) => serveProbe(stream, this.#options.answerProbe(question)),
          fault: (error, ended) => this.#faults.tell(error, ended),
        }),
      );
    }
  }

  #reportState(): void {
    this.#options.onState({ connected: this.#shards.some((shard) => shard.ready) });
  }
}

interface ShardEvents {
  ready(connection: Connection, shards: number): void;
  ended(): void;
  draining(): boolean;
  serve(stream: ServedStream, head: RequestHead, body: Uint8Array | undefined, end: boolean): Server;
  probe(stream: ServedStream, question: ProbeQuestion): Server;
  fault(error: unknown, ended: "stream" | "connection"): void;
}

class Shard {
  connection: Connection | undefined;
  ready = false;
  readonly #index: number;
  readonly #options: TunnelOptions;
  readonly #started: number;
  readonly #budget: Budget;
  readonly #events: ShardEvents;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  /** `#timer` waits for the next dial, and not for another token. */
  #waits = false;
  #closed = false;

  constructor(index: number, options: TunnelOptions, started: number, budget: Budget, events: ShardEvents) {
    this.#index = index;
    this.#options = options;
    this.#started = started;
    this.#budget = budget;
    this.#events = events;
    this.#dial();
  }

  redialNow(): void {
    if (!this.#waits || this.#closed || this.#events.draining()) return;
    clearTimeout(this.#timer);
    this.#dial();
  }

  async drain(): Promise<void> {
    clearTimeout(this.#timer);
    await this.connection?.drain("the agent stops");
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.connection?.close(1000, "the agent stops");
  }

  #dial(): void {
    this.#waits = false;
    const { edge, cluster, node, instance, software, bundle, log } = this.#options;
    const identity = { node, instance, software, started: this.#started, ...(bundle !== undefined && { bundle }) };
    let token = "";
    let status: number | undefined;
    let permanent = false;
    let told = false;
    let connectedAt = 0;
    let socket: WebSocket;
    try {
      token = this.#options.token();
    } catch (error) {
      log.error(
        { shard: this.#index },
        `${(error as Error).message}: put the cluster's token there (the agent looks every few seconds)`,
      );
      return this.#awaitToken("");
    }
    try {
      socket = dial({ edge, cluster, shard: this.#index, token });
    } catch (error) {
      log.error({ err: error, shard: this.#index }, "cannot dial the edge");
      return this.#after({ connectedMs: 0 }, token);
    }
    socket.on("unexpected-response", (_request, response) => {
      status = response.statusCode;
      const remedy =
        (status ?? 0) >= 500 ? "trying on" : "--edge must be the edge's admin host, --cluster one of its clusters";
      log.warn({ shard: this.#index }, `${edge.origin} refused the tunnel with HTTP ${status}: ${remedy}`);
      socket.terminate();
    });
    socket.on("error", (error) => {
      if (connectedAt > 0 || status !== undefined) return log.debug({ err: error, shard: this.#index }, "tunnel error");
      log.warn({ shard: this.#index, why: error.message }, `the edge cannot be reached at ${edge.origin}; trying on`);
    });
    this.connection = new Connection(socket, identity, this.#budget, {
      onReady: (hello) => {
        connectedAt = Date.now();
        this.ready = true;
        log.info({ shard: this.#index, edge: hello.software }, "tunnel connected");
        if (this.connection !== undefined) this.#events.ready(this.connection, hello.shards ?? 1);
      },
      onGoAway: (goAway) => {
        // An edge may say it often. It is logged once, and once more when it turns permanent.
        if (told && (permanent || !goAway.permanent)) return;
        told = true;
        permanent ||= goAway.permanent;
        log.warn({ shard: this.#index, reason: goAway.reason, permanent }, "the edge says go away");
      },
      onEnded: (code, reason) => {
        this.ready = false;
        this.connection = undefined;
        this.#events.ended();
        if (connectedAt > 0) log.warn({ shard: this.#index, code, reason }, "tunnel closed");
        const connectedMs = connectedAt === 0 ? 0 : Date.now() - connectedAt;
        this.#after({ code, permanent, connectedMs, ...(status === undefined ? {} : { status }) }, token);
      },
      open: (stream, head, body, end) => this.#events.serve(stream, head, body, end),
      probe: (stream, question) => this.#events.probe(stream, question),
      onFault: (error, ended) => this.#events.fault(error, ended),
    });
  }

  #after(ended: Ended, token: string): void {
    if (this.#closed || this.#events.draining()) return;
    const decision = redial(ended, this.#failures, Math.random);
    if (decision.action === "wait") {
      this.#failures = decision.failures;
      this.#waits = true;
      this.#timer = setTimeout(() => this.#dial(), decision.ms);
      return;
    }
    this.#options.log.error(
      { shard: this.#index },
      `the edge does not accept this agent's token for cluster ${this.#options.cluster}: put a valid one into the token file ` +
        "(the agent looks every few seconds), or give --cluster the name of the token's own cluster",
    );
    this.#awaitToken(token);
  }

  #awaitToken(refused: string): void {
    this.#timer = setTimeout(() => {
      let token = refused;
      try {
        token = this.#options.token();
      } catch {
        // The file is being replaced; look again.
      }
      if (token === refused) return this.#awaitToken(refused);
      this.#dial();
    }, TOKEN_CHECK_MS);
  }
}
