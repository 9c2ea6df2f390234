// Pieces of route descriptions that many routes share.
import type { RouteConfig, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { problemSchema } from "../../shared/control/problem.ts";
import type { ControlEnv } from "./context.ts";
import { problem } from "./problem.ts";

/** Bytes of a JSON body that is not a snapshot. */
const BODY_MAX = 32 * 1024;

const limited: MiddlewareHandler<ControlEnv> = bodyLimit({
  maxSize: BODY_MAX,
  onError: (c) =>
    problem(c, { status: 413, reason: "body-too-large", detail: `at most ${BODY_MAX} bytes`, field: "body" }),
});

export const jsonBody = {
  middleware: [limited] as const,
  of: <T extends z.ZodType>(schema: T) => ({ required: true, content: { "application/json": { schema } } }),
};

export const jsonContent = <T extends z.ZodType>(schema: T, description = "OK") => ({
  description,
  content: { "application/json": { schema } },
});

/** `answers`, and problems: 400, 401, 403, 429 and 503 everywhere, and those of `statuses`. */
export function responses(answers: RouteConfig["responses"], ...statuses: readonly number[]): RouteConfig["responses"] {
  const answer = {
    description: "Problem",
    content: { "application/problem+json": { schema: problemSchema } },
  };
  return {
    ...answers,
    ...Object.fromEntries([400, 401, 403, 429, 503, ...statuses].map((status) => [status, answer])),
  };
}
