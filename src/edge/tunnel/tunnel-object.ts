// TunnelObject: one shard of one cluster's tunnel. Holds the agents' sockets (hibernating), gives each client request to a
// node, and retries on the next. Which nodes, in what order: shard.ts. How a request goes: forward.ts.
// Survives an eviction: the sockets, with token id and session state in their attachments. Lost: streams, counts, ejections,
// the table (fetched again from the ClusterObject).
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import { failure } from "../http/failure.ts";
import { ADMIN_LISTENER, type Forwarded, forwarded } from "../http/forwarded.ts";
import { GENERATION_HEADER, UNSENT_HEADER } from "../http/internal.ts";
import { index, isAdminHost, type Match, match, type TableIndex } from "../routing/match.ts";
import type { RoutingTable } from "../routing/table.ts";
import { Link, type LinkOwner } from "./link.ts";
import {
  BUDGET,
  CLOSE_RENEW,
  CLOSE_REPLACED,
  CLOSE_REVOKED,
  CLOSE_SILENT,
  CLOSE_VIOLATION,
  PROTOCOL_VERSIONS,
  SILENT_SECONDS,
  STRANGER_MS,
} from "../../shared/wire/limits.ts";
import { type Hello, Reset } from "../../shared/wire/messages.ts";
import { Ration } from "../../shared/wire/ration.ts";
import { type Budget, Session, type SessionState } from "../../shared/wire/session.ts";
import { refuseDial } from "./admission.ts";
import { DIAL_HEADER, type TunnelNode, type TunnelRpc } from "../rpc/contract.ts";
import { effects } from "../effects.ts";
import { Forwarder } from "./forward.ts";
import { Shard } from "./shard.ts";
import { TunnelTransport } from "./transport.ts";

/** What the Worker says of a dial that it has authorised. */
interface Dial {
  readonly cluster: string;
  readonly shard: number;
  readonly shards: number;
  readonly tokenId: string;
}

/** Stored with each socket. */
interface Attachment {
  readonly dial: Dial;
  readonly since: number;
  readonly session?: SessionState;
}

/** After a new table every answer says its generation for so long, ms; afterwards one in so many ms does. */
const ANNOUNCE_ALL_MS = 10_000;
const ANNOUNCE_MS = 250;

/** How often waiting requests look for silent nodes, ms; and how often silent sockets are looked for while any stream is open. */
const SWEEP_MS = 250;
const SLOW_SWEEP_MS = 5_000;
/** Before a request, silent sockets are looked for at most so often, ms: it costs a look at each. */
const SILENT_CHECK_MS = 1_000;
/** How long the streams of a connection without further ids may go on, ms. */
const RENEW_MS = 30_000;

export class TunnelObject extends DurableObject<Env> implements TunnelRpc, LinkOwner {
  readonly #links = new Map<WebSocket, Link>();
  readonly #dials = new Map<Link, Dial>();
  /** Those that have not said HELLO, oldest first. */
  readonly #strangers = new Set<Link>();
  #strangerTimer: number | undefined;
  /** Connections that are to be renewed, and since when, epoch ms. */
  readonly #exhausted = new Map<Link, number>();
  readonly #shard = new Shard(effects);
  /** Bytes held for streams, over all connections; 0 where none is open. Not private, so that tests can see it. */
  readonly memory: Budget = { held: 0, limit: BUDGET };
  /** Twice what one connection has: no number of connections makes more of it. */
  readonly #ration = new Ration(undefined, 2);
  readonly #transport: TunnelTransport;
  readonly #forwarder: Forwarder;
  #table: { index: TableIndex; generation: string } | undefined;
  #loading: Promise<void> | undefined;
  #announcedAt = 0;
  #announceAllUntil = 0;
  #silentChecked = 0;
  #sweepTimer: number | undefined;
  #sweepDue = Number.POSITIVE_INFINITY;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
    this.#transport = new TunnelTransport(this.#shard, this.memory, effects, () => this.#sweepWithin(SWEEP_MS));
    this.#forwarder = new Forwarder(this.#transport, this.memory, effects, env.FORWARDER_SECRET);
    for (const socket of ctx.getWebSockets()) this.#restore(socket);
  }

  override async fetch(request: Request): Promise<Response> {
    const host = request.headers.get("host") ?? "";
    const from = forwarded(request, this.env.FORWARDER_SECRET);
    if (from === undefined) return failure("not-a-listener", request);
    const { port, scheme } = from;
    // Only the control API forwards dials, and no tenant's request gets here by its host or its port.
    if (port === undefined ? isAdminHost(host, this.env.ADMIN_HOST, scheme) : port === ADMIN_LISTENER)
      return this.#dial(request);
    if (this.#table === undefined) await this.#loadTable();
    const door = { host, scheme, port: port === ADMIN_LISTENER ? undefined : port };
    let found = this.#table === undefined ? undefined : match(this.#table.index, door);
    if (found === undefined) {
      // The Worker's table has it. This one may be behind, and whoever says no here has begun to read the request's body.
      await this.#loadTable().catch(() => {});
      found = this.#table === undefined ? undefined : match(this.#table.index, door);
    }
    const table = this.#table;
    if (table === undefined || found === undefined) return this.#notHere(request);
    const now = Date.now();
    if (now - this.#silentChecked >= SILENT_CHECK_MS) this.#dropSilent(now);
    const response = await this.#forward(request, found, from);
    // A WebSocket's 101 has headers that are its own; all others are made here and may be written to.
    if (this.#announces(Date.now())) response.headers.set(GENERATION_HEADER, table.generation);
    return response;
  }

  /** A fault of ours ends this request, and nothing else. */
  async #forward(request: Request, found: Match, from: Forwarded): Promise<Response> {
    try {
      return await this.#forwarder.forward(request, found, from);
    } catch (error) {
      console.error(`a request for ${found.route.service} ends: the edge failed`, error);
      return failure("edge-away", request);
    }
  }

  /**
   * Whether this answer says the table's generation. Taking a header off costs the Worker a copy of the answer, so: all
   * answers after a change, until every isolate must have heard or asked; then as many as keep isolates from asking.
   */
  #announces(now: number): boolean {
    if (now >= this.#announceAllUntil && now - this.#announcedAt < ANNOUNCE_MS) return false;
    this.#announcedAt = now;
    return true;
  }

  /** The Worker's table and this one differ, or there is none: the Worker refreshes and decides. */
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
    // It may name other nodes for what waits for one.
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
    const refusal = refuseDial(dial.tokenId, this.#links.values());
    // The agent tries again, later each time.
    if (refusal !== undefined) return new Response(refusal, { status: 503 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [dial.tokenId]);
    const attachment: Attachment = { dial, since: Date.now() };
    server.serializeAttachment(attachment);
    this.#connect(server, attachment);
    return new Response(null, { status: 101, webSocket: client });
  }

  #restore(socket: WebSocket): void {
    const attachment = socket.deserializeAttachment() as Attachment | null;
    if (attachment === null) return;
    const link = this.#connect(socket, attachment);
    const node = link.session.peer?.node;
    if (node !== undefined) this.#shard.join(node, link);
    if (link.session.exhausted) this.onExhausted(link);
  }

  #connect(socket: WebSocket, { dial, since, session: restore }: Attachment): Link {
    const session = new Session({
      role: "edge",
      hello: {
        versions: [...PROTOCOL_VERSIONS],
        capabilities: [],
        software: "postern-edge",
        shard: dial.shard,
        shards: dial.shards,
      },
      budget: this.memory,
      ration: this.#ration,
      onEvicted: (event) => this.#links.get(socket)?.evicted(event),
      ...(restore === undefined ? {} : { restore }),
    });
    const link = new Link(this, session, socket, dial.tokenId, since);
    this.#links.set(socket, link);
    this.#dials.set(link, dial);
    if (link.stranger) {
      this.#strangers.add(link);
      this.#strangerTimer ??= setTimeout(() => this.#dropStrangers(), STRANGER_MS);
    }
    return link;
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    const link = this.#links.get(socket);
    if (link === undefined) return;
    if (typeof message === "string") return this.onFatal(link, CLOSE_VIOLATION, "unexpected text message");
    try {
      link.receive(message, Date.now());
    } catch (error) {
      console.error(`the connection of node ${link.session.peer?.node} ends: the edge failed`, error);
      this.#hangUp(link, CLOSE_RENEW, "the edge failed");
    }
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#disconnect(socket, Reset.BROKE, "the node's connection closed");
    try {
      socket.close(code === 1005 || code === 1006 ? 1000 : code);
    } catch {
      // Closed already.
    }
  }

  override webSocketError(socket: WebSocket): void {
    this.#disconnect(socket, Reset.BROKE, "the node's connection broke");
  }

  #disconnect(socket: WebSocket, code: Reset, reason: string): void {
    const link = this.#links.get(socket);
    if (link === undefined) return;
    this.#links.delete(socket);
    this.#dials.delete(link);
    this.#exhausted.delete(link);
    this.#known(link);
    // First out of the order, so that what moves on does not come back here.
    this.#shard.leave(link, Date.now());
    link.close(code, reason);
  }

  #hangUp(link: Link, code: number, reason: string): void {
    try {
      link.socket.close(code, reason.slice(0, 120));
    } catch {
      // Closed already.
    }
    this.#disconnect(link.socket, Reset.BROKE, reason);
  }

  // ---- what links report -----------------------------------------------------------------------------------------

  onHello(link: Link, hello: Hello): void {
    this.#known(link);
    this.onUnsaved(link);
    for (const replaced of this.#shard.join(hello.node ?? "", link))
      this.#hangUp(replaced, CLOSE_REPLACED, "a newer connection took over");
    this.#transport.wake();
  }

  onUnsaved(link: Link): void {
    const dial = this.#dials.get(link);
    if (dial === undefined) return;
    const attachment: Attachment = { dial, since: link.since, session: link.session.save() };
    link.socket.serializeAttachment(attachment);
  }

  onGoAway(link: Link): void {
    this.onUnsaved(link);
    this.#shard.changed();
  }

  onReport(): void {}

  onLiveness(): void {
    this.#shard.changed();
    this.#transport.wake();
  }

  /** Streams finish first; then the agent dials anew, and ids begin at 1 again. */
  onExhausted(link: Link): void {
    if (this.#exhausted.has(link)) return;
    this.#exhausted.set(link, Date.now());
    link.session.goAway("the stream ids of this connection are used up", false);
    link.flush();
    this.onGoAway(link);
    this.#sweepWithin(SWEEP_MS);
  }

  onFatal(link: Link, code: number, reason: string): void {
    link.flush();
    this.#hangUp(link, code, reason);
  }

  // ---- liveness --------------------------------------------------------------------------------------------------

  /** Runs only while a stream is open, so that an idle object can hibernate. `ms`: at the latest in so long. */
  #sweepWithin(ms: number): void {
    const due = Date.now() + ms;
    if (this.#sweepDue <= due) return;
    clearTimeout(this.#sweepTimer ?? null);
    this.#sweepDue = due;
    this.#sweepTimer = setTimeout(() => this.#sweep(), ms);
  }

  #sweep(): void {
    this.#sweepDue = Number.POSITIVE_INFINITY;
    const now = Date.now();
    this.#dropSilent(now);
    this.#renewExhausted(now);
    let open = this.#exhausted.size;
    let waiting = this.#exhausted.size;
    for (const link of this.#links.values()) {
      link.sweep(now);
      open += link.session.open;
      waiting += link.waiting;
    }
    if (open > 0) this.#sweepWithin(waiting > 0 ? SWEEP_MS : SLOW_SWEEP_MS);
  }

  /** Closes those that had their time to say HELLO. */
  #dropStrangers(): void {
    this.#strangerTimer = undefined;
    const now = Date.now();
    for (const link of this.#strangers) {
      const left = link.since + STRANGER_MS - now;
      if (left <= 0) this.#hangUp(link, CLOSE_VIOLATION, "no HELLO");
      else this.#strangerTimer ??= setTimeout(() => this.#dropStrangers(), left);
    }
  }

  /** It has said HELLO, or is gone. Without strangers no timer runs, so that an idle object can hibernate. */
  #known(link: Link): void {
    this.#strangers.delete(link);
    if (this.#strangers.size > 0) return;
    clearTimeout(this.#strangerTimer ?? null);
    this.#strangerTimer = undefined;
  }

  #renewExhausted(now: number): void {
    for (const [link, since] of this.#exhausted)
      if (link.session.open === 0 || now - since > RENEW_MS) this.#hangUp(link, CLOSE_RENEW, "dial again");
  }

  /** A node that lost its power closes nothing: it is skipped before a stream is opened, and its socket closed. */
  #dropSilent(now: number): void {
    this.#silentChecked = now;
    for (const link of this.#links.values()) {
      if (now - link.lastReceived > SILENT_SECONDS * 1000 && this.#silent(link, now))
        this.#hangUp(link, CLOSE_SILENT, "no sign of life");
    }
  }

  /** The platform answers the agent's ping by itself, and remembers when. */
  #silent(link: Link, now: number): boolean {
    const heard = this.ctx.getWebSocketAutoResponseTimestamp(link.socket)?.getTime() ?? link.since;
    return now - heard > SILENT_SECONDS * 1000;
  }

  // ---- RPC -------------------------------------------------------------------------------------------------------

  async closeToken(tokenId: string | "all", reason: string): Promise<{ closed: number }> {
    const links = [...this.#links.values()].filter((link) => tokenId === "all" || link.tokenId === tokenId);
    for (const link of links) {
      link.session.goAway(reason, true);
      link.flush();
      this.#hangUp(link, CLOSE_REVOKED, reason);
    }
    return { closed: links.length };
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
        })),
        available: verdict.available,
        reason: verdict.available ? "" : verdict.reason,
        endpoints: node.links[0]?.report.endpoints ?? [],
      };
    });
  }
}
