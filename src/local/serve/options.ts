// The command line of `npm run edge`, parsed once. No decision beyond that.
import { isIP } from "node:net";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

export interface Options {
  /** Suffix of default hostnames. */
  readonly domain: string;
  /** Where listener ports and the admin host are opened; never empty. */
  readonly addresses: readonly string[];
  /** The admin host's. */
  readonly port: number;
  /** Kept over restarts: clusters, tokens, tables. */
  readonly state: string;
  readonly refuse: "answer" | "reset";
  /** The cluster to print an install command for; made where there is none. */
  readonly join?: string;
  readonly json: boolean;
}

export const help = `Postern's edge on a machine of your own: workerd, listener ports opened and closed as Services come and go.

  npm run edge                                             on this machine alone, names below .localhost
  npm run edge -- --address 192.168.1.10 --domain apps.home.arpa --join home
                                                           for a LAN; prints the command with which cluster "home" joins

  --address IP       where listener ports and the admin host are opened; may be given again (default: 127.0.0.1 and ::1)
  --domain NAME      Services are called <service>-<namespace>-<cluster>.NAME (default: localhost); your DNS must send *.NAME here
  --port N           the admin host's port: API, tunnels, install manifests (default: 8787)
  --state FOLDER     clusters, tokens, routes; survives restarts (default: .postern/edge)
  --join CLUSTER     make the cluster if there is none, and print its one kubectl command (good for 15 minutes)
  --refuse HOW       answer: what cannot be served gets an answer that says why (default);
                     reset: it gets a closed connection, as from a load balancer that knows no HTTP
  --json             for programs: one line of JSON on stdout once it serves
  --help

Ctrl-C stops it. It speaks plain http: keep it inside your network, or put a TLS proxy before it.
`;

/** Options, or what is wrong with them in words; "help" where help was asked for. */
export function parseOptions(args: readonly string[]): Options | "help" | { readonly wrong: string } {
  const text = { type: "string" } as const;
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        address: { type: "string", multiple: true },
        domain: text,
        port: text,
        state: text,
        refuse: text,
        join: text,
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    return { wrong: error instanceof Error ? error.message : String(error) };
  }
  if (values.help) return "help";
  const { address = ["127.0.0.1", "::1"], domain = "localhost", refuse = "answer", join } = values;
  const bad = address.find((each) => isIP(each) === 0);
  if (bad !== undefined) return { wrong: `--address must be an IP address of this machine, not ${bad}` };
  const port = Number(values.port ?? 8787);
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535))
    return { wrong: `--port must be a number from 1 to 65535, not ${values.port}` };
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(domain) || domain.length > 190)
    return { wrong: `--domain must be a DNS name in lower case, such as apps.home.arpa, not ${domain}` };
  if (refuse !== "answer" && refuse !== "reset") return { wrong: `--refuse must be answer or reset, not ${refuse}` };
  return {
    domain,
    addresses: address,
    port,
    // `npm run` changes to the package's folder; INIT_CWD is where the user is.
    state: resolve(process.env["INIT_CWD"] ?? process.cwd(), values.state ?? ".postern/edge"),
    refuse,
    ...(join === undefined ? {} : { join }),
    json: values.json ?? false,
  };
}
