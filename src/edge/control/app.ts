// The admin host's entry: hands the request to the API, which is loaded by the first one. Tenants' requests never pay for its
// router, schemas and OpenAPI document.
import type { Env } from "../env.ts";

export const control = {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const { api } = await import("./api.ts");
    return await api().fetch(request, env, ctx);
  },
};
