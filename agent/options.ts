// The agent's options: flags, or the same in the environment as POSTERN_*; flags win. Parsed once, with zod; an error
// names the flag and the remedy. The token comes from a file only: arguments and environments are there for all to see.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { z } from "zod";
import { isInPod } from "./kube/access.ts";
import { addressTypes } from "./plan/nodes.ts";
import { isNearby } from "../src/shared/net/nearby.ts";
import { asRange, parseRange } from "../src/shared/net/ranges.ts";

export const help = `The Postern agent: runs on every node, dials out to the edge and serves what comes back.

Usage: node agent/main.ts --edge <url> --cluster <name> --token-file <file> [options]

  --edge <url>                  The edge's admin host, such as https://postern.example.com
  --cluster <name>              The cluster's name at the edge
  --token-file <file>           File with the cluster's token; read again when the edge refuses it
  --source kube|files           Where the cluster is read from (default: kube in a pod without --manifests, else files)
  --manifests <folder>          files: Services, EndpointSlices and Nodes as YAML, watched live
  --kubeconfig <file>           kube: how to reach the API server (default: the pod's service account)
  --instance <id>               kube: who this agent is among others, its pod's UID (default: random)
  --node <name>                 This node's name in Kubernetes (default: the machine's host name)
  --address <ip>                This node's own address, where NodePorts are opened (with --proxy userspace)
  --proxy none|userspace        Open the NodePorts of Services here (default: none)
  --default-class               Serve LoadBalancer Services without a class, too
  --force-default-class         The same beside MetalLB, k3s' ServiceLB or another controller that serves them
  --allow-external-name <list>  Name suffixes and CIDRs that exposed ExternalNames may use: lan,192.168.1.0/24. Addresses
                                of nodes, pods, Services and the API server, and special ones such as loopback, only
                                where listed one by one: 192.168.1.2/32
  --ignore-exclude-label        Use nodes that kubeadm excludes from load balancers (clusters of one node)
  --direct-address-type <type>  Where an edge inside your network reaches the NodePorts of nodes that do not say so by
                                annotation postern.dev/direct-address: InternalIP, ExternalIP, InternalDNS, ExternalDNS
                                or Hostname (default: not at all; transport direct needs it)
  --cluster-domain <name>       Domain of the cluster's own names (default: cluster.local)
  --health-address <ip:port>    Serve /healthz, /readyz and /metrics here (default: off)
  --health-socket <path>        Serve the same on a Unix socket, for the probes of Kubernetes (default: off)
  --insecure-plain-http         Allow http:// to loopback and private addresses (development)
  --log-level <level>           fatal, error, warn, info, debug or trace (default: info)
  --help                        This text

Each option may be given as an environment variable: POSTERN_TOKEN_FILE=/run/token, POSTERN_DEFAULT_CLASS=true.

Examples:
  node agent/main.ts --edge https://postern.example.com --cluster home --token-file token --manifests ./manifests
  node agent/main.ts --edge https://postern.example.com --cluster home --token-file token --source kube \\
    --kubeconfig ~/.kube/config --node node-a
  node agent/main.ts --edge http://127.0.0.1:8787 --insecure-plain-http --cluster home --token-file token \\
    --manifests ./manifests --node node-a --address 127.0.1.1 --proxy userspace
`;

const flags = {
  edge: { type: "string" },
  cluster: { type: "string" },
  "token-file": { type: "string" },
  source: { type: "string" },
  manifests: { type: "string" },
  kubeconfig: { type: "string" },
  instance: { type: "string" },
  node: { type: "string" },
  address: { type: "string" },
  proxy: { type: "string" },
  "default-class": { type: "boolean" },
  "force-default-class": { type: "boolean" },
  "allow-external-name": { type: "string", multiple: true },
  "ignore-exclude-label": { type: "boolean" },
  "direct-address-type": { type: "string" },
  "cluster-domain": { type: "string" },
  "health-address": { type: "string" },
  "health-socket": { type: "string" },
  "insecure-plain-http": { type: "boolean" },
  "log-level": { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

const flag = z
  .enum(["true", "1", "false", "0", ""], "write true or false")
  .transform((value) => value === "true" || value === "1")
  .or(z.boolean())
  .default(false);
const dnsName = (what: string) => z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, `must be ${what}`);
/** "127.0.0.1:10256", "[::1]:10256", ":10256" */
const hostAndPort = z.string().transform((text, context) => {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? "";
  if (port !== undefined && Number(port) <= 65535 && (host === "" || isIP(host) !== 0)) {
    return { host: host === "" ? "::" : host, port: Number(port) };
  }
  context.addIssue("must be an address and a port, such as 127.0.0.1:10256");
  return z.NEVER;
});

const optionsSchema = z
  .object({
    edge: z.url({ protocol: /^https?$/, error: "must be the edge's URL, such as https://postern.example.com" }),
    cluster: z
      .string("is needed: the cluster's name at the edge")
      .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "must be a DNS label"),
    "token-file": z.string("is needed: a file with the cluster's token").min(1),
    source: z.enum(["kube", "files"], "must be kube or files"),
    manifests: z.string().min(1).optional(),
    kubeconfig: z.string().min(1).optional(),
    instance: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/, "must be an id such as the pod's UID")
      .default(() => randomUUID()),
    node: dnsName("this node's name in Kubernetes").default(() => hostname().toLowerCase()),
    address: z.union([z.ipv4(), z.ipv6()], "must be an IP address of this node").optional(),
    proxy: z.enum(["none", "userspace"], "must be none or userspace").default("none"),
    "default-class": flag,
    "force-default-class": flag,
    "allow-external-name": z
      .array(z.string())
      .default([])
      .transform((lists) =>
        lists
          .flatMap((list) => list.split(","))
          .map((entry) => entry.trim())
          .filter((entry) => entry !== "")
          .map(asRange),
      )
      .refine((entries) => entries.every(isNameOrRange), "must list name suffixes and CIDRs: lan,192.168.1.0/24"),
    "ignore-exclude-label": flag,
    "direct-address-type": z.enum(addressTypes, `must be one of ${addressTypes.join(", ")}`).optional(),
    "cluster-domain": dnsName("a domain such as cluster.local").default("cluster.local"),
    "health-address": hostAndPort.optional(),
    "health-socket": z
      .string()
      .startsWith("/", "must be an absolute path")
      .max(107, "must fit a socket's name")
      .optional(),
    "insecure-plain-http": flag,
    "log-level": z
      .enum(["fatal", "error", "warn", "info", "debug", "trace"], "must be fatal, error, warn, info, debug or trace")
      .default("info"),
  })
  .check(({ value, issues }) => {
    const wrong = (path: string, message: string) =>
      issues.push({ code: "custom", path: [path], message, input: value });
    const edge = URL.parse(value.edge);
    if (edge === null) return;
    if (edge.username !== "" || edge.password !== "") wrong("edge", "must not hold credentials: use --token-file");
    if (edge.protocol === "http:" && !isNearby(edge.hostname)) {
      wrong(
        "edge",
        "must be https: the token would cross the network in the clear (http goes to loopback and private addresses only)",
      );
    } else if (edge.protocol === "http:" && !value["insecure-plain-http"]) {
      wrong(
        "edge",
        "is plain http: add --insecure-plain-http if this is a development edge on your own machine or network",
      );
    }
    if (value.proxy === "userspace" && value.address === undefined) {
      wrong("address", "is needed with --proxy userspace: the address of this node where NodePorts are opened");
    }
  });

export type Options = z.output<typeof optionsSchema>;

export type ParsedOptions =
  | { readonly ok: true; readonly options: Options }
  | { readonly ok: false; readonly help: true }
  | { readonly ok: false; readonly help: false; readonly problems: readonly string[] };

export function parseOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ParsedOptions {
  let given: Record<string, unknown>;
  try {
    given = { ...parseArgs({ args: [...args], options: flags, strict: true, allowPositionals: false }).values };
  } catch (error) {
    return { ok: false, help: false, problems: [(error as Error).message] };
  }
  if (given["help"] === true) return { ok: false, help: true };
  for (const [name, { type }] of Object.entries(flags)) {
    const value = environment[`POSTERN_${name.toUpperCase().replaceAll("-", "_")}`];
    if (value === undefined || given[name] !== undefined) continue;
    given[name] = type === "string" && name === "allow-external-name" ? [value] : value;
  }
  given["source"] ??= given["manifests"] === undefined && isInPod(environment) ? "kube" : "files";
  const parsed = optionsSchema.safeParse(given);
  const problems = (parsed.error?.issues ?? []).map(({ path, message }) => `--${String(path[0])} ${message}`);
  problems.push(...sourceProblems(given));
  if (parsed.success && problems.length === 0) return { ok: true, options: parsed.data };
  return { ok: false, help: false, problems };
}

/** Outside of the schema, which says nothing of two fields while a third is missing. */
function sourceProblems({ source, manifests, kubeconfig }: Readonly<Record<string, unknown>>): string[] {
  if (source === "files" && manifests === undefined)
    return ["--manifests is needed: a folder of Kubernetes YAML (or --source kube, to read the cluster's API server)"];
  if (source === "kube" && manifests !== undefined) return ["--manifests is for --source files only"];
  if (source === "files" && kubeconfig !== undefined) return ["--kubeconfig is for --source kube only"];
  return [];
}

/** Reads the token anew; throws an error that names file and remedy. */
export function readToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new Error(`--token-file ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
  // What a header can carry; also catches the wrong file.
  if (!/^[\x21-\x7e]{16,512}$/.test(token))
    throw new Error(`--token-file ${file} does not hold a token: one line, as the edge gave it`);
  return token;
}

const isNameOrRange = (entry: string): boolean =>
  parseRange(entry) !== undefined || /^(\*?\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(entry);
