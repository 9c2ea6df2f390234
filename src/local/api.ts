// The control API as the local emulation uses it. Parses every answer; its errors carry what the API said, never a token.
import { z } from "zod";

const createdSchema = z.object({ token: z.string().min(1) });
const tableSchema = z.object({
  listeners: z.array(z.object({ hostname: z.string(), port: z.int().min(1).max(65_535), tls: z.boolean() })),
});
const nodesSchema = z.object({
  nodes: z.array(z.object({ node: z.string(), tunnel: z.array(z.object({ available: z.boolean() })) })),
});
export type TableListener = z.infer<typeof tableSchema>["listeners"][number];

export interface Api {
  /** Creates the cluster; returns its token. */
  createCluster(name: string): Promise<string>;
  listeners(cluster: string): Promise<TableListener[]>;
  /** Names of the nodes that are connected to every shard. */
  connectedNodes(cluster: string): Promise<Set<string>>;
}

export function createApi(edge: string, adminToken: string): Api {
  async function call<T>(method: string, path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const response = await fetch(`${edge}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text.slice(0, 500)}`);
    return schema.parse(JSON.parse(text));
  }
  return {
    createCluster: async (name) => (await call("POST", "/clusters", createdSchema, { name })).token,
    listeners: async (cluster) => (await call("GET", `/clusters/${cluster}/table`, tableSchema)).listeners,
    async connectedNodes(cluster) {
      const { nodes } = await call("GET", `/clusters/${cluster}/nodes`, nodesSchema);
      const connected = nodes.filter(({ tunnel }) => tunnel.length > 0 && tunnel.every(({ available }) => available));
      return new Set(connected.map(({ node }) => node));
    },
  };
}
