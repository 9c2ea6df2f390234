// What `cloudflare:workers` gives the tests: the Worker's own bindings and exports.
import type { Env as PosternEnv } from "../../../src/edge/env.ts";

declare global {
  namespace Cloudflare {
    interface Env extends PosternEnv {}
    interface GlobalProps {
      mainModule: typeof import("../../../src/edge/worker.ts");
      durableNamespaces: "GatewayObject" | "ClusterObject" | "TunnelObject";
    }
  }
}
