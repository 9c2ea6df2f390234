// Errors of the control API: RFC 9457 problem+json with a machine-readable reason, the request's id, the field and the remedy.
// Must never carry a token, or anything else of the request's headers.
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Refusal } from "../rpc/contract.ts";
import type { ControlEnv } from "./context.ts";

export interface Problem {
  readonly status: ContentfulStatusCode;
  /** kebab-case, stable. */
  readonly reason: string;
  readonly detail: string;
  /** Where in the request: "body.members[0].weight", "header.postern-generation". */
  readonly field?: string;
  /** What to do about it, where `detail` does not say. */
  readonly remedy?: string;
}

const titles: Readonly<Record<number, string>> = {
  400: "Bad request",
  401: "Not authenticated",
  403: "Not allowed",
  404: "Not found",
  409: "Conflict",
  413: "Too large",
  415: "Unsupported media type",
  426: "Upgrade required",
  429: "Too many requests",
  500: "Internal error",
  503: "Unavailable",
};

export function problem(c: Context<ControlEnv>, { status, reason, detail, field, remedy }: Problem): Response {
  const title = titles[status] ?? "Error";
  const requestId = c.get("requestId");
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="postern"';
  if (status === 429 || status === 503) headers["retry-after"] = "2";
  const type = `tag:postern.dev,2026:${reason}`;
  return c.body(JSON.stringify({ type, title, status, detail, reason, field, remedy, requestId }), status, headers);
}

export const refused = (c: Context<ControlEnv>, { status, reason, message }: Refusal): Response =>
  problem(c, { status, reason, detail: message });
