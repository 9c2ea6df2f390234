// What the supervisor tells the edge's process. Apart from edge.ts, which loads wrangler.
import { join } from "node:path";
import { z } from "zod";

export interface EdgeSettings {
  /** The run's own: its Durable Objects keep their SQLite files there. */
  readonly folder: string;
  readonly bindings: {
    readonly EDGE_DOMAIN: string;
    readonly ADMIN_HOST: string;
    readonly ADMIN_TOKEN_SHA256: string;
    readonly LISTENER_PORTS: string;
    readonly LISTENER_TLS: "none";
    readonly DIRECT_ADDRESSES: "any";
    readonly FORWARDER_SECRET: string;
    readonly PROBE_SECONDS: string;
  };
}

/** Its answer: where workerd serves the Worker. */
export const edgeStartedSchema = z.object({ runtime: z.url() });
export type EdgeStarted = z.infer<typeof edgeStartedSchema>;

/** Nothing is sent anywhere and nothing fetched: no usage figures, no location of this machine for `request.cf`. */
export function edgeEnvironment(folder: string): Record<string, string> {
  return {
    WRANGLER_SEND_METRICS: "false",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_LOG_PATH: join(folder, "logs"),
  };
}
