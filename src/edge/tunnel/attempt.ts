// What one try at one node by tunnel came to: a stream's answer, or what its RESET means.
import { type AnsweredBy, Reset } from "../../shared/wire/messages.ts";
import type { Answer, Failed } from "../forward/transport.ts";

export type Attempt = Answered | Failed;

export interface Answered extends Answer {
  readonly status: number;
  readonly headers: readonly string[];
  /** null: the answer has no body. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  readonly webSocket?: WebSocket;
  /** Which endpoint answered, where the request is traced and the node says it. */
  readonly by: AnsweredBy | undefined;
  readonly exchange: { discard(reason: string): void };
}

/** The client left, or broke off its own request. */
export const clientGone = (detail: string): Failed => ({
  ok: false,
  sent: "maybe",
  final: true,
  reason: "client-gone",
  detail,
});

/** The node sent something that is no answer. The node is not blamed for it, and the request is not repeated. */
export const badAnswer = (detail: string): Failed => ({
  ok: false,
  sent: "maybe",
  final: true,
  reason: "bad-gateway-answer",
  detail,
});

/** Nothing was sent: the head is longer than any frame. */
export const headTooLarge: Failed = {
  ok: false,
  sent: "never",
  final: true,
  reason: "headers-too-large",
  detail: "the head is longer than any frame",
};

/** What a stream's RESET means for the request that it carried. `lost`: the connection is over; the node has not said it. */
export function failedBy(code: Reset, detail: string, lost: boolean): Failed {
  switch (code) {
    case Reset.NOT_SENT:
    case Reset.NO_ENDPOINT:
      return { ok: false, sent: "never", lost, reason: "no-endpoints", detail };
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
      return { ok: false, sent: "maybe", final: !lost, lost, reason: "endpoint-broke", detail };
  }
}
