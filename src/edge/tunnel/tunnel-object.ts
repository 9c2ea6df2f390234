// TunnelObject: one shard of one cluster's tunnel. It takes the agents' dials and the Worker's requests, and keeps the cluster's
// table. connections.ts knows who is connected, shard.ts which nodes to try in what order, forward.ts how a request goes.
// The sockets survive an eviction. Streams, ejections and the table are lost; the ClusterObject is asked for the table again.
import { DurableObject } from "cloudflare:workers";
import { effects } from "../effects.ts";
import type { Env } from "../env.ts";
import { failure } from "../http/failure.ts";
import { type Forwarded, forwarded } from "../http/forwarded.ts";
import { GENERATION_HEADER, TRIES_HEADER, UNSENT_HEADER } from "../http/internal.ts";
import { Trace } from "../forward/trace.ts";
import { doorOf, index, type Match, match, type TableIndex } from "../routing/match.ts";
import type { RoutingTable } from "../routing/table.ts";
import { BUDGET } from "../../shared/wire/limits.ts";
import type { Budget } from "../../shared/wire/session.ts";
import type { TunnelNode } from "../../shared/control/answers.ts";
import { DIAL_HEADER, type ShardProbe, type TunnelRpc } from "../rpc/contract.ts";
import { Connections, type Dial } from "./connections.ts";
import { Forwarder } from "./forward.ts";
import { type ProbeOptions, probeLinks } from "./probe.ts";
import type { Link } from "./link.ts";
import { Shard } from "./shard.ts";
import { TunnelTransport } from "./transport.ts";

/** For this long, ms, after a new table every answer carries its generation; afterwards at most one per ANNOUNCE_MS does. */
const ANNOUNCE_ALL_MS = 10_000;
const ANNOUNCE_MS = 250;

export class TunnelObject extends DurableObject<Env> implements TunnelRpc {
  readonly #shard = new Shard(effects);
  /** Bytes held for streams, over all connections; 0 where none is open. Not private, so that tests can see it. */
  readonly memory: Budget = { held: 0, limit: BUDGET };
  readonly #connections: Connections;
  readonly #transport: TunnelTransport;
  readonly #forwarder: Forwarder;
  #table: { index: TableIndex; generation: string } | undefined;
  #loading: Promise<void> | undefined;
  #announcedAt = 0;
  #announceAllUntil = 0;
  /** Until when somebody reads the access log, epoch ms. */
  #watchedUntil = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    this.#connections = new Connections({
      shard: this.#shard,
      memory: this.memory,
      effects,
      pingedAt: (socket) => ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime(),
      onAvailable: () => this.#transport.wake(),
    });
    this.#transport = new TunnelTransport(this.#shard, this.memory, effects, () => this.#connections.onWaiting());
    this.#forwarder = new Forwarder(this.#transport, this.memory, effects, env.FORWARDER_SECRET);
    for (const socket of ctx.getWebSockets()) this.#connections.restore(socket);
  }

  override async fetch(request: Request): Promise<Response> {
    const from = forwarded(request, this.env.FORWARDER_SECRET);
    if (from === undefined) return failure("not-a-listener", request);
    const door = doorOf(request.headers.get("host") ?? "", from, this.env.ADMIN_HOST);
    // Only the control API forwards dials, and no tenant's request gets here by its host or its port.
    if (door === "admin") return this.#dial(request);
    if (this.#table === undefined) await this.#loadTable();
    let found = this.#table === undefined ? undefined : match(this.#table.index, door);
    if (found === undefined) {
      // The Worker's table has this door, and the one here may be behind. It is loaded again before the request is refused, because
      // by then the request's body has begun to be read.
      await this.#loadTable().catch(() => {});
      found = this.#table === undefined ? undefined : match(this.#table.index, door);
    }
    const table = this.#table;
    if (table === undefined || found === undefined) return this.#notHere(request);
    this.#connections.lookForSilent();
    const trace = this.#watchedUntil > 0 && this.#watchedUntil > Date.now() ? new Trace(effects.now) : undefined;
    const response = await this.#forward(request, found, from, trace);
    // Every answer was made here, so its headers may be written to. The Worker looks for tries only beside a generation.
    if (this.#announces(Date.now()) || trace !== undefined) response.headers.set(GENERATION_HEADER, table.generation);
    if (trace !== undefined) response.headers.set(TRIES_HEADER, ascii(JSON.stringify(trace.tries)));
    return response;
  }

  /** A fault of ours ends this request, and nothing else. */
  async #forward(request: Request, found: Match, from: Forwarded, trace: Trace | undefined): Promise<Response> {
    try {
      return await this.#forwarder.forward(request, found, from, trace);
    } catch (error) {
      console.error(`a request for ${found.route.service} ends: the edge failed`, error);
      return failure("edge-away", request);
    }
  }

  /**
   * Whether this answer carries the table's generation. The Worker has to copy an answer to take the header off, so not every answer
   * has it: after a change all do, until every isolate must have heard of it or asked; later as many as keep isolates from asking.
   */
  #announces(now: number): boolean {
    if (now >= this.#announceAllUntil && now - this.#announcedAt < ANNOUNCE_MS) return false;
    this.#announcedAt = now;
    return true;
  }

  /** The Worker's table and this one differ, or there is none here. The Worker refreshes its table, and decides. */
  #notHere(request: Request): Response {
    const response = failure("no-such-listener", request);
    response.headers.set(UNSENT_HEADER, "no-such-listener");
    response.headers.set(GENERATION_HEADER, this.#table?.generation ?? "0");
    return response;
  }

  // ---- table -----------------------------------------------------------------------------------------------------

  async setTable(table: RoutingTable): Promise<void> {
    if (this.#table !== undefined && Number(this.#table.generation) > table.generation) return;
    this.#table = { index: index(table), generation: String(table.generation) };
    this.#announceAllUntil = Date.now() + ANNOUNCE_ALL_MS;
    this.#shard.setTable(table);
    // The new table may name other nodes for requests that wait for one.
    this.#transport.wake();
  }

  #loadTable(): Promise<void> {
    this.#loading ??= (async () => {
      try {
        const cluster = this.#cluster();
        if (cluster === undefined) return;
        const known = this.#table === undefined ? {} : { generation: Number(this.#table.generation) };
        const { table } = await this.env.CLUSTER.getByName(cluster).table(known);
        if (table !== undefined) await this.setTable(table);
      } finally {
        this.#loading = undefined;
      }
    })();
    return this.#loading;
  }

  /** "<cluster>/<shard>" is this object's name. */
  #cluster(): string | undefined {
    return this.ctx.id.name?.split("/")[0];
  }

  // ---- agents ----------------------------------------------------------------------------------------------------

  #dial(request: Request): Response {
    const dial = JSON.parse(request.headers.get(DIAL_HEADER) ?? "null") as Dial | null;
    if (dial === null || request.headers.get("upgrade")?.toLowerCase() !== "websocket")
      return new Response("Upgrade: websocket expected", { status: 426 });
    const refusal = this.#connections.refusal(dial.tokenId);
    // The agent tries again, later each time.
    if (refusal !== undefined) return new Response(refusal, { status: 503 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [dial.tokenId]);
    this.#connections.accepted(server, dial);
    return new Response(null, { status: 101, webSocket: client });
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#connections.receive(socket, message);
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#connections.closed(socket, "the node's connection closed");
    try {
      socket.close(code === 1005 || code === 1006 ? 1000 : code);
    } catch {
      // Closed already.
    }
  }

  override webSocketError(socket: WebSocket): void {
    this.#connections.closed(socket, "the node's connection broke");
  }

  // ---- RPC -------------------------------------------------------------------------------------------------------

  async closeToken(tokenId: string | "all", reason: string): Promise<{ closed: number }> {
    return { closed: this.#connections.revoke(tokenId, reason) };
  }

  async probe(options: ProbeOptions): Promise<ShardProbe> {
    const heardAt = (link: Link): number => this.#connections.heardAt(link);
    const probed = probeLinks({ nodes: this.#shard.nodes, heardAt, effects }, options);
    // A node that is silent is sent a PING, as it is where a request waits.
    this.#connections.onWaiting();
    return await probed;
  }

  async watchLog(until: number): Promise<void> {
    this.#watchedUntil = until;
  }

  async nodes(): Promise<readonly TunnelNode[]> {
    const now = Date.now();
    return [...this.#shard.nodes].map((node) => {
      const verdict = this.#shard.verdict(node, now);
      return {
        node: node.name,
        connections: node.links.map((link) => ({
          instance: link.session.peer?.instance ?? "",
          since: link.since,
          draining: link.session.goneAway,
          inFlight: link.session.open,
          version: link.session.peer?.software ?? "",
          ...(link.session.peer?.bundle !== undefined && { bundle: link.session.peer.bundle }),
        })),
        available: verdict.available,
        reason: verdict.available ? "" : verdict.reason,
        endpoints: node.links[0]?.report.endpoints ?? [],
      };
    });
  }
}

/** JSON that a header may carry. */
const ascii = (json: string): string =>
  json.replaceAll(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
