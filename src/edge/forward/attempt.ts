// What one try at one node came to. The retry decision (src/edge/forward/retry.ts) and the answers (src/edge/http/failure.ts) start here.
import { Reset } from "../../shared/wire/messages.ts";

export type Attempt = Answered | Failed;

/** The backend answered. Whoever does not hand the answer on to the client discards it: its stream waits for a reader. */
export interface Answered {
  readonly ok: true;
  readonly status: number;
  readonly headers: readonly string[];
  /** null: none. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  readonly webSocket?: WebSocket;
  readonly exchange: { discard(reason: string): void };
}

export interface Failed {
  readonly ok: false;
  /** "never": no backend saw any of it, so it may go elsewhere whatever its method. */
  readonly sent: "never" | "maybe";
  /** The node lives and says what became of it: src/shared/http/repeat.ts leaves nothing to repeat here. Absent: the node was lost. */
  readonly final?: boolean;
  readonly reason:
    | "no-endpoints"
    | "no-available-node"
    | "endpoint-broke"
    | "bad-gateway-answer"
    | "bad-request"
    | "overloaded"
    | "timeout"
    | "refused"
    | "client-gone";
  /** For the log and the owner, never for strangers. */
  readonly detail: string;
}

/** The client left, or broke off its own request. */
export const clientGone = (detail: string): Failed => ({
  ok: false,
  sent: "maybe",
  final: true,
  reason: "client-gone",
  detail,
});

/** The node said something that is no answer: nobody's failure, and not repeated. */
export const badAnswer = (detail: string): Failed => ({
  ok: false,
  sent: "maybe",
  final: true,
  reason: "bad-gateway-answer",
  detail,
});

/** What a stream's RESET means for the request that it carried. `lost`: not the node said it, its connection is over. */
export function failedBy(code: Reset, detail: string, lost: boolean): Failed {
  switch (code) {
    case Reset.NOT_SENT:
    case Reset.NO_ENDPOINT:
      return { ok: false, sent: "never", reason: "no-endpoints", detail };
    case Reset.REFUSED:
      return { ok: false, sent: "never", reason: "refused", detail };
    case Reset.OVERLOADED:
      return { ok: false, sent: "never", reason: "overloaded", detail };
    case Reset.UNSENDABLE:
      return { ok: false, sent: "never", final: true, reason: "bad-request", detail };
    case Reset.STALLED:
      return { ok: false, sent: "maybe", final: true, reason: "overloaded", detail };
    case Reset.TIMEOUT:
      return { ok: false, sent: "maybe", final: true, reason: "timeout", detail };
    case Reset.TOO_BIG:
      return badAnswer(detail);
    default:
      return { ok: false, sent: "maybe", final: !lost, reason: "endpoint-broke", detail };
  }
}
