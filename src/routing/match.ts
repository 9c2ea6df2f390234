// Host header → listener, client → allowed or not. The index is built once for each generation of a table; a request costs
// one Map look-up, and nothing more where a Service lists no source ranges. Changes nothing, and keeps no state.
import { compileRanges, type SourceRanges } from "./ranges.ts";
import type { Route, RoutingTable } from "./table.ts";

export interface TableIndex {
  readonly table: RoutingTable;
  readonly http: ReadonlyMap<string, Match>;
  readonly https: ReadonlyMap<string, Match>;
}

/** What a Host header led to. One object for a listener and scheme: the same at every request. */
export interface Match {
  readonly hostname: string;
  readonly port: number;
  /** The Host header in its plain form: without the port where it is the scheme's own. */
  readonly host: string;
  readonly route: Route;
  /** Absent: everybody. */
  readonly sources: SourceRanges | undefined;
}

const DEFAULT_PORT = { http: 80, https: 443 } as const;
type Scheme = keyof typeof DEFAULT_PORT;

export function index(table: RoutingTable): TableIndex {
  const sources = table.routes.map((route) => compileRanges(route.sourceRanges));
  return { table, http: byHost(table, sources, "http"), https: byHost(table, sources, "https") };
}

/** "h" is the scheme's own port, "h:8888" that one whatever the scheme: in front of some ports the edge alone knows TLS. */
function byHost(
  table: RoutingTable,
  sources: readonly (SourceRanges | undefined)[],
  scheme: Scheme,
): ReadonlyMap<string, Match> {
  const hosts = new Map<string, Match>();
  for (const { hostname, port, route: at } of table.listeners) {
    const route = table.routes[at];
    if (route === undefined) throw new Error(`listener ${hostname}:${port} names route ${at}, which is not there`);
    const host = port === DEFAULT_PORT[scheme] ? hostname : `${hostname}:${port}`;
    hosts.set(host, { hostname, port, host, route, sources: sources[at] });
  }
  return hosts;
}

export function match(index: TableIndex, hostHeader: string, scheme: Scheme): Match | undefined {
  const hosts = index[scheme];
  return hosts.get(hostHeader) ?? hosts.get(plainHost(hostHeader, scheme));
}

/** "Shop.Example.com.:80" => "shop.example.com", for http; as it is where it has no such form. */
function plainHost(host: string, scheme: Scheme): string {
  const parts = /^(.*?)\.?(?::(\d{0,9}))?$/.exec(host.length > HOST_MAX ? "" : host.toLowerCase());
  if (parts === null) return host;
  const [, name = "", port = ""] = parts;
  return port === "" || Number(port) === DEFAULT_PORT[scheme] ? name : `${name}:${Number(port)}`;
}

/** A name of 253 characters, its dot, a colon and a port. */
const HOST_MAX = 260;

/** Whether the Service accepts `client` ("" unknown). */
export function sourceAllowed({ sources }: Pick<Match, "sources">, client: string): boolean {
  return sources === undefined || sources.include(client);
}
