// The control API as the local edges use it. Parses every answer; its errors carry what the API said, never a token.
import { z } from "zod";

const createdSchema = z.object({ token: z.string().min(1) });
const codeSchema = z.object({ command: z.string() });
const clustersSchema = z.object({ clusters: z.array(z.object({ name: z.string() })) });
const tableSchema = z.object({
  listeners: z.array(
    z.object({ hostname: z.string(), port: z.int().min(1).max(65_535), tls: z.boolean(), route: z.int().min(0) }),
  ),
  routes: z.array(z.object({ unavailable: z.object({ reason: z.string(), message: z.string() }).optional() })),
});
const nodesSchema = z.object({
  nodes: z.array(z.object({ node: z.string(), tunnel: z.array(z.object({ available: z.boolean() })) })),
});
export interface TableListener {
  readonly hostname: string;
  readonly port: number;
  readonly tls: boolean;
  /** Why it answers 503, whatever is connected: "no-endpoints: …". */
  readonly unavailable?: string;
}

export interface Api {
  /** Creates the cluster; returns its token. */
  createCluster(name: string): Promise<string>;
  clusters(): Promise<string[]>;
  /** The cluster is made where there is none. */
  installCommand(cluster: string): Promise<string>;
  /** Asks only for what changed since the last call. */
  listeners(cluster: string): Promise<TableListener[]>;
  /** Names of the nodes that are connected to every shard. */
  connectedNodes(cluster: string): Promise<Set<string>>;
}

export function createApi(edge: string, adminToken: string): Api {
  const tables = new Map<string, { readonly etag: string; readonly listeners: TableListener[] }>();

  async function ask(method: string, path: string, etag?: string, body?: object): Promise<Response> {
    return await fetch(`${edge}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${adminToken}`,
        "content-type": "application/json",
        ...(etag === undefined ? {} : { "if-none-match": etag }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    });
  }
  async function call<T>(method: string, path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    return await read(method, path, schema, await ask(method, path, undefined, body));
  }
  async function read<T>(method: string, path: string, schema: z.ZodType<T>, response: Response): Promise<T> {
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text.slice(0, 500)}`);
    return schema.parse(JSON.parse(text));
  }
  const names = async () => (await call("GET", "/clusters", clustersSchema)).clusters.map(({ name }) => name);
  return {
    createCluster: async (name) => (await call("POST", "/clusters", createdSchema, { name })).token,
    async installCommand(cluster) {
      if (!(await names()).includes(cluster)) await call("POST", "/clusters", createdSchema, { name: cluster });
      return (await call("POST", `/clusters/${cluster}/install-code`, codeSchema, {})).command;
    },
    clusters: names,
    async listeners(cluster) {
      const path = `/clusters/${cluster}/table`;
      const before = tables.get(cluster);
      const response = await ask("GET", path, before?.etag);
      if (response.status === 304 && before !== undefined) return before.listeners;
      const etag = response.headers.get("etag") ?? "";
      const table = await read("GET", path, tableSchema, response);
      const listeners = table.listeners.map(({ route, ...listener }): TableListener => {
        const unavailable = table.routes[route]?.unavailable;
        return unavailable === undefined
          ? listener
          : { ...listener, unavailable: `${unavailable.reason}: ${unavailable.message}` };
      });
      tables.set(cluster, { etag, listeners });
      return listeners;
    },
    async connectedNodes(cluster) {
      const { nodes } = await call("GET", `/clusters/${cluster}/nodes`, nodesSchema);
      const connected = nodes.filter(({ tunnel }) => tunnel.length > 0 && tunnel.every(({ available }) => available));
      return new Set(connected.map(({ node }) => node));
    },
  };
}
