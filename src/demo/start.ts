// The demo: see options.ts for what it accepts, README.md for what it shows. Owns the terminal and the signals:
// whatever ends this process, nothing that it started is left running.
import { join } from "node:path";
import { type Invoked, optionsToRun } from "../host/command-line.ts";
import { Emulation, type Ready } from "./emulation.ts";
import { helpFor, parseOptions } from "./options.ts";

function welcome({ urls, api, nodes, pods, manifests }: Ready): string {
  const [url = ""] = urls;
  const list = (items: readonly { name: string; address: string; pid: number }[]) =>
    items.map(({ name, address, pid }) => `${name} at ${address} (pid ${pid})`).join(", ");
  return `
Ready. Open one of these:
${urls.map((url) => `  ${url}`).join("\n")}
or paste this:
  curl ${url}

Nodes:     ${list(nodes)}
Pods:      ${list(pods)}
Manifests: ${manifests}
API:       ${api.url}, with the admin's token: curl -H "Authorization: Bearer $(cat ${api.tokenFile})" ${api.url}/api/v1/clusters

Try:
  - edit ${join(manifests, "web.yaml")}: change a port, set an endpoint's ready to false, save
  - kill -9 ${nodes.at(-1)?.pid ?? ""}   (a node: the other serves on)
  - kill -9 ${pods.at(-1)?.pid ?? ""}   (a pod: the other serves on)
  - curl -N ${url}stream   (also /headers, /bytes?n=1000000, /slow?ms=3000, /status/418; a WebSocket at /ws)
Ctrl-C stops everything.
`;
}

/** Resolves when it has nothing to run; else it ends this process itself. */
export async function start(args: readonly string[], invoked: Invoked): Promise<void> {
  const options = optionsToRun(parseOptions(args), helpFor(invoked));
  if (options === undefined) return;
  const out = options.json ? process.stderr : process.stdout;
  const base = join(process.cwd(), ".postern");
  let emulation: Emulation;
  try {
    emulation = new Emulation(base, (line) => out.write(`${line}\n`));
  } catch (error) {
    process.stderr.write(`${base} cannot be used: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
    return;
  }

  let endingSince: number | undefined;
  const end = async (code: number, line: string) => {
    if (endingSince !== undefined) {
      // Asked again: its user does not want to wait. (But one Ctrl-C comes twice, from the terminal and through npm.)
      if (performance.now() - endingSince < 500) return;
      emulation.kill();
      process.exit(code);
    }
    endingSince = performance.now();
    out.write(`${line}\n`);
    await emulation.stop();
    process.exit(code);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void end(0, "Stopping …"));
  // Nobody reads us any more (`npm start | head`).
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => void end(0, ""));
  // npm itself was killed: nobody is left who could stop us.
  const parent = process.ppid;
  if (process.env["npm_lifecycle_event"] !== undefined)
    setInterval(() => process.ppid !== parent && void end(0, "npm is gone. Stopping …"), 1_000).unref();
  process.on("uncaughtException", (error) => {
    emulation.kill();
    process.stderr.write(`This is a bug in Postern's local emulation: ${error.stack}\n`);
    process.exit(1);
  });

  try {
    const ready = await emulation.start({ base, ...options });
    process.stdout.write(options.json ? `${JSON.stringify(ready)}\n` : welcome(ready));
    await emulation.edgeFailed();
  } catch (error) {
    if (endingSince === undefined) await end(1, error instanceof Error ? error.message : String(error));
  }
}
