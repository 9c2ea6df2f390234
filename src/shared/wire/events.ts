// What a session tells its owner, and what its owner gives it. Types only.
import type { Budget } from "./accounts.ts";
import type { GoAway, Hello, Report, RequestHead, Reset, ResponseHead } from "./messages.ts";
import type { Ration } from "./ration.ts";

/**
 * Bytes of `body` and `bytes` belong to the receiver (views into the message, unless it is far larger); each of them is held
 * against the stream until consumed() says otherwise. So is each `message`, with its `size`: what it cost, a little more than its bytes.
 */
export type SessionEvent =
  | { readonly type: "hello"; readonly hello: Hello }
  | { readonly type: "goaway"; readonly goAway: GoAway }
  | { readonly type: "report"; readonly report: Report }
  /** Answers our PING: whatever the peer sent before it has arrived. */
  | { readonly type: "pong" }
  /** The peer lost its memory: all streams here have been reset (events before this one). */
  | { readonly type: "resumed" }
  | { readonly type: "open"; readonly id: number; readonly head: RequestHead; body?: Uint8Array; end: boolean }
  | { readonly type: "head"; readonly id: number; readonly head: ResponseHead; body?: Uint8Array; end: boolean }
  | { readonly type: "data"; readonly id: number; readonly bytes: Uint8Array; readonly end: boolean }
  | { readonly type: "message"; readonly id: number; readonly data: string | Uint8Array; readonly size: number }
  | { readonly type: "close"; readonly id: number; readonly code: number; readonly reason: string }
  /** `lost`: the whole connection is over, so nobody can say any more what became of the stream. */
  | {
      readonly type: "reset";
      readonly id: number;
      readonly code: Reset;
      readonly reason: string;
      readonly lost?: true;
    }
  /** Nothing more will come. Flush take(), then close the socket with `code`. */
  | { readonly type: "fatal"; readonly code: number; readonly reason: string };

/** What must outlive memory; fits a socket's attachment. */
export interface SessionState {
  readonly peer: Hello;
  readonly nextId: number;
  readonly goneAway: boolean;
}

export interface SessionOptions {
  readonly role: "edge" | "node";
  readonly hello: Hello;
  readonly budget?: Budget;
  /** Work that this object's peers may cause, all together. */
  readonly ration?: Ration;
  /**
   * A stream here went (a `reset` event, stalled) because another session needed the memory: handle the event, then take().
   * Without this hook only the session that needs memory gives up streams.
   */
  readonly onEvicted?: (event: SessionEvent) => void;
  /** Edge only: goes on after a hibernation. */
  readonly restore?: SessionState;
}
