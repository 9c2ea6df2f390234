// How to reach the API server and as whom: a pod's service account, or a kubeconfig (development). Files are read again on
// each use, for the kubelet replaces tokens and certificates while we run. No secret is kept longer than one call, and
// errors name files, never their content.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { hostPort } from "../../src/shared/net/host-port.ts";

/** What a connection presents, and what it trusts. PEM texts. */
export interface Tls {
  /** Undefined: the system's own authorities. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

export interface Access {
  /** At least one. Each is an API server of the same cluster; they are tried in turn. */
  readonly servers: readonly URL[];
  /** Where this agent's own objects (the Lease) are. In a pod its own, whatever a kubeconfig says: that is where its Role is. */
  readonly namespace: string;
  /** By the manifest, as a DaemonSet: it is a pod with a service account. */
  readonly installed: boolean;
  /** Undefined: the client certificate says who we are. Throws where the file cannot be read. */
  token(): string | undefined;
  tls(): Tls;
}

type Environment = Readonly<Record<string, string | undefined>>;

const ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";
const read = (path: string): string => readFileSync(path, "utf8");

/** True inside a pod with a mounted service account. */
export function isInPod(environment: Environment, folder = ACCOUNT_FOLDER): boolean {
  try {
    return (environment["KUBERNETES_SERVICE_HOST"] ?? "") !== "" && read(`${folder}/token`) !== "";
  } catch {
    return false;
  }
}

/**
 * Throws an error that names what is missing. `servers`: instead of the address that the pod's environment names, a ClusterIP, which
 * does not work on a node whose kube-proxy we are before we have made it work.
 */
export function podAccess(environment: Environment, servers: readonly URL[] = [], folder = ACCOUNT_FOLDER): Access {
  return {
    servers: servers.length > 0 ? servers : [serverOf(environment)],
    namespace: read(`${folder}/namespace`).trim(),
    installed: true,
    token: () => read(`${folder}/token`).trim(),
    tls: () => ({ ca: read(`${folder}/ca.crt`), cert: undefined, key: undefined }),
  };
}

function serverOf(environment: Environment): URL {
  const host = environment["KUBERNETES_SERVICE_HOST"];
  const port = environment["KUBERNETES_SERVICE_PORT"] ?? "443";
  if (host === undefined || host === "") {
    throw new Error("not inside a pod (KUBERNETES_SERVICE_HOST is not set): give --kubeconfig, or --source files");
  }
  return new URL(`https://${hostPort(host, port)}`);
}

const text = z.string().min(1).optional();
const clusterSchema = z.object({
  server: z.url({ protocol: /^https?$/ }),
  "certificate-authority": text,
  "certificate-authority-data": text,
});
const userSchema = z.object({
  token: text,
  tokenFile: text,
  "client-certificate": text,
  "client-certificate-data": text,
  "client-key": text,
  "client-key-data": text,
});
const contextSchema = z.object({ cluster: z.string(), user: z.string(), namespace: text });
const kubeconfigSchema = z.object({
  "current-context": z.string("is missing: kubectl config use-context sets it"),
  clusters: z.array(z.object({ name: z.string(), cluster: clusterSchema })),
  users: z.array(z.object({ name: z.string(), user: userSchema })),
  contexts: z.array(z.object({ name: z.string(), context: contextSchema })),
});

/** By the kubeconfig where one is named, else as a pod. Throws an error that names what is missing. */
export function accessOf(
  {
    kubeconfig,
    "kube-api": servers,
  }: { readonly kubeconfig?: string | undefined; readonly "kube-api"?: URL[] | undefined },
  environment: Environment,
): Access {
  return kubeconfig === undefined ? podAccess(environment, servers) : kubeconfigAccess(kubeconfig);
}

/** The current context of one file: server, authority, token or client certificate. No exec plug-ins. */
export function kubeconfigAccess(file: string, folder = ACCOUNT_FOLDER): Access {
  const parsed = kubeconfigSchema.safeParse(readKubeconfig(file));
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
    throw new Error(`--kubeconfig ${file}: ${issues.join("; ")}`);
  }
  const { clusters, users, contexts, "current-context": current } = parsed.data;
  const named = <T extends { readonly name: string }>(list: readonly T[], name: string, what: string): T => {
    const found = list.find((entry) => entry.name === name);
    if (found === undefined) throw new Error(`--kubeconfig ${file}: has no ${what} called ${name}`);
    return found;
  };
  const { context } = named(contexts, current, "context");
  const { cluster } = named(clusters, context.cluster, "cluster");
  const { user } = named(users, context.user, "user");
  // "…-data" is base64 and beats the file; files are relative to the kubeconfig.
  const pem = (data: string | undefined, path: string | undefined) =>
    data !== undefined
      ? Buffer.from(data, "base64").toString("utf8")
      : path === undefined
        ? undefined
        : read(resolve(dirname(file), path));
  const own = accountNamespace(folder);
  return {
    servers: [new URL(cluster.server)],
    namespace: own ?? context.namespace ?? "default",
    installed: own !== undefined,
    token: () => (user.tokenFile === undefined ? user.token : read(resolve(dirname(file), user.tokenFile)).trim()),
    tls: () => ({
      ca: pem(cluster["certificate-authority-data"], cluster["certificate-authority"]),
      cert: pem(user["client-certificate-data"], user["client-certificate"]),
      key: pem(user["client-key-data"], user["client-key"]),
    }),
  };
}

/** kubeadm's kubeconfig for kube-proxy is used in pods, with their service account, and its context names another namespace. */
function accountNamespace(folder: string): string | undefined {
  try {
    return read(`${folder}/namespace`).trim();
  } catch {
    return undefined;
  }
}

function readKubeconfig(file: string): unknown {
  let content: string;
  try {
    content = read(file);
  } catch (cause) {
    throw new Error(`--kubeconfig ${file} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
  try {
    return parseYaml(content);
  } catch {
    // Without the cause: a parser's error quotes the text, and there are tokens in it.
    throw new Error(`--kubeconfig ${file} is not YAML`);
  }
}
