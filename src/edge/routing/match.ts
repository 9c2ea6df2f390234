// Host header and port → listener, client → allowed or not. The index is built once for each generation of a table; a request costs
// one Map look-up, and nothing more where a Service lists no source ranges. Changes nothing, and keeps no state.
import { compileRanges, type SourceRanges } from "../../shared/net/ranges.ts";
import type { Route, RoutingTable } from "./table.ts";

export interface TableIndex {
  readonly table: RoutingTable;
  readonly http: ReadonlyMap<string, Match>;
  readonly https: ReadonlyMap<string, Match>;
  /** By "hostname:port", where the door says its port. */
  readonly ports: ReadonlyMap<string, Match>;
}

/** By which door a request came. */
export interface Door {
  /** The Host header as it came. */
  readonly host: string;
  readonly scheme: "http" | "https";
  /** The listener's port, where a listener proxy says it; undefined on Cloudflare, where Host and scheme do. */
  readonly port: number | undefined;
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
  const http = byHost(table, sources, "http");
  const ports = new Map([...http.values()].map((match) => [`${match.hostname}:${match.port}`, match]));
  return { table, http, https: byHost(table, sources, "https"), ports };
}

/**
 * "h" is the listener of the scheme's default port. "h:8888" is that of port 8888, whatever the scheme: TLS may have ended in front
 * of the Worker.
 */
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

/** A listener serves what is published on its own port, whatever port Host names: that may be a router's port, or invented. */
export function match(index: TableIndex, { host, scheme, port }: Door): Match | undefined {
  if (port !== undefined) return index.ports.get(`${hostnameOf(host)}:${port}`);
  const hosts = index[scheme];
  return hosts.get(host) ?? hosts.get(plainHost(host, scheme));
}

/**
 * By which door a request came: a tenant's, or "admin", the admin host's own. `port` is what a listener proxy says; where none
 * stands in front it is undefined, and Host decides.
 */
export function doorOf(
  host: string,
  { port, scheme }: { readonly port: number | "admin" | undefined; readonly scheme: Scheme },
  adminHost: string,
): Door | "admin" {
  if (port === "admin" || (port === undefined && isAdminHost(host, adminHost, scheme))) return "admin";
  return { host, scheme, port };
}

/** Whether a Host header names the admin host, in any form that match() treats alike. Runs for every request on Cloudflare. */
function isAdminHost(host: string, adminHost: string, scheme: Scheme): boolean {
  if (host === adminHost) return true;
  if (hostnameOf(host) !== hostnameOf(adminHost)) return false;
  return plainHost(host, scheme) === plainHost(adminHost, scheme);
}

/** "Shop.Example.com.:8080" => "shop.example.com" */
export function hostnameOf(host: string): string {
  const colon = host.lastIndexOf(":");
  const name = (colon < 0 ? host : host.slice(0, colon)).toLowerCase();
  return name.endsWith(".") ? name.slice(0, -1) : name;
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
