// The Worker's bindings and settings. wrangler.toml sets production's; `npm start` and the tests set their own.
// The objects are known by their contracts, not by their classes: who holds a stub can call no more than was promised.
import type { ClusterRpc, GatewayRpc, TunnelRpc } from "./rpc/contract.ts";

type Namespace<Contract> = DurableObjectNamespace<Contract & Rpc.DurableObjectBranded>;

export interface Env {
  readonly GATEWAY: Namespace<GatewayRpc>;
  readonly CLUSTER: Namespace<ClusterRpc>;
  readonly TUNNEL: Namespace<TunnelRpc>;
  /** Static assets: the agent that install codes hand out (src/shared/control/agent-index.ts). */
  readonly ASSETS: Pick<Fetcher, "fetch">;
  /** Suffix of default hostnames, such as apps.example.com; locally "localhost". */
  readonly EDGE_DOMAIN: string;
  /** The one host (with port, if not the scheme's own) that serves the control API and the tunnels. */
  readonly ADMIN_HOST: string;
  /** Hex SHA-256 of the admin's bearer token; a secret in production. */
  readonly ADMIN_TOKEN_SHA256: string;
  /** "standard": only ports that a Cloudflare zone accepts; "any"; or a list that is offered: "80,8000-8999". */
  readonly LISTENER_PORTS: string;
  /** How many ports one cluster may have; absent: any number. */
  readonly LISTENER_PORTS_MOST?: string;
  /** "none": this edge ends no TLS, so it has no HTTPS listener. Absent: Cloudflare, which does. */
  readonly LISTENER_TLS?: "none";
  /** Edges of one's own only: the admin host's URL as agents dial it, where that is not ADMIN_HOST's own (behind a TLS proxy). */
  readonly PUBLIC_URL?: string;
  /** Edges of one's own only: what the listener proxy (src/host/proxy) must show, so that what it says of the client is believed. */
  readonly FORWARDER_SECRET?: string;
  /** Seconds between probes of direct nodes; default 60 (the free plan pays for each alarm), local edges 2. */
  readonly PROBE_SECONDS?: string;
  /** "any": transport direct may dial loopback and every port too. For `npm start`, tests, and where the owner says --direct-loopback: all clusters are one's own. */
  readonly DIRECT_ADDRESSES?: "any";
  /** NodePorts that transport direct may dial; default "30000-32767", which is Kubernetes'. */
  readonly NODE_PORTS?: string;
}
