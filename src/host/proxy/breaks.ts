// What follows when the edge's side of an exchange broke: the listener proxy's part of src/shared/http/repeat.ts. Pure.
import type { FailureReason } from "../../edge/http/failure.ts";

/** Bytes. Of an answer: more is an answer that is none. */
export const ANSWER_HEAD_MAX = 256 * 1024;

export interface Broken {
  /** The edge may have seen the request: undici had a connection, and began to write. */
  readonly begun: boolean;
  /** There is time left to try again. */
  readonly patient: boolean;
  /** Idempotent, without a body, not repeated yet, and nothing of an answer has been passed on. */
  readonly repeatable: boolean;
}

interface Failed {
  readonly reason: FailureReason;
  readonly detail?: string;
}

export type Verdict =
  /** Nobody saw it. */
  | { readonly next: "send" }
  /** Once, if it was the edge's process that was lost; else it failed. */
  | ({ readonly next: "repeat-if-ended" } & Failed)
  | ({ readonly next: "fail" } & Failed);

/** What a connection says whose other end closed, as one that dies does; all else is an answer that is none. */
const closings: ReadonlySet<unknown> = new Set([
  "UND_ERR_SOCKET",
  "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
  "ECONNRESET",
  "EPIPE",
  "HPE_INVALID_EOF_STATE",
]);

export function judgeBreak(error: Error, { begun, patient, repeatable }: Broken): Verdict {
  const code: unknown = "code" in error ? error.code : undefined;
  if (code === "UND_ERR_INVALID_ARG")
    return failed("bad-request", `The request cannot be passed on as it came: ${error.message}.`);
  if (!begun) {
    const closing = code === "UND_ERR_DESTROYED" || code === "UND_ERR_CLOSED";
    if (patient && !closing) return { next: "send" };
    return failed("edge-away", "The load balancer's own process cannot be reached. The request was not sent.");
  }
  if (code === "UND_ERR_HEADERS_OVERFLOW")
    return failed("bad-gateway-answer", `The answer's head is larger than ${ANSWER_HEAD_MAX / 1024} KiB.`);
  if (!closings.has(code)) return failed("bad-gateway-answer");
  return { next: repeatable ? "repeat-if-ended" : "fail", reason: "edge-away" };
}

const failed = (reason: FailureReason, detail?: string): Verdict => ({
  next: "fail",
  reason,
  ...(detail === undefined ? {} : { detail }),
});
