// Two sessions after their HELLOs, whose messages a test takes and gives by hand, with a record of every event and frame.
import type { RequestHead } from "../../../src/shared/wire/messages.ts";
import { type Budget, Session, type SessionEvent } from "../../../src/shared/wire/session.ts";
import { edgeHello, nodeHello, other, type Side } from "./link.ts";
import { decodeFrames } from "./oracle.ts";

export const KIB = 1024;
export const MIB = 1024 * 1024;
export const head: RequestHead = {
  websocket: false,
  service: "default/web",
  port: 80,
  client: "192.0.2.1",
  method: "GET",
  target: "/",
  headers: ["host", "web"],
  sightings: 2,
};
export const ok = { status: 200, headers: ["content-type", "text/plain"] };
export const upgraded = { status: 101, headers: [] };

export type Of<T extends SessionEvent["type"]> = Extract<SessionEvent, { type: T }>;

/** Two sessions after their HELLOs, and every event that each side has had. */
export class Pair {
  readonly sessions: Record<Side, Session>;
  readonly events: Record<Side, SessionEvent[]> = { edge: [], node: [] };
  readonly frames: Record<Side, { stream: number; type: number; size: number }[]> = { edge: [], node: [] };
  readonly messages: Record<Side, number> = { edge: 0, node: 0 };

  constructor(budgets: Partial<Record<Side, Budget>> = {}, onEvicted?: (side: Side, event: SessionEvent) => void) {
    const options = (side: Side) => ({
      ...(budgets[side] === undefined ? {} : { budget: budgets[side] }),
      ...(onEvicted === undefined ? {} : { onEvicted: (event: SessionEvent) => onEvicted(side, event) }),
    });
    this.sessions = {
      edge: new Session({ role: "edge", hello: edgeHello, ...options("edge") }),
      node: new Session({ role: "node", hello: nodeHello, ...options("node") }),
    };
    this.flow();
    this.forget();
  }

  get edge(): Session {
    return this.sessions.edge;
  }
  get node(): Session {
    return this.sessions.node;
  }

  forget(): void {
    for (const side of ["edge", "node"] as const) {
      this.events[side].length = 0;
      this.frames[side].length = 0;
      this.messages[side] = 0;
    }
  }

  /** One message of `from`, not delivered. */
  take(from: Side, maxBytes = 64 * KIB): Uint8Array | undefined {
    const message = this.sessions[from].take(maxBytes);
    if (message === undefined) return undefined;
    this.messages[from]++;
    for (const { stream, flags, payload } of decodeFrames(message))
      this.frames[from].push({ stream, type: flags & 0x3f, size: payload.length });
    return message;
  }

  give(to: Side, message: Uint8Array): SessionEvent[] {
    const events = this.sessions[to].receive(message);
    this.events[to].push(...events);
    return events;
  }

  /** All that can move, moves. `read`: which side's consumers take everything at once. */
  flow(read: readonly Side[] = ["edge", "node"]): void {
    let rounds = 0;
    for (let moved = true; moved; rounds++) {
      if (rounds > 100_000) throw new Error("it flows for ever");
      moved = false;
      for (const from of ["edge", "node"] as const) {
        const message = this.take(from);
        if (message === undefined) continue;
        moved = true;
        const to = other(from);
        for (const event of this.give(to, message))
          if (read.includes(to)) this.sessions[to].consumed(idOf(event), sizeOf(event));
      }
    }
  }

  of<T extends SessionEvent["type"]>(side: Side, type: T): Of<T>[] {
    return this.events[side].filter((event): event is Of<T> => event.type === type);
  }

  /** A stream that the node has answered with 200, or 101. */
  answered(websocket = false): number {
    const id = this.edge.openStream({ ...head, websocket }, undefined, false);
    this.flow();
    this.node.respond(id, websocket ? upgraded : ok, undefined, false);
    this.flow();
    return id;
  }

  /** Bytes of body and messages that a side has received, by stream. */
  bytes(side: Side, id: number): number {
    return this.events[side].reduce((sum, event) => sum + (idOf(event) === id ? sizeOf(event) : 0), 0);
  }
}

export const idOf = (event: SessionEvent): number => ("id" in event ? event.id : 0);
export function sizeOf(event: SessionEvent): number {
  if (event.type === "data") return event.bytes.length;
  if (event.type === "message") return event.size;
  return event.type === "open" || event.type === "head" ? (event.body?.length ?? 0) : 0;
}
