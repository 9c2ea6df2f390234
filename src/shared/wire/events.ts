// What a session tells its owner, and what its owner gives it. Types only.
import type { Budget } from "./accounts.ts";
import type { GoAway, Hello, ProbeQuestion, Report, RequestHead, Reset, ResponseHead } from "./messages.ts";
import type { Ration } from "./ration.ts";

/**
 * The bytes of `body` and `bytes` belong to whoever gets the event. They are views into the message that came, or copies where that
 * is more than four times as large. The stream counts them as held until consumed() is called for them. So it does each `message`,
 * by its `size`: the credit that it cost, which is a little more than its bytes.
 */
export type SessionEvent =
  | { readonly type: "hello"; readonly hello: Hello }
  | { readonly type: "goaway"; readonly goAway: GoAway }
  | { readonly type: "report"; readonly report: Report }
  /** Answers our PING: whatever the peer sent before it has arrived. */
  | { readonly type: "pong" }
  /** The peer lost its memory. All streams here have been reset, by events before this one. */
  | { readonly type: "resumed" }
  | { readonly type: "open"; readonly id: number; readonly head: RequestHead; body?: Uint8Array; end: boolean }
  /** A stream that asks the node about itself: respond() with 200, and write() of PROBE_MAX bytes of JSON at most. */
  | { readonly type: "probe"; readonly id: number; readonly question: ProbeQuestion }
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

/** What must outlive the object's memory. It fits a socket's attachment. */
export interface SessionState {
  readonly peer: Hello;
  readonly nextId: number;
  readonly goneAway: boolean;
}

export interface SessionOptions {
  readonly role: "edge" | "node";
  readonly hello: Hello;
  readonly budget?: Budget;
  /** The work that all peers of this object may cause together. */
  readonly ration?: Ration;
  /**
   * Called with a `reset` event (stalled) when this session has given up a stream because another one needed the memory. The owner
   * handles the event, and then calls take(). Without this hook only the session that needs memory gives up streams.
   */
  readonly onEvicted?: (event: SessionEvent) => void;
  /** Edge only: what save() gave before a hibernation. */
  readonly restore?: SessionState;
}
