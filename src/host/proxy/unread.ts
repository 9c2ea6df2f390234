// What node:http says of bytes that are no request, or of a head that does not come, as an answer. Pure.
import type { FailureReason } from "../../edge/http/failure.ts";

/** Bytes. */
export const REQUEST_HEAD_MAX = 64 * 1024;

/** As node:http hands it to "clientError": `code` is the parser's, the clock's or the socket's, `reason` the parser's words. */
export interface ClientError extends Error {
  readonly code?: string | undefined;
  readonly reason?: string;
}

/** `silent`: not a byte has come. Undefined: there is nobody to answer. */
export function refusalFor(error: ClientError, silent: boolean): [FailureReason, string | undefined] | undefined {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return ["headers-too-large", `The request's head is larger than ${REQUEST_HEAD_MAX / 1024} KiB.`];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return silent ? undefined : ["request-timeout", undefined];
    case "HPE_INVALID_VERSION":
    case "HPE_PAUSED_H2_UPGRADE":
      return ["unsupported-version", undefined];
    case "HPE_INVALID_URL":
      return ["bad-request", "The request target has a character that no URL may have."];
    case "HPE_INVALID_EOF_STATE":
      return ["bad-request", "The connection was closed before the request was whole."];
    default:
      return error.code?.startsWith("HPE_") === true
        ? ["bad-request", `The request is not valid HTTP/1.1: ${error.reason ?? error.code}.`]
        : undefined;
  }
}
