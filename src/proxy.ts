import type { Env } from "./env.ts";

export function proxy(_request: Request, _env: Env, _ctx: ExecutionContext): Response {
  return new Response("not yet", { status: 501 });
}
