// The command line of `npm start` and of `postern dev`, parsed once. No decision beyond that.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Invoked, Parsed } from "../host/command-line.ts";

export interface Options {
  /** Print one JSON line on stdout, once ready; all else goes to stderr. */
  readonly json: boolean;
  /** The user's own folder of Kubernetes YAML; absent: the demo's, copied to where it may be edited. */
  readonly manifests?: string;
  /** The edge's own port, which serves the control API; absent: 8787, or a free one where that is taken. */
  readonly port?: number;
}

export const optionTypes = {
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  manifests: { type: "string" },
  port: { type: "string" },
} as const;

export function helpFor({ bare, options }: Invoked): string {
  const lines = [
    [bare, "the demo; its YAML is copied to .postern/manifests, edit it there"],
    [`${options} --manifests my-cluster`, "your own folder of Service, EndpointSlice and Node objects, used in place"],
    [`${options} --json`, "for programs: one line of JSON on stdout once everything answers"],
    [`${options} --port 9000`, "the control API's port (default: 8787, or a free one)"],
  ] as const;
  return `Postern on this machine: an edge, an agent for each node, and demo pods, from a folder of Kubernetes YAML.

${lines.map(([command, does]) => `  ${command.padEnd(38)}  ${does}`).join("\n")}
  ${options} --help

.postern is made in the folder where you are. Ctrl-C stops everything. To begin again with fresh demo files, delete .postern.
`;
}

export function parseOptions(args: readonly string[]): Parsed<Options> {
  let values: { json?: boolean; help?: boolean; manifests?: string; port?: string };
  try {
    ({ values } = parseArgs({ args: [...args], options: optionTypes }));
  } catch (error) {
    return { wrong: error instanceof Error ? error.message : String(error) };
  }
  if (values.help) return "help";
  const port = values.port === undefined ? undefined : Number(values.port);
  if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65_535))
    return { wrong: `--port must be a number from 1 to 65535, not ${values.port}` };
  return {
    json: values.json ?? false,
    // `npm start` changes to the package's folder; INIT_CWD is where the user is.
    ...(values.manifests === undefined
      ? {}
      : { manifests: resolve(process.env["INIT_CWD"] ?? process.cwd(), values.manifests) }),
    ...(port === undefined ? {} : { port }),
  };
}
