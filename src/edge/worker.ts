// The Worker's entry: the admin host goes to the control API, every other host is a tenant's and goes to the proxy. Where a
// listener proxy stands in front, the port that it names decides instead of the host, and nothing else may ask.
// Exports nothing but the handler and the Durable Objects: workerd refuses other values here.
import { control } from "./control/app.ts";
import type { Env } from "./env.ts";
import { failure } from "./http/failure.ts";
import { forwarded } from "./http/forwarded.ts";
import { proxy } from "./request/proxy.ts";
import { doorOf } from "./routing/match.ts";

export { ClusterObject } from "./cluster/cluster-object.ts";
export { GatewayObject } from "./directory/gateway-object.ts";
export { TunnelObject } from "./tunnel/tunnel-object.ts";

export default {
  fetch(request: Request, env: Env, ctx: ExecutionContext): Response | Promise<Response> {
    const from = forwarded(request, env.FORWARDER_SECRET);
    // Whatever id it brings is a stranger's.
    if (from === undefined) return failure("not-a-listener", request, { requestId: crypto.randomUUID() });
    const door = doorOf(request.headers.get("host") ?? "", from, env.ADMIN_HOST);
    return door === "admin"
      ? control.fetch(asItCame(request, from.scheme), env, ctx)
      : proxy(request, from, door, env, ctx);
  },
} satisfies ExportedHandler<Env>;

/** The admin host tells https from http, and behind a TLS proxy the URL does not say so. */
function asItCame(request: Request, scheme: "http" | "https"): Request {
  return scheme === "https" && request.url.startsWith("http:")
    ? new Request(`https:${request.url.slice("http:".length)}`, request)
    : request;
}
