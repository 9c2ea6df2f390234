// A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) as users have it, from kubeadm's ConfigMap or k3s. Read so that
// whoever had kube-proxy keeps what they configured. What kube-proxy takes for "not set" (null, "", 0s) is not set here, too.
// A field that means nothing to Postern, or that nobody knows, never stops the agent: a warning names it. A value that cannot be
// read does: with a wrong one in the rules the node would forward otherwise than its owner asked. Pure.
import { isIP } from "node:net";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { hostPort } from "../../src/shared/net/host-port.ts";
import { parseRange } from "../../src/shared/net/ranges.ts";
import { proxyModes } from "../dataplane/kernel/settings.ts";
import { parseDuration } from "./duration.ts";

export const HEALTH_PORT = 10256;
export const METRICS_PORT = 10249;

/** In the API null and absent are the same. */
const maybe = <T extends z.ZodType>(type: T) =>
  type
    .nullish()
    .transform((value) => value ?? undefined)
    .optional();
/** "" is kube-proxy's way to say "not set". */
const text = maybe(z.string().transform((value) => (value.trim() === "" ? undefined : value.trim())));
const oneOf = <const T extends readonly string[]>(values: T) =>
  text.pipe(z.enum(values, `must be one of ${values.join(", ")}`).optional());
const truth = maybe(z.boolean("must be true or false"));
const count = maybe(z.int("must be a whole number").min(0, "must not be negative"));
/** → ms */
const duration = maybe(
  z.string("must be a duration such as 30s").transform((value, context) => {
    const ms = parseDuration(value);
    if (ms !== undefined) return ms;
    context.addIssue("must be a duration such as 30s or 1h30m");
    return z.NEVER;
  }),
);
const bit = maybe(z.int("must be a bit from 0 to 31").min(0).max(31, "must be a bit from 0 to 31"));
const cidr = z.string().refine((value) => parseRange(value) !== undefined, "must be a CIDR such as 10.0.0.0/8");
const cidrs = maybe(z.array(cidr));
/** "10.244.0.0/16,fd00:10:244::/48" */
export const cidrList = z.string().transform((value, context) => {
  const ranges = value.split(",").map((each) => parseRange(each));
  if (ranges.every((range) => range !== undefined))
    return ranges.map(([network, bits]) => `${network.toString()}/${bits}`);
  context.addIssue("must be a CIDR, or one a family: 10.244.0.0/16,fd00:10:244::/48");
  return z.NEVER;
});
/** "127.0.0.1:10256", "[::1]:10256", ":10256" */
export const hostAndPort = z.string().transform((value, context) => {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]*)):(\d{1,5})$/.exec(value) ?? [];
  const host = bracketed ?? plain ?? "";
  if (port !== undefined && Number(port) <= 65535 && (host === "" || isIP(host) !== 0)) {
    return { host: host === "" ? "::" : host, port: Number(port) };
  }
  context.addIssue("must be an address and a port, such as 127.0.0.1:10256");
  return z.NEVER;
});
export type HostAndPort = z.output<typeof hostAndPort>;
/** An address alone has kube-proxy's port. */
const bound = (port: number) =>
  text
    .transform((value) => (value !== undefined && isIP(value) !== 0 ? hostPort(value, port) : value))
    .pipe(hostAndPort.optional());
const nodePortAddress = z
  .string()
  .transform((value) => (/^(primary|localhost|all)$/i.test(value) ? value.toLowerCase() : value))
  .refine(
    (value) => ["primary", "localhost", "all"].includes(value) || parseRange(value) !== undefined,
    "must be primary, localhost, all or a CIDR",
  );

const sync = { syncPeriod: duration, minSyncPeriod: duration };
const groups = {
  iptables: { masqueradeBit: bit, masqueradeAll: truth, localhostNodePorts: truth, ...sync },
  nftables: { masqueradeBit: bit, masqueradeAll: truth, ...sync },
  ipvs: {
    ...sync,
    ...{ scheduler: text, excludeCIDRs: cidrs, strictARP: truth },
    ...{ tcpTimeout: duration, tcpFinTimeout: duration, udpTimeout: duration },
  },
  conntrack: {
    ...{ maxPerCore: count, min: count, tcpBeLiberal: truth },
    ...{ tcpEstablishedTimeout: duration, tcpCloseWaitTimeout: duration },
    ...{ udpTimeout: duration, udpStreamTimeout: duration },
  },
  detectLocal: { bridgeInterface: text, interfaceNamePrefix: text },
  clientConnection: { kubeconfig: text },
} as const;
const plain = {
  mode: oneOf(proxyModes),
  clusterCIDR: text.pipe(cidrList.optional()),
  detectLocalMode: oneOf(["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]),
  nodePortAddresses: maybe(z.array(nodePortAddress)),
  healthzBindAddress: bound(HEALTH_PORT),
  metricsBindAddress: bound(METRICS_PORT),
  bindAddress: text,
  /** In lower case, as Nodes are called. */
  hostnameOverride: text.transform((value) => value?.toLowerCase()),
} as const;
const group = <T extends z.ZodRawShape>(shape: T) =>
  z
    .object(shape)
    .nullish()
    .transform((value) => value ?? undefined);
const API_VERSION = "kubeproxy.config.k8s.io/v1alpha1";
const schema = z.object({
  apiVersion: z.literal(API_VERSION, `must be ${API_VERSION}`),
  kind: z.literal("KubeProxyConfiguration", "must be KubeProxyConfiguration"),
  ...plain,
  iptables: group(groups.iptables),
  nftables: group(groups.nftables),
  ipvs: group(groups.ipvs),
  conntrack: group(groups.conntrack),
  detectLocal: group(groups.detectLocal),
  clientConnection: group(groups.clientConnection),
});
export type KubeProxyConfig = Omit<z.output<typeof schema>, "apiVersion" | "kind">;

/** A field, or all below it → why it is not used. */
const refused: Readonly<Record<string, string>> = {
  featureGates: "Postern has no feature gates",
  "clientConnection.qps": "the agent asks the API server little, and needs no limit",
  "clientConnection.burst": "the agent asks the API server little, and needs no limit",
  "clientConnection.contentType": "the agent speaks JSON",
  "clientConnection.acceptContentTypes": "the agent speaks JSON",
  logging: "use --log-level",
  bindAddressHardFail: "a port that is taken is tried again until it is free",
  enableProfiling: "the agent has no profiler to open",
  showHiddenMetricsForVersion: "no metric is hidden",
  configSyncPeriod: "objects are watched, and a watch needs no period",
  oomScoreAdj: "whoever starts the agent sets it, Kubernetes by the pod's resources",
  portRange: "kube-proxy itself has not used it since 1.26",
  winkernel: "Windows nodes are not supported",
  windowsRunAsService: "Windows nodes are not supported",
};

export type ParsedConfig =
  | { readonly ok: true; readonly config: KubeProxyConfig; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly string[] };

/** `content`: the file's text. Problems and warnings name fields, and the remedy. */
export function parseKubeProxyConfig(content: string): ParsedConfig {
  let raw: unknown;
  try {
    raw = parseYaml(content);
  } catch (error) {
    return { ok: false, problems: [`is not YAML: ${(error as Error).message.split("\n")[0]}`] };
  }
  const { success, data, error } = schema.safeParse(raw);
  if (!success) return { ok: false, problems: error.issues.map(({ path, message }) => `${path.join(".")} ${message}`) };
  const { apiVersion: _version, kind: _kind, ...config } = data;
  const missing = missingInterface(config);
  if (missing !== undefined) return { ok: false, problems: [missing] };
  const warnings = fieldsOf(raw, "").flatMap(([path, value]) => warningOf(path, value));
  return { ok: true, config, warnings: [...warnings, ...bindAddressWarning(config)] };
}

function missingInterface({ detectLocalMode, detectLocal }: KubeProxyConfig): string | undefined {
  if (detectLocalMode === "BridgeInterface" && detectLocal?.bridgeInterface === undefined)
    return "detectLocal.bridgeInterface is needed with detectLocalMode BridgeInterface";
  if (detectLocalMode === "InterfaceNamePrefix" && detectLocal?.interfaceNamePrefix === undefined)
    return "detectLocal.interfaceNamePrefix is needed with detectLocalMode InterfaceNamePrefix";
  return undefined;
}

const used: ReadonlySet<string> = new Set([
  ...["apiVersion", "kind", ...Object.keys(plain)],
  ...Object.entries(groups).flatMap(([name, shape]) => Object.keys(shape).map((field) => `${name}.${field}`)),
]);

function warningOf(path: string, value: unknown): string[] {
  if (used.has(path)) return [];
  const [, why] = Object.entries(refused).find(([field]) => path === field || path.startsWith(`${field}.`)) ?? [];
  // kubeadm writes out every field that it knows, with nothing in it.
  if (why !== undefined) return isNothing(value) ? [] : [`${path} is not used: ${why}`];
  return [`${path} is not used: no such field is known`];
}

/** Every field with its path. What has no parts of its own is one field. */
function fieldsOf(value: unknown, path: string): (readonly [string, unknown])[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return path === "" ? [] : [[path, value]];
  const below = Object.entries(value).flatMap(([name, part]) => fieldsOf(part, path === "" ? name : `${path}.${name}`));
  return below.length === 0 && path !== "" && !(path in groups) ? [[path, value]] : below;
}

const NOTHING: readonly unknown[] = [null, false, 0, "", "0", "0s"];
const isNothing = (value: unknown): boolean =>
  NOTHING.includes(value) || (typeof value === "object" && value !== null && Object.keys(value).length === 0);

function bindAddressWarning({ bindAddress }: KubeProxyConfig): string[] {
  if (bindAddress === undefined || bindAddress === "0.0.0.0" || bindAddress === "::") return [];
  return [
    "bindAddress is not used: NodePorts are served at the addresses that the Node object has, or nodePortAddresses",
  ];
}
