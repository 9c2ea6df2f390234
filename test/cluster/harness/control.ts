// The control plane: keys and tokens, etcd, API server, controller manager, scheduler, and CoreDNS beside them, all in
// the namespace `cp`. Owns `work`/control. Keys and tokens are made once and survive until `down`; a part that is
// running is left alone, one that died is started again with the same state.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { run, succeeds } from "./command.ts";
import { auditPolicy } from "./configuration.ts";
import {
  apiServer,
  auditLog,
  control,
  edge,
  inside,
  kubeconfig,
  kubectl,
  nodes,
  outside,
  serviceRange,
  work,
} from "./places.ts";
import { ensureProcess, logOf, until } from "./processes.ts";

const folder = `${work}/control`;
const etcd = "http://127.0.0.1:2379";
const serviceAccountKey = `${folder}/service-account.key`;
const tokens = `${folder}/tokens.csv`;
const audit = `${folder}/audit-policy.json`;

/** Also its own certificate authority: the API server writes it before it serves. */
const serverCertificate = `${folder}/apiserver.crt`;

interface Account {
  readonly user: string;
  readonly groups: string;
}

/** By the name of their kubeconfig. Kubernetes' own roles are bound to these users and groups. */
const accounts: Readonly<Record<string, Account>> = {
  admin: { user: "admin", groups: "system:masters" },
  dns: { user: "dns", groups: "system:masters" },
  "controller-manager": { user: "system:kube-controller-manager", groups: "" },
  scheduler: { user: "system:kube-scheduler", groups: "" },
  proxy: { user: "system:kube-proxy", groups: "" },
  ...Object.fromEntries(
    nodes.map(({ name }) => [name, { user: `system:node:${name}`, groups: "system:nodes" }] as const),
  ),
};

export async function ensureControlPlane(binaries: string): Promise<void> {
  ensureCredentials();
  ensurePart("etcd", [
    `${binaries}/etcd`,
    ...["--data-dir", `${folder}/etcd`, "--listen-client-urls", etcd, "--advertise-client-urls", etcd],
    ...["--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn"],
    "--unsafe-no-fsync", // nobody keeps this cluster's data, and the disk is shared
  ]);
  ensurePart("kube-apiserver", [
    `${binaries}/kube-apiserver`,
    ...["--etcd-servers", etcd, "--cert-dir", folder],
    ...["--bind-address", control.address, "--advertise-address", control.address, "--secure-port", "6443"],
    ...["--service-cluster-ip-range", serviceRange],
    ...["--service-account-issuer", "https://kubernetes.default.svc"],
    ...["--service-account-key-file", serviceAccountKey, "--service-account-signing-key-file", serviceAccountKey],
    ...["--token-auth-file", tokens, "--authorization-mode", "Node,RBAC"],
    ...["--enable-admission-plugins", "NodeRestriction", "--kubelet-preferred-address-types", "InternalIP"],
    ...["--allow-privileged", "--audit-policy-file", audit, "--audit-log-path", auditLog],
    ...["--audit-log-maxsize", "50", "--audit-log-maxbackup", "1"],
  ]);
  const ready = [`${binaries}/kubectl`, "--kubeconfig", kubeconfig("admin"), "get", "--raw", "/readyz"];
  const isReady = (): Promise<boolean> => succeeds([...inside(control.netns), ...ready]);
  // Some seconds, but a minute and more on a machine that is busy with others.
  await until(`API server ready; see ${logOf("kube-apiserver")}`, isReady, 180);
  const clients = (name: string): string[] =>
    ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"].flatMap((flag) => [
      flag,
      kubeconfig(name),
    ]);
  ensurePart("kube-controller-manager", [
    `${binaries}/kube-controller-manager`,
    ...[...clients("controller-manager"), "--cert-dir", `${folder}/controller-manager`, "--leader-elect=false"],
    ...["--use-service-account-credentials", "--service-account-private-key-file", serviceAccountKey],
    ...["--root-ca-file", serverCertificate],
  ]);
  ensurePart("kube-scheduler", [
    `${binaries}/kube-scheduler`,
    ...[...clients("scheduler"), "--cert-dir", `${folder}/scheduler`, "--leader-elect=false"],
  ]);
  ensurePart("coredns", [`${binaries}/coredns`, "-conf", `${folder}/Corefile`]);
}

/** Pods can be created once their namespace has its service account. */
export async function nodesAreReady(seconds: number): Promise<void> {
  const names = nodes.map(({ name }) => `node/${name}`);
  const logs = logOf(`{kubelet,machine}-${nodes[0]?.name}`);
  await until(
    `every node registered; see ${logs}`,
    () => succeeds([kubectl, "get", ...names, "serviceaccount/default"]),
    seconds,
  );
  await run([kubectl, "wait", "--for=condition=Ready", `--timeout=${seconds}s`, ...names], {
    timeout: (seconds + 10) * 1000,
  });
}

function ensurePart(name: string, command: readonly string[]): void {
  ensureProcess(name, [...inside(control.netns), ...command]);
}

function ensureCredentials(): void {
  if (existsSync(tokens)) return;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writePrivate(serviceAccountKey, privateKey.export({ type: "pkcs1", format: "pem" }).toString());
  const rows = Object.entries(accounts).map(([name, { user, groups }]) => {
    const token = randomBytes(24).toString("base64url");
    writePrivate(kubeconfig(name), kubeconfigText(token));
    return `${token},${user},${user},"${groups}"\n`;
  });
  writePrivate(`${folder}/Corefile`, corefile);
  writePrivate(audit, auditPolicy());
  // Last: its presence says that all of the others are there.
  writePrivate(tokens, rows.join(""));
}

function kubeconfigText(token: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "postern", cluster: { server: apiServer, "certificate-authority": serverCertificate } }],
    users: [{ name: "user", user: { token } }],
    contexts: [{ name: "postern", context: { cluster: "postern", user: "user" } }],
    "current-context": "postern",
  });
}

// Nothing is forwarded: this network has no way out, and a query that hangs is worse than one refused.
const zone = (domain: string, address: string): string => `${domain}:53 {
  bind ${control.address}
  errors
  template IN A {
    answer "{{ .Name }} 5 IN A ${address}"
  }
  template IN ANY {
    rcode NOERROR
  }
}
`;
const corefile = `${zone(edge.domain, control.address)}${zone(outside.domain, outside.address)}.:53 {
  bind ${control.address}
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig ${kubeconfig("dns")}
    ttl 5
  }
}
`;

const writePrivate = (path: string, text: string): void => writeFileSync(path, text, { mode: 0o600 });
