// The control API as the local edges use it, as the admin. Every failure is thrown, in words.
import { ControlClient, orThrow } from "../shared/control/client.ts";
import { sendByHttp } from "./send.ts";

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
  listeners(cluster: string): Promise<readonly TableListener[]>;
  /** Names of the nodes that are connected to every shard. */
  connectedNodes(cluster: string): Promise<Set<string>>;
}

export function createApi(edge: string, adminToken: string): Api {
  const client = new ControlClient({ edge: new URL(edge), token: () => adminToken }, sendByHttp);
  const tables = new Map<string, { readonly generation: number; readonly listeners: readonly TableListener[] }>();

  const createCluster = async (name: string) => orThrow(await client.createCluster({ name })).token;
  const clusters = async () => orThrow(await client.clusters()).clusters.map(({ name }) => name);
  return {
    createCluster,
    clusters,
    async installCommand(cluster) {
      if (!(await clusters()).includes(cluster)) await createCluster(cluster);
      return orThrow(await client.createInstallCode(cluster)).command;
    },
    async listeners(cluster) {
      const before = tables.get(cluster);
      const table = orThrow(await client.table(cluster, before?.generation));
      if (table === undefined) return before?.listeners ?? [];
      const listeners = table.listeners.map(({ route, ...listener }): TableListener => {
        const unavailable = table.routes[route]?.unavailable;
        return unavailable === undefined
          ? listener
          : { ...listener, unavailable: `${unavailable.reason}: ${unavailable.message}` };
      });
      tables.set(cluster, { generation: table.generation, listeners });
      return listeners;
    },
    async connectedNodes(cluster) {
      const { nodes } = orThrow(await client.nodes(cluster));
      const connected = nodes.filter(({ tunnel }) => tunnel.length > 0 && tunnel.every(({ available }) => available));
      return new Set(connected.map(({ node }) => node));
    },
  };
}
