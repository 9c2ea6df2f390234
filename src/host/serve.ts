// An edge of one's own: see options.ts for what it accepts. Owns the terminal and the signals: SIGTERM and Ctrl-C end it, SIGHUP
// starts workerd anew while requests wait.
import { type Invoked, optionsToRun } from "./command-line.ts";
import { Edge } from "./edge.ts";
import { helpFor, parseOptions } from "./options.ts";

/** What `--json` prints. */
interface Serving {
  readonly url: string;
  readonly domain: string;
  readonly addresses: readonly string[];
  readonly adminTokenFile: string;
  /** With --join: the command for the cluster's kubectl. */
  readonly join?: string;
}

function welcome({ url, domain, addresses, adminTokenFile, join }: Serving): string {
  const next =
    join === undefined
      ? "Let a cluster join: start with --join NAME, or POST /api/v1/clusters and …/install-code"
      : `Let the cluster join (within 15 minutes):\n  ${join}`;
  return `
The edge serves *.${domain} on ${addresses.join(" and ")}.
${next}
API: curl -H "Authorization: Bearer $(cat ${adminTokenFile})" ${url}/api/v1/clusters
Ctrl-C stops it.
`;
}

/** Resolves when it serves, and where there is nothing to run. */
export async function serve(args: readonly string[], invoked: Invoked): Promise<void> {
  const options = optionsToRun(parseOptions(args), helpFor(invoked));
  if (options === undefined) return;
  const out = options.json ? process.stderr : process.stdout;
  const edge = new Edge(options, (line) => out.write(`${line}\n`));
  // Its terminal, or what read its output, may go: the edge serves on.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  let ending = false;
  const end = async (code: number, line: string) => {
    if (ending) return;
    ending = true;
    out.write(`${line}\n`);
    await edge.stop();
    process.exit(code);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => void end(0, "Stopping …"));
  process.on("SIGHUP", () => edge.restart());
  process.on("uncaughtException", (error) => {
    edge.kill();
    process.stderr.write(`This is a bug in Postern's edge: ${error.stack}\n`);
    process.exit(1);
  });
  try {
    const api = await edge.start();
    const { domain, addresses, join } = options;
    const serving: Serving = {
      url: edge.url,
      domain,
      addresses,
      adminTokenFile: edge.adminTokenFile,
      ...(join === undefined ? {} : { join: await api.installCommand(join) }),
    };
    process.stdout.write(options.json ? `${JSON.stringify(serving)}\n` : welcome(serving));
  } catch (error) {
    if (!ending) await end(1, error instanceof Error ? error.message : String(error));
  }
}
