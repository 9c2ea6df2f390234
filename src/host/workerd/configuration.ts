// The configuration with which workerd runs the Worker, in workerd's own words, from what wrangler.toml declares: so that both know
// the same date, flags and classes. Pure.
import { z } from "zod";

/** What of wrangler.toml workerd must know. */
export const declaredSchema = z.object({
  compatibility_date: z.string(),
  compatibility_flags: z.array(z.string()),
  durable_objects: z.object({ bindings: z.array(z.object({ name: z.string(), class_name: z.string() })) }),
});
export type Declared = z.infer<typeof declaredSchema>;

export interface WorkerdSettings {
  /** host:port */
  readonly listen: string;
  /** A folder that exists: the Durable Objects' SQLite files. */
  readonly storage: string;
  /** A folder that exists: files that the Worker reads by its binding ASSETS, as on Cloudflare its static assets. */
  readonly assets: string;
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

/** For `workerd serve`: a configuration beside which the bundle lies as `module`. */
export function workerdConfig(
  module: string,
  declared: Declared,
  { listen, storage, assets, bindings, loopback }: WorkerdSettings,
): string {
  const objects = declared.durable_objects.bindings;
  const namespaces = objects.map(
    ({ class_name: name }) => `(className = ${quoted(name)}, uniqueKey = ${quoted(name)}, enableSql = true)`,
  );
  const bound = [
    ...objects.map(({ name, class_name: of }) => `(name = ${quoted(name)}, durableObjectNamespace = ${quoted(of)})`),
    '(name = "ASSETS", service = "assets")',
    ...Object.entries(bindings).map(([name, value]) => `(name = ${quoted(name)}, text = ${quoted(value)})`),
  ];
  const denied = [...(loopback ? [] : ["local"]), ...METADATA].map(quoted).join(", ");
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .postern), (name = "disk", disk = (path = ${quoted(storage)}, writable = true)),
    (name = "assets", disk = (path = ${quoted(assets)})),
    (name = "internet", network = (allow = ["public", "private"], deny = [${denied}])) ],
  sockets = [ (name = "http", address = ${quoted(listen)}, http = (), service = "main") ] );
const postern :Workerd.Worker = ( modules = [ (name = "postern.js", esModule = embed ${quoted(module)}) ],
  compatibilityDate = ${quoted(declared.compatibility_date)}, compatibilityFlags = [ ${declared.compatibility_flags.map(quoted).join(", ")} ],
  durableObjectNamespaces = [ ${namespaces.join(", ")} ], durableObjectStorage = (localDisk = "disk"),
  bindings = [ ${bound.join(", ")} ] );
`;
}

/** Cap'n Proto's string literals are C's. */
const quoted = (text: string): string => JSON.stringify(text);
