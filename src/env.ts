// The Worker's bindings and settings. wrangler.toml sets production's; `npm start` and the tests set their own.
import type { ClusterObject } from "./objects/cluster.ts";
import type { GatewayObject } from "./objects/gateway.ts";
import type { TunnelObject } from "./objects/tunnel.ts";

export interface Env {
  readonly GATEWAY: DurableObjectNamespace<GatewayObject>;
  readonly CLUSTER: DurableObjectNamespace<ClusterObject>;
  readonly TUNNEL: DurableObjectNamespace<TunnelObject>;
  /** Suffix of default hostnames, such as apps.example.com; locally "localhost". */
  readonly EDGE_DOMAIN: string;
  /** The one host (with port, if not the scheme's own) that serves API, tunnel and console. */
  readonly ADMIN_HOST: string;
  /** Hex SHA-256 of the admin's bearer token; a secret in production. */
  readonly ADMIN_TOKEN_SHA256: string;
  /** "standard": only ports that a Cloudflare zone accepts; "any": local edges. */
  readonly LISTENER_PORTS: "standard" | "any";
  /** Local edges only: what the listener forwarder must present so that its client address is believed. */
  readonly FORWARDER_SECRET?: string;
  /** Seconds between probes of direct nodes; default 60 (the free plan pays for each alarm), local edges 2. */
  readonly PROBE_SECONDS?: string;
  /** "any": transport direct may dial loopback and every port too. For `npm start` and tests, where all clusters are one's own. */
  readonly DIRECT_ADDRESSES?: "any";
  /** NodePorts that transport direct may dial; default "30000-32767", which is Kubernetes'. */
  readonly NODE_PORTS?: string;
}
