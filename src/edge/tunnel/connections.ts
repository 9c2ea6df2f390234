// The agents' connections of one shard: their sockets and sessions, and the rules by which a connection ends: no HELLO in time, no
// sign of life, no stream ids left, a newer connection of the same process, a withdrawn token.
// The sockets survive an eviction, with the token's id and the session's state in their attachments. Streams and counts are lost.
import { Link, type LinkOwner } from "./link.ts";
import {
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
import type { Effects } from "../forward/transport.ts";
import { refuseDial } from "./admission.ts";
import type { Shard } from "./shard.ts";

/** What the Worker says of a dial that it has authorised. */
export interface Dial {
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

/** How often links are swept, ms: while a request waits for its answer, and while streams are open but none waits. */
const SWEEP_MS = 250;
const SLOW_SWEEP_MS = 5_000;
/** Before a request, silent sockets are looked for at most once in this time, ms, because each of them is looked at. */
const SILENT_CHECK_MS = 1_000;
/** How long streams may go on, ms, on a connection whose stream ids are used up. */
const RENEW_MS = 30_000;

export interface ConnectionsOptions {
  readonly shard: Shard;
  /** Bytes held for streams, over all connections. */
  readonly memory: Budget;
  readonly effects: Effects;
  /** When the platform last answered the agent's ping on this socket, in epoch ms; undefined: it never has. */
  readonly pingedAt: (socket: WebSocket) => number | undefined;
  /** A node may have come, or is well again. */
  readonly onAvailable: () => void;
}

export class Connections implements LinkOwner {
  readonly effects: Effects;
  readonly #shard: Shard;
  readonly #memory: Budget;
  readonly #pingedAt: (socket: WebSocket) => number | undefined;
  readonly #onAvailable: () => void;
  readonly #links = new Map<WebSocket, Link>();
  readonly #sockets = new Map<Link, { readonly socket: WebSocket; readonly dial: Dial }>();
  /** Links whose agents have not said HELLO yet, the oldest first. */
  readonly #strangers = new Set<Link>();
  #stopStrangers: (() => void) | undefined;
  /** Connections whose stream ids are used up, and since when, in epoch ms. */
  readonly #exhausted = new Map<Link, number>();
  /** Work that all connections may cause together: twice what one may, however many there are. */
  readonly #ration = new Ration(undefined, 2);
  #silentChecked = 0;
  #stopSweep: (() => void) | undefined;
  #sweepDue = Number.POSITIVE_INFINITY;

  constructor({ shard, memory, effects, pingedAt, onAvailable }: ConnectionsOptions) {
    this.#shard = shard;
    this.#memory = memory;
    this.effects = effects;
    this.#pingedAt = pingedAt;
    this.#onAvailable = onAvailable;
  }

  // ---- sockets ---------------------------------------------------------------------------------------------------

  /** Why a dial with this token is refused for now, in words for the agent's log; undefined: it is accepted. */
  refusal(tokenId: string): string | undefined {
    return refuseDial(tokenId, this.#links.values());
  }

  accepted(socket: WebSocket, dial: Dial): void {
    const attachment: Attachment = { dial, since: this.effects.now() };
    socket.serializeAttachment(attachment);
    this.#connect(socket, attachment);
  }

  /** Takes up a socket that has survived an eviction. */
  restore(socket: WebSocket): void {
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
      budget: this.#memory,
      ration: this.#ration,
      onEvicted: (event) => this.#links.get(socket)?.evicted(event),
      ...(restore === undefined ? {} : { restore }),
    });
    const link = new Link(this, session, socket, dial.tokenId, since);
    this.#links.set(socket, link);
    this.#sockets.set(link, { socket, dial });
    if (link.stranger) {
      this.#strangers.add(link);
      this.#stopStrangers ??= this.effects.later(STRANGER_MS, () => this.#dropStrangers());
    }
    return link;
  }

  receive(socket: WebSocket, message: string | ArrayBuffer): void {
    const link = this.#links.get(socket);
    if (link === undefined) return;
    if (typeof message === "string") return this.onFatal(link, CLOSE_VIOLATION, "unexpected text message");
    try {
      link.receive(message, this.effects.now());
    } catch (error) {
      console.error(`the connection of node ${link.session.peer?.node} ends: the edge failed`, error);
      this.#hangUp(link, CLOSE_RENEW, "the edge failed");
    }
  }

  /** The socket is gone. */
  closed(socket: WebSocket, reason: string): void {
    const link = this.#links.get(socket);
    if (link === undefined) return;
    this.#links.delete(socket);
    this.#sockets.delete(link);
    this.#exhausted.delete(link);
    this.#known(link);
    // The link leaves the order first, so that requests that move on do not come back to it.
    this.#shard.leave(link, this.effects.now());
    link.close(Reset.BROKE, reason);
  }

  #hangUp(link: Link, code: number, reason: string): void {
    const socket = this.#sockets.get(link)?.socket;
    if (socket === undefined) return;
    try {
      socket.close(code, reason.slice(0, 120));
    } catch {
      // Closed already.
    }
    this.closed(socket, reason);
  }

  /** The token is withdrawn. Returns how many connections it had. */
  revoke(tokenId: string | "all", reason: string): number {
    const links = [...this.#links.values()].filter((link) => tokenId === "all" || link.tokenId === tokenId);
    for (const link of links) {
      link.session.goAway(reason, true);
      link.flush();
      this.#hangUp(link, CLOSE_REVOKED, reason);
    }
    return links.length;
  }

  // ---- what links report -----------------------------------------------------------------------------------------

  onHello(link: Link, hello: Hello): void {
    this.#known(link);
    this.onUnsaved(link);
    for (const replaced of this.#shard.join(hello.node ?? "", link))
      this.#hangUp(replaced, CLOSE_REPLACED, "a newer connection took over");
    this.#onAvailable();
  }

  onUnsaved(link: Link): void {
    const of = this.#sockets.get(link);
    if (of === undefined) return;
    const attachment: Attachment = { dial: of.dial, since: link.since, session: link.session.save() };
    of.socket.serializeAttachment(attachment);
  }

  onGoAway(link: Link): void {
    this.onUnsaved(link);
    this.#shard.changed();
  }

  onLiveness(): void {
    this.#shard.changed();
    this.#onAvailable();
  }

  /** Open streams finish first. Then the agent dials anew, and ids begin at 1 again. */
  onExhausted(link: Link): void {
    if (this.#exhausted.has(link)) return;
    this.#exhausted.set(link, this.effects.now());
    link.session.goAway("the stream ids of this connection are used up", false);
    link.flush();
    this.onGoAway(link);
    this.#sweepWithin(SWEEP_MS);
  }

  onFatal(link: Link, code: number, reason: string): void {
    link.flush();
    this.#hangUp(link, code, reason);
  }

  /** When anything was heard of it, a ping that the platform answered included; epoch ms. */
  heardAt(link: Link): number {
    const socket = this.#sockets.get(link)?.socket;
    return Math.max(link.lastReceived, (socket && this.#pingedAt(socket)) ?? 0);
  }

  // ---- liveness --------------------------------------------------------------------------------------------------

  /** A request begins to wait for a node's answer. */
  onWaiting(): void {
    this.#sweepWithin(SWEEP_MS);
  }

  /** Called before each request: closes silent sockets, at most once in SILENT_CHECK_MS. */
  lookForSilent(): void {
    const now = this.effects.now();
    if (now - this.#silentChecked >= SILENT_CHECK_MS) this.#dropSilent(now);
  }

  /** Plans a sweep in `ms` at the latest. None is planned while no stream is open, so that an idle object can hibernate. */
  #sweepWithin(ms: number): void {
    const due = this.effects.now() + ms;
    if (this.#sweepDue <= due) return;
    this.#stopSweep?.();
    this.#sweepDue = due;
    this.#stopSweep = this.effects.later(ms, () => this.#sweep());
  }

  #sweep(): void {
    this.#sweepDue = Number.POSITIVE_INFINITY;
    const now = this.effects.now();
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

  /** Closes the sockets whose agents have not said HELLO within STRANGER_MS. */
  #dropStrangers(): void {
    this.#stopStrangers = undefined;
    const now = this.effects.now();
    for (const link of this.#strangers) {
      const left = link.since + STRANGER_MS - now;
      if (left <= 0) this.#hangUp(link, CLOSE_VIOLATION, "no HELLO");
      else this.#stopStrangers ??= this.effects.later(left, () => this.#dropStrangers());
    }
  }

  /** `link` has said HELLO, or is gone. Without strangers no timer runs, so that an idle object can hibernate. */
  #known(link: Link): void {
    this.#strangers.delete(link);
    if (this.#strangers.size > 0) return;
    this.#stopStrangers?.();
    this.#stopStrangers = undefined;
  }

  #renewExhausted(now: number): void {
    for (const [link, since] of this.#exhausted)
      if (link.session.open === 0 || now - since > RENEW_MS) this.#hangUp(link, CLOSE_RENEW, "dial again");
  }

  /** A node that lost its power closes nothing, so its socket is closed here, before a request is sent to it. */
  #dropSilent(now: number): void {
    this.#silentChecked = now;
    for (const [socket, link] of this.#links) {
      if (now - link.lastReceived <= SILENT_SECONDS * 1000) continue;
      // The platform answers the agent's ping by itself.
      if (now - (this.#pingedAt(socket) ?? link.since) <= SILENT_SECONDS * 1000) continue;
      this.#hangUp(link, CLOSE_SILENT, "no sign of life");
    }
  }
}
