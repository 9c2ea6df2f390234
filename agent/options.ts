// The agent's options: flags, or the same in the environment as POSTERN_*; flags win. Parsed once, with zod; an error
// names the flag and the remedy. A KubeProxyConfiguration, where one is named, has the last word after them. The token comes from a file only: arguments and environments are there for all to see.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { z } from "zod";
import { proxyModes } from "./dataplane/kernel/settings.ts";
import { isInPod } from "./kube/access.ts";
import { cidrList, hostAndPort, type KubeProxyConfig, parseKubeProxyConfig } from "./kube-proxy/config.ts";
import { addressTypes } from "./plan/nodes.ts";
import { isNearby } from "../src/shared/net/nearby.ts";
import { asRange, parseRange } from "../src/shared/net/ranges.ts";
import { settingOf } from "../src/shared/model/option-names.ts";

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
  "kube-api": { type: "string" },
  "proxy-mode": { type: "string" },
  "kube-proxy-config": { type: "string" },
  "cluster-cidr": { type: "string" },
  "proxy-health-address": { type: "string" },
  "proxy-metrics-address": { type: "string" },
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
const optionsSchema = z
  .object({
    edge: z
      .url({ protocol: /^https?$/, error: "must be the edge's URL, such as https://postern.example.com" })
      .optional(),
    cluster: z
      .string()
      .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "must be a DNS label")
      .optional(),
    "token-file": z.string().min(1).optional(),
    source: z.enum(["kube", "files"], "must be kube or files"),
    manifests: z.string().min(1).optional(),
    kubeconfig: z.string().min(1).optional(),
    instance: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/, "must be an id such as the pod's UID")
      .default(() => randomUUID()),
    node: dnsName("this node's name in Kubernetes").default(() => hostname().toLowerCase()),
    address: z.union([z.ipv4(), z.ipv6()], "must be an IP address of this node").optional(),
    proxy: z.enum(["none", "userspace", "all"], "must be none, userspace or all").default("none"),
    /** The control planes, tried in turn. */
    "kube-api": z
      .string()
      .transform((list) => list.split(",").map((each) => each.trim()))
      .pipe(z.array(z.url({ protocol: /^https$/, error: "must be URLs such as https://192.168.1.10:6443" })).min(1))
      .transform((urls) => urls.map((url) => new URL(url)))
      .optional(),
    "proxy-mode": z.enum(proxyModes, `must be one of ${proxyModes.join(", ")}`).optional(),
    "kube-proxy-config": z.string().min(1).optional(),
    "cluster-cidr": cidrList.optional(),
    "proxy-health-address": hostAndPort.optional(),
    "proxy-metrics-address": hostAndPort.optional(),
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
    if (value.proxy === "userspace" && value.address === undefined) {
      wrong("address", "is needed with --proxy userspace: the address of this node where NodePorts are opened");
    }
    const edge = URL.parse(value.edge ?? "");
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
  });

export type Options = z.output<typeof optionsSchema>;

/** The edge and who we are there. */
export interface EdgeOptions {
  readonly edge: URL;
  readonly cluster: string;
  readonly tokenFile: string;
}

/** Undefined where there is no edge, and the agent is a kube-proxy alone. parseOptions() saw to it that all or none is there. */
export function edgeOf({ edge, cluster, "token-file": tokenFile }: Options): EdgeOptions | undefined {
  if (edge === undefined || cluster === undefined || tokenFile === undefined) return undefined;
  return { edge: new URL(edge), cluster, tokenFile };
}

export type ParsedOptions =
  | {
      readonly ok: true;
      readonly options: Options;
      /** What the file of --kube-proxy-config says; {} where none is named. */
      readonly kubeProxy: Partial<KubeProxyConfig>;
      readonly warnings: readonly string[];
    }
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
    const value = environment[settingOf(name)];
    if (value === undefined || given[name] !== undefined) continue;
    given[name] = type === "string" && name === "allow-external-name" ? [value] : value;
  }
  const config = readConfig(given["kube-proxy-config"]);
  const ownApi = given["manifests"] !== undefined || given["kube-api"] !== undefined;
  given["node"] ??= config.kubeProxy.hostnameOverride;
  if (!ownApi) given["kubeconfig"] ??= config.kubeProxy.clientConnection?.kubeconfig;
  // A kube-proxy has a cluster; a folder of files is for the demo and for tests.
  const isKube = given["manifests"] === undefined && (isInPod(environment) || given["proxy"] === "all");
  given["source"] ??= isKube ? "kube" : "files";
  const parsed = optionsSchema.safeParse(given);
  // A name that nobody gave as --node.
  const named = (option: PropertyKey | undefined) =>
    option === "node" && given["node"] === config.kubeProxy.hostnameOverride
      ? `--kube-proxy-config ${String(given["kube-proxy-config"])}: hostnameOverride`
      : `--${String(option)}`;
  const problems = (parsed.error?.issues ?? []).map(({ path, message }) => `${named(path[0])} ${message}`);
  problems.push(...edgeProblems(given), ...sourceProblems(given), ...proxyProblems(given), ...config.problems);
  if (parsed.success && problems.length === 0)
    return { ok: true, options: parsed.data, kubeProxy: config.kubeProxy, warnings: config.warnings };
  return { ok: false, help: false, problems };
}

// The next three are outside of the schema, which says nothing of two fields while a third is wrong.

function edgeProblems({ edge, cluster, "token-file": file, proxy }: Readonly<Record<string, unknown>>): string[] {
  if (proxy === "all" && edge === undefined && cluster === undefined && file === undefined) return [];
  return [
    ...(edge === undefined ? ["--edge is needed: the edge's URL, such as https://postern.example.com"] : []),
    ...(cluster === undefined ? ["--cluster is needed: the cluster's name at the edge"] : []),
    ...(file === undefined ? ["--token-file is needed: a file with the cluster's token"] : []),
  ];
}

function sourceProblems(given: Readonly<Record<string, unknown>>): string[] {
  const { source, manifests, kubeconfig, "kube-api": api } = given;
  if (source === "files" && manifests === undefined)
    return ["--manifests is needed: a folder of Kubernetes YAML (or --source kube, to read the cluster's API server)"];
  if (source === "kube" && manifests !== undefined) return ["--manifests is for --source files only"];
  if (source === "files" && kubeconfig !== undefined) return ["--kubeconfig is for --source kube only"];
  if (source === "files" && api !== undefined) return ["--kube-api is for --source kube only"];
  if (api !== undefined && kubeconfig !== undefined)
    return ["--kube-api is for pods with a service account: a kubeconfig names its own server"];
  return [];
}

const ofProxyAll = [
  ...["proxy-mode", "kube-proxy-config", "cluster-cidr", "proxy-health-address", "proxy-metrics-address"],
] as const;

function proxyProblems(given: Readonly<Record<string, unknown>>): string[] {
  if (given["proxy"] === "all") return [];
  return ofProxyAll.filter((name) => given[name] !== undefined).map((name) => `--${name} is for --proxy all only`);
}

interface ReadConfig {
  readonly kubeProxy: Partial<KubeProxyConfig>;
  readonly warnings: readonly string[];
  readonly problems: readonly string[];
}

function readConfig(file: unknown): ReadConfig {
  const none = { kubeProxy: {}, warnings: [] };
  if (typeof file !== "string") return { ...none, problems: [] };
  const named = (text: string) => `--kube-proxy-config ${file}: ${text}`;
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch (error) {
    return { ...none, problems: [named(`cannot be read: ${(error as NodeJS.ErrnoException).code}`)] };
  }
  const parsed = parseKubeProxyConfig(content);
  if (!parsed.ok) return { ...none, problems: parsed.problems.map(named) };
  return { kubeProxy: parsed.config, warnings: parsed.warnings.map(named), problems: [] };
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
