// The Worker as workerd itself runs it: bundled, with a configuration in workerd's own words made from wrangler.toml, so that
// both know the same date, flags and classes. Pure but for the bundler and the files that it reads.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { unstable_readConfig as readConfig } from "wrangler";
import { z } from "zod";

const workerSchema = z.object({
  compatibility_date: z.string(),
  compatibility_flags: z.array(z.string()),
  durable_objects: z.object({ bindings: z.array(z.object({ name: z.string(), class_name: z.string() })) }),
});
const root = fileURLToPath(new URL("../../..", import.meta.url));

export interface WorkerdSettings {
  /** host:port */
  readonly listen: string;
  /** A folder that exists: the Durable Objects' SQLite files. */
  readonly storage: string;
  /** Texts for the Worker: settings and secrets. */
  readonly bindings: Readonly<Record<string, string>>;
  /** The Worker may dial this machine itself, where things listen that are nobody else's business. */
  readonly loopback: boolean;
}

/**
 * What no cluster's word leads to: the machine itself ("local" is 0.0.0.0 and mapped addresses too; allowing "private" allows
 * it, so it is denied), and where clouds hand out their machines' credentials. After names are looked up, so no name leads there.
 */
const METADATA = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"];

/** The bundle, as one ES module. */
export async function bundleWorker(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(root, "src/edge/worker.ts")],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    logLevel: "error",
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error("esbuild made no bundle");
  return output.text;
}

/** For `workerd serve`: a configuration beside which the bundle lies as `module`. */
export function workerdConfig(module: string, { listen, storage, bindings, loopback }: WorkerdSettings): string {
  const worker = workerSchema.parse(readConfig({ config: join(root, "wrangler.toml") }, { hideWarnings: true }));
  const objects = worker.durable_objects.bindings;
  const namespaces = objects.map(
    ({ class_name: name }) => `(className = ${quoted(name)}, uniqueKey = ${quoted(name)}, enableSql = true)`,
  );
  const bound = [
    ...objects.map(({ name, class_name: of }) => `(name = ${quoted(name)}, durableObjectNamespace = ${quoted(of)})`),
    ...Object.entries(bindings).map(([name, value]) => `(name = ${quoted(name)}, text = ${quoted(value)})`),
  ];
  const denied = [...(loopback ? [] : ["local"]), ...METADATA].map(quoted).join(", ");
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .postern), (name = "disk", disk = (path = ${quoted(storage)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], deny = [${denied}])) ],
  sockets = [ (name = "http", address = ${quoted(listen)}, http = (), service = "main") ] );
const postern :Workerd.Worker = ( modules = [ (name = "postern.js", esModule = embed ${quoted(module)}) ],
  compatibilityDate = ${quoted(worker.compatibility_date)}, compatibilityFlags = [ ${worker.compatibility_flags.map(quoted).join(", ")} ],
  durableObjectNamespaces = [ ${namespaces.join(", ")} ], durableObjectStorage = (localDisk = "disk"),
  bindings = [ ${bound.join(", ")} ] );
`;
}

/** Cap'n Proto's string literals are C's. */
const quoted = (text: string): string => JSON.stringify(text);
