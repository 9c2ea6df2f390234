// The Worker's entry: the admin host goes to the control API, every other host is a tenant's and goes to the proxy.
// Exports nothing but the handler and the Durable Objects: workerd refuses other values here.
import { control } from "./control/app.ts";
import type { Env } from "./env.ts";
import { proxy } from "./proxy.ts";

export { ClusterObject } from "./objects/cluster.ts";
export { GatewayObject } from "./objects/gateway.ts";
export { TunnelObject } from "./objects/tunnel.ts";

export default {
  fetch(request: Request, env: Env, ctx: ExecutionContext): Response | Promise<Response> {
    if (request.headers.get("host") === env.ADMIN_HOST) return control.fetch(request, env, ctx);
    return proxy(request, env, ctx);
  },
} satisfies ExportedHandler<Env>;
