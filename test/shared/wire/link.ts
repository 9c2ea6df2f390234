// Two sessions joined by a simulated wire: messages arrive in order, but when they are taken, how large, and when they are
// delivered is up to the `random` that is passed in. No timers. On the way an independent account (by the naive codec of
// oracle.ts) sees that nobody sends data without the credit for it.
import { Type } from "../../../src/shared/wire/frames.ts";
import { CONNECTION_WINDOW, MESSAGE_MAX, PROTOCOL_VERSIONS, STREAM_WINDOW } from "../../../src/shared/wire/limits.ts";
import { CAN_PROBE, type Hello } from "../../../src/shared/wire/messages.ts";
import { Session, type SessionEvent } from "../../../src/shared/wire/session.ts";
import { decodeFrames, type PlainFrame } from "./oracle.ts";

export type Side = "edge" | "node";
export const other = (side: Side): Side => (side === "edge" ? "node" : "edge");

export const edgeHello: Hello = {
  versions: [...PROTOCOL_VERSIONS],
  capabilities: [],
  software: "edge",
  shard: 0,
  shards: 1,
};
export const nodeHello: Hello = {
  versions: [...PROTOCOL_VERSIONS],
  capabilities: [CAN_PROBE],
  software: "node",
  node: "n1",
  instance: "i1",
  started: 1,
};

/** Numbers of [0, 1) that only depend on the seed. */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const TAKE_SIZES = [1, 700, 16 * 1024, 64 * 1024, 256 * 1024];

export class SimulatedLink {
  readonly sessions: Record<Side, Session>;
  readonly #random: () => number;
  readonly #onEvents: (side: Side, events: readonly SessionEvent[]) => void;
  /** Taken by the other side and not yet delivered to this one. */
  readonly #towards: Record<Side, Uint8Array[]> = { edge: [], node: [] };
  readonly #credit: Record<Side, SenderAccount> = { edge: new SenderAccount(), node: new SenderAccount() };
  /** The RESUME whose echo the edge awaits, "new" before it is sent; what comes meanwhile is of the time before. */
  #awaited: number | "new" | undefined;
  /** Every frame that was taken, by side; for tests that count. */
  readonly taken: Record<Side, PlainFrame[]> = { edge: [], node: [] };
  readonly messagesTaken: Record<Side, number> = { edge: 0, node: 0 };

  constructor(
    sessions: Record<Side, Session>,
    random: () => number,
    onEvents: (side: Side, events: readonly SessionEvent[]) => void,
  ) {
    this.sessions = sessions;
    this.#random = random;
    this.#onEvents = onEvents;
  }

  /** One message from `from`'s session on to the wire. */
  take(from: Side, maxBytes: number): boolean {
    const message = this.sessions[from].take(maxBytes);
    if (message === undefined) return false;
    if (message.length === 0 || message.length > MESSAGE_MAX) throw new Error(`took ${message.length} bytes`);
    this.messagesTaken[from]++;
    for (const frame of decodeFrames(message)) {
      this.taken[from].push(frame);
      if (from === "edge" && frame.flags === Type.RESUME) this.#awaited = u32(frame);
      if (costs(frame)) this.#credit[from].spend(frame);
    }
    this.#towards[other(from)].push(message);
    return true;
  }

  /** The oldest message on the wire to `to`. */
  deliver(to: Side): boolean {
    const message = this.#towards[to].shift();
    if (message === undefined) return false;
    for (const frame of decodeFrames(message)) {
      if (frame.flags === Type.RESUME) {
        if (to === "node") this.#credit.node = new SenderAccount();
        else if (u32(frame) === this.#awaited) this.#awaited = undefined;
      } else if (frame.flags === Type.CREDIT && (to === "node" || this.#awaited === undefined))
        this.#credit[to].earn(frame);
    }
    this.#onEvents(to, this.sessions[to].receive(message));
    return true;
  }

  /** The edge lost its memory and its socket lives on. What it had taken still arrives. */
  replaceEdge(session: Session): void {
    this.sessions.edge = session;
    this.#credit.edge = new SenderAccount();
    this.#awaited = "new";
  }

  /** One of the things that may happen next; false where nothing can. */
  step(): boolean {
    const side: Side = this.#random() < 0.5 ? "edge" : "node";
    const size = TAKE_SIZES[Math.floor(this.#random() * TAKE_SIZES.length)] as number;
    if (this.#random() < 0.5) {
      return this.take(side, size) || this.take(other(side), size) || this.deliver(side) || this.deliver(other(side));
    }
    return this.deliver(side) || this.deliver(other(side)) || this.take(side, size) || this.take(other(side), size);
  }

  /** Until nothing can happen without a command. */
  settle(): void {
    for (let steps = 0; this.step(); steps++) if (steps > 100_000) throw new Error("the link never settles");
  }
}

const costs = ({ flags }: PlainFrame): boolean => {
  const type = flags & 0x3f;
  return type === Type.DATA || type === Type.TEXT || type === Type.BINARY;
};

const u32 = ({ payload }: PlainFrame): number => new DataView(payload.buffer, payload.byteOffset).getUint32(0, false);

/** What one side may still send, as README.md has it. */
class SenderAccount {
  #connection = CONNECTION_WINDOW;
  readonly #streams = new Map<number, number>();

  spend({ stream, flags, payload }: PlainFrame): void {
    const cost = payload.length + ((flags & 0x3f) === Type.DATA ? 0 : 64);
    this.#connection -= cost;
    const left = this.#of(stream) - cost;
    this.#streams.set(stream, left);
    if (left < 0) throw new Error(`stream ${stream} sent ${-left} bytes more than its credit`);
    if (this.#connection < 0) throw new Error(`sent ${-this.#connection} bytes more than the connection's credit`);
  }

  earn(frame: PlainFrame): void {
    if (frame.stream === 0) this.#connection += u32(frame);
    else this.#streams.set(frame.stream, this.#of(frame.stream) + u32(frame));
  }

  #of(stream: number): number {
    return this.#streams.get(stream) ?? STREAM_WINDOW;
  }
}
