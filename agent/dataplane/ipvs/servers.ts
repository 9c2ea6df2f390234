// Virtual servers and their destinations as ipvsadm lists them, and the lines for `ipvsadm -R` that turn one state into another. Pure.
import { hostPort } from "../../../src/shared/net/host-port.ts";
import { canonicalAddress } from "../../../src/shared/net/ranges.ts";
import { drains, type Scheduler } from "./schedulers.ts";

export interface Server {
  /** As ipvsadm takes them: "-s rr -p 300". */
  readonly options: string;
  /** "10.244.1.5:8080" → */
  readonly destinations: ReadonlyMap<string, Destination>;
}

export interface Destination {
  readonly weight: number;
  /** As they were when they were listed, active and ending ones. */
  readonly connections: number;
}

const flagOf: Readonly<Record<string, string>> = { tcp: "-t", udp: "-u", sctp: "--sctp-service" };

/** "-t 10.96.0.1:80": who asks for it says the same. */
export const serverKey = (protocol: string, address: string, port: number): string =>
  `${flagOf[protocol]} ${hostPort(address, port)}`;

/** "-t 10.96.0.1:80" → "10.96.0.1", "tcp", 80 */
export function partsOf(key: string): { readonly protocol: string; readonly address: string; readonly port: number } {
  const [, flag = "", bracketed, plain = "", port = ""] = /^(\S+) (?:\[(.*)\]|([^:]*)):(\d+)$/.exec(key) ?? [];
  const protocol = Object.keys(flagOf).find((each) => flagOf[each] === flag) ?? "";
  return { protocol, address: bracketed ?? plain, port: Number(port) };
}

/** As one string, which is equal for equal servers: options first, then a destination a line. */
export function serverText(server: {
  readonly scheduler: Scheduler;
  readonly persistence: number | undefined;
  readonly destinations: ReadonlyMap<string, number>;
}): string {
  const { scheduler, persistence, destinations } = server;
  const lines = [...destinations].map(([socket, weight]) => `${socket} ${weight}`).sort();
  return [optionsOf(scheduler.name, scheduler.flags, persistence), ...lines].join("\n");
}

function optionsOf(scheduler: string, flags: readonly string[], persistence: number | undefined): string {
  const dealt = flags.length === 0 ? "" : ` -b ${flags.join(",")}`;
  return `-s ${scheduler}${dealt}${persistence === undefined ? "" : ` -p ${persistence}`}`;
}

export function parseServer(text: string): Server {
  const [options = "", ...lines] = text.split("\n");
  const destinations = lines.map((line) => {
    const [socket = "", weight] = line.split(" ");
    return [socket, { weight: Number(weight), connections: 0 }] as const;
  });
  return { options, destinations: new Map(destinations) };
}

/**
 * A destination that nobody wants any more gets no new connection, and goes when it has none left. Of UDP and SCTP it goes at once:
 * their clients keep their ports, and would be led there for ever.
 */
const isDrained = (key: string, { options }: Server): boolean =>
  key.startsWith("-t ") && drains(/^-s (\S+)/.exec(options)?.[1] ?? "");

/** What `ipvsadm -R` must be told; none where nothing is to be done. */
export function changeLines(key: string, from: Server | undefined, to: Server | undefined): readonly string[] {
  if (to === undefined) return from === undefined ? [] : [`-D ${key}`];
  const lines: string[] = [];
  if (from === undefined) lines.push(`-A ${key} ${to.options}`);
  else if (from.options !== to.options) lines.push(`-E ${key} ${to.options}`);
  for (const [socket, { weight }] of to.destinations) {
    const before = from?.destinations.get(socket);
    if (before?.weight !== weight)
      lines.push(`${before === undefined ? "-a" : "-e"} ${key} -r ${socket} -m -w ${weight}`);
  }
  for (const [socket, { weight }] of from?.destinations ?? []) {
    if (to.destinations.has(socket)) continue;
    if (!isDrained(key, to)) lines.push(`-d ${key} -r ${socket}`);
    else if (weight !== 0) lines.push(`-e ${key} -r ${socket} -m -w 0`);
  }
  return lines;
}

/** What the kernel has once it was told the lines of changeLines(). */
export function changed(key: string, from: Server | undefined, to: Server): Server {
  if (!isDrained(key, to)) return to;
  const draining = [...(from?.destinations ?? [])]
    .filter(([socket]) => !to.destinations.has(socket))
    .map(([socket, { connections }]) => [socket, { weight: 0, connections }] as const);
  return draining.length === 0 ? to : { ...to, destinations: new Map([...to.destinations, ...draining]) };
}

/** Destinations of `server` that `wanted` has not: they stay until their connections have ended. */
export const drainingOf = (server: Server, wanted: Server): readonly (readonly [string, Destination])[] =>
  [...server.destinations].filter(([socket]) => !wanted.destinations.has(socket));

/**
 * What `ipvsadm -Ln` prints, without what neither kube-proxy nor this agent makes: servers by firewall mark, with a netmask, of one
 * packet, and those whose destinations are not reached by translation.
 */
export function parseListing(listing: string): ReadonlyMap<string, Server> {
  const servers = new Map<string, Server>();
  let current: { key: string; server: Server; destinations: Map<string, Destination> } | undefined;
  for (const line of listing.split("\n")) {
    const [first = "", second = "", third = "", ...rest] = line.trim().split(/\s+/);
    if (first === "->") {
      if (current === undefined || second.startsWith("RemoteAddress")) continue;
      const [weight, active, inactive] = rest;
      if (third !== "Masq") servers.delete(current.key);
      current.destinations.set(canonical(second), {
        weight: Number(weight),
        connections: Number(active) + Number(inactive),
      });
    } else {
      const flag = flagOf[first.toLowerCase()];
      current = undefined;
      // "(mh-fallback,mh-port) persistent 300"
      const [, flags, persistence, others = ""] =
        /^(?:\(([^)]*)\) ?)?(?:persistent (\d+) ?)?(.*)$/.exec(rest.join(" ")) ?? [];
      if (flag === undefined || others !== "") continue;
      const options = optionsOf(
        third,
        flags?.split(",") ?? [],
        persistence === undefined ? undefined : Number(persistence),
      );
      const destinations = new Map<string, Destination>();
      current = { key: `${flag} ${canonical(second)}`, server: { options, destinations }, destinations };
      servers.set(current.key, current.server);
    }
  }
  return servers;
}

function canonical(socket: string): string {
  const [, address, port] = /^\[(.*)\]:(\d+)$/.exec(socket) ?? [];
  return address === undefined ? socket : `[${canonicalAddress(address) ?? address}]:${port}`;
}
