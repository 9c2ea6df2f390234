// Errors of the control API: RFC 9457 problem+json with a machine-readable reason, the request's id, the field and the remedy.
// Must never carry a token, or anything else of the request's headers.
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Problem } from "../../shared/control/problem.ts";
import type { Refusal } from "../rpc/contract.ts";
import type { ControlEnv } from "./context.ts";

/** What a handler says of it; the rest is the same for all, or the request's. */
export type Finding = Readonly<Pick<Problem, "reason" | "detail" | "field" | "remedy">> & {
  readonly status: ContentfulStatusCode;
};

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

export function problem(c: Context<ControlEnv>, { status, reason, detail, field, remedy }: Finding): Response {
  const title = titles[status] ?? "Error";
  const requestId = c.get("requestId");
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="postern"';
  if (status === 429 || status === 503) headers["retry-after"] = "2";
  const type = `tag:postern.dev,2026:${reason}`;
  const whole: Problem = { type, title, status, detail, reason, field, remedy, requestId };
  return c.body(JSON.stringify(whole), status, headers);
}

export const refused = (c: Context<ControlEnv>, { status, reason, message }: Refusal): Response =>
  problem(c, { status, reason, detail: message });
