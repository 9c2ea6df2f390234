// The command line of `npm run edge` and of `postern edge`, parsed once. No decision beyond that.
import { isIP } from "node:net";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { type PortRanges, parsePortRanges, without } from "../edge/routing/port-ranges.ts";
import type { Invoked, Parsed } from "./command-line.ts";
import { PORTS_MOST, PORTS_MOST_OF_CLUSTER } from "./listeners/listener-choice.ts";
import { parseNetwork } from "./proxy/trusted-proxies.ts";

export interface Options {
  /** Suffix of default hostnames. */
  readonly domain: string;
  /** Where listener ports and the admin host are opened; never empty. */
  readonly addresses: readonly string[];
  /** The admin host's. */
  readonly port: number;
  /** The admin host as agents dial it; absent: at the first address and `port`. No path. */
  readonly publicUrl?: string;
  /** Ports that clusters may have opened, never the admin host's; absent: any, but not many. */
  readonly listenerPorts?: PortRanges;
  /** Proxies in front that are believed: addresses and networks. */
  readonly trustedProxies: readonly string[];
  /** Nodes of transport direct may be on this machine. */
  readonly directLoopback: boolean;
  /** Kept over restarts: clusters, tokens, tables. */
  readonly state: string;
  readonly refuse: "answer" | "reset";
  /** The cluster to print an install command for; made where there is none. */
  readonly join?: string;
  readonly json: boolean;
}

const text = { type: "string" } as const;
const texts = { type: "string", multiple: true } as const;
const flag = { type: "boolean" } as const;

export const optionTypes = {
  address: texts,
  domain: text,
  port: text,
  "public-url": text,
  "listener-ports": text,
  "trusted-proxy": texts,
  "direct-loopback": flag,
  state: text,
  refuse: text,
  join: text,
  json: flag,
  help: { type: "boolean", short: "h" },
} as const;

export const helpFor = ({
  bare,
  options,
}: Invoked): string => `Postern's edge on a machine of your own: workerd, listener ports opened and closed as Services come and go.

  ${bare.padEnd(55)}  on this machine alone, names below .localhost
  ${options} --address 192.168.1.10 --domain apps.home.arpa --join home
                                                           for a LAN; prints the command with which cluster "home" joins
  ${options} --domain apps.example.com --listener-ports 8080 --trusted-proxy 127.0.0.1 \\
    --public-url https://postern.example.net               behind a TLS proxy on this machine, which passes *.apps.example.com
                                                           to port 8080 and postern.example.net to port 8787

  --address IP       where listener ports and the admin host are opened; may be given again (default: 127.0.0.1 and ::1)
  --domain NAME      Services are called <service>-<namespace>-<cluster>.NAME (default: localhost); your DNS must send *.NAME here
  --port N           the admin host's port: API, tunnels, install manifests (default: 8787)
  --public-url URL   the admin host as agents and install commands shall dial it, where a proxy stands in front of it, such as
                     https://postern.example.net (default: http at the first --address and --port)
  --listener-ports LIST
                     the ports that Services may have opened here, such as 80,8080,9000-9099
                     (default: any but the admin host's, ${PORTS_MOST_OF_CLUSTER} for one cluster and ${PORTS_MOST} in all)
  --trusted-proxy CIDR
                     a proxy in front of this edge, such as 127.0.0.1 or 10.0.0.0/24; may be given again. What it says in
                     X-Forwarded-For and X-Forwarded-Proto is believed; nobody else's is. (default: none)
  --direct-loopback  let transport direct reach nodes on this machine, by its loopback addresses. Then whoever has a cluster's
                     token can read what listens on this machine alone
  --state FOLDER     clusters, tokens, routes, logs; survives restarts (default: .postern/edge
                     in the folder where you are). One edge at a time
  --join CLUSTER     make the cluster if there is none, and print its one kubectl command (good for 15 minutes)
  --refuse HOW       answer: what cannot be served gets an answer that says why (default);
                     reset: it gets a closed connection, as from a load balancer that knows no HTTP
  --json             for programs: one line of JSON on stdout once it serves
  --help

Ctrl-C stops it, SIGHUP starts workerd anew while requests wait. It speaks plain http, so it has no port 443: keep it inside your
network, or put a TLS proxy before it.
`;

export function parseOptions(args: readonly string[]): Parsed<Options> {
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options: optionTypes }));
  } catch (error) {
    return { wrong: error instanceof Error ? error.message : String(error) };
  }
  if (values.help) return "help";
  const { address = ["127.0.0.1", "::1"], domain = "localhost", refuse = "answer", join } = values;
  const { "trusted-proxy": proxies = [], "public-url": publicUrl, "listener-ports": list } = values;
  const bad = address.find((each) => isIP(each) === 0);
  if (bad !== undefined) return { wrong: `--address must be an IP address of this machine, not ${bad}` };
  if (publicUrl === undefined && /^[0:.]+$/.test(address[0] ?? ""))
    return { wrong: `--address ${address[0]} is every address, which no agent can dial: give --public-url too` };
  const port = Number(values.port ?? 8787);
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535))
    return { wrong: `--port must be a number from 1 to 65535, not ${values.port}` };
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(domain) || domain.length > 190)
    return { wrong: `--domain must be a DNS name in lower case, such as apps.home.arpa, not ${domain}` };
  if (refuse !== "answer" && refuse !== "reset") return { wrong: `--refuse must be answer or reset, not ${refuse}` };
  const ranges = list === undefined ? undefined : parsePortRanges(list);
  if (list !== undefined && ranges === undefined)
    return { wrong: `--listener-ports must be ports and ranges of them, such as 80,8080,9000-9099, not ${list}` };
  const listenerPorts = ranges && without(ranges, port);
  if (listenerPorts?.length === 0)
    return { wrong: `--listener-ports names no port but ${port}, which is the admin host's: give --port another one` };
  const noNetwork = proxies.find((each) => parseNetwork(each) === undefined);
  if (noNetwork !== undefined)
    return {
      wrong: `--trusted-proxy must be the address or network of your own proxies, such as 127.0.0.1 or 10.0.0.0/24, not ${noNetwork}`,
    };
  if (publicUrl !== undefined && !isOrigin(publicUrl))
    return {
      wrong: `--public-url must be a URL without a path, such as https://postern.example.net, not ${publicUrl}`,
    };
  if (publicUrl?.startsWith("https:") && proxies.length === 0)
    return {
      wrong: "--public-url with https needs --trusted-proxy: the address of the proxy that ends TLS, such as 127.0.0.1",
    };
  return {
    domain,
    addresses: address,
    port,
    ...(publicUrl === undefined ? {} : { publicUrl: new URL(publicUrl).origin }),
    ...(listenerPorts === undefined ? {} : { listenerPorts }),
    trustedProxies: proxies,
    directLoopback: values["direct-loopback"] ?? false,
    // `npm run` changes to the package's folder; INIT_CWD is where the user is.
    state: resolve(process.env["INIT_CWD"] ?? process.cwd(), values.state ?? ".postern/edge"),
    refuse,
    ...(join === undefined ? {} : { join }),
    json: values.json ?? false,
  };
}

function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) return false;
  return url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "" && url.password === "";
}
