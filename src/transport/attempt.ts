// What one try at one node came to. The retry decision (src/http/retry.ts) and the answers (src/http/failure.ts) start here.
import { Reset } from "../wire/messages.ts";

export type Attempt =
  /** The backend answered. `body` null: none. */
  | {
      readonly ok: true;
      readonly status: number;
      readonly headers: readonly string[];
      readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
      readonly webSocket?: WebSocket;
    }
  | Failed;

export interface Failed {
  readonly ok: false;
  /** "never": no backend saw any of it, so it may go elsewhere whatever its method. */
  readonly sent: "never" | "maybe";
  readonly reason:
    | "no-endpoints"
    | "no-available-node"
    | "endpoint-broke"
    | "overloaded"
    | "timeout"
    | "refused"
    | "client-gone";
  /** For the log and the owner, never for strangers. */
  readonly detail: string;
}

/** What a stream's RESET means for the request that it carried. */
export function failedBy(code: Reset, detail: string): Failed {
  switch (code) {
    case Reset.NOT_SENT:
    case Reset.NO_ENDPOINT:
      return { ok: false, sent: "never", reason: "no-endpoints", detail };
    case Reset.REFUSED:
      return { ok: false, sent: "never", reason: "refused", detail };
    case Reset.OVERLOADED:
    case Reset.STALLED:
      return { ok: false, sent: code === Reset.OVERLOADED ? "never" : "maybe", reason: "overloaded", detail };
    case Reset.TIMEOUT:
      return { ok: false, sent: "maybe", reason: "timeout", detail };
    case Reset.CANCELLED:
      return { ok: false, sent: "maybe", reason: "client-gone", detail };
    default:
      return { ok: false, sent: "maybe", reason: "endpoint-broke", detail };
  }
}
