// A real etcd and kube-apiserver on ports of their own, for what needs no kubelets. As the agent sees it: its manifest
// is applied, and the agent's own service account is who asks, so that RBAC and the admission policy are tested, too.
// Owns a temporary folder and two processes; stop() leaves neither.
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseAllDocuments } from "yaml";
import type { Access } from "../../../agent/kube/access.ts";
import { type Answer, KubeApi, STRATEGIC_MERGE } from "../../../agent/kube/api.ts";
import { freePort } from "../../../src/host/process/free-port.ts";
import { ensureBinaries } from "./binaries.ts";

const manifests = new URL("../../../agent/manifests/", import.meta.url);
const NAMESPACE = "postern-system";
/** kind → where such objects are created; `*` is the namespace. */
const collections: Readonly<Record<string, string>> = {
  Namespace: "/api/v1/namespaces",
  ServiceAccount: "/api/v1/namespaces/*/serviceaccounts",
  ClusterRole: "/apis/rbac.authorization.k8s.io/v1/clusterroles",
  ClusterRoleBinding: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
  Role: "/apis/rbac.authorization.k8s.io/v1/namespaces/*/roles",
  RoleBinding: "/apis/rbac.authorization.k8s.io/v1/namespaces/*/rolebindings",
  ValidatingAdmissionPolicy: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
  ConfigMap: "/api/v1/namespaces/*/configmaps",
  Service: "/api/v1/namespaces/*/services",
  EndpointSlice: "/apis/discovery.k8s.io/v1/namespaces/*/endpointslices",
  Node: "/api/v1/nodes",
};

interface Written {
  readonly apiVersion?: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data?: Readonly<Record<string, string>>;
}

export interface ApiServerOptions {
  /** Where it listens; absent: loopback. */
  readonly address?: string;
  /** Absent: IPv4 alone. */
  readonly serviceRanges?: readonly string[];
  /** The agent is in kube-proxy's place, and may read what its kernel overlay lets it read. */
  readonly inKubeProxysPlace?: boolean;
}

/** Who asks: Kubernetes' administrator, the agent by its service account, kube-proxy by the user that it has everywhere. */
export type Asker = "admin" | "agent" | "kube-proxy";

/** What somebody has to know who asks a server that another process owns; he can read its folder. */
export interface ServerHandle {
  readonly folder: string;
  readonly address: string;
  readonly port: number;
  readonly tokens: Readonly<Record<Asker, string>>;
}

export class ApiServer {
  readonly folder: string;
  readonly #address: string;
  readonly #serviceRanges: readonly string[];
  readonly #manifests: readonly string[];
  readonly #tokens: Record<Asker, string>;
  readonly #processes = new Map<string, ChildProcess>();
  #binaries = "";
  #ports = { etcd: 0, peer: 0, api: 0 };
  #admin: KubeApi | undefined;
  readonly #clients: KubeApi[] = [];

  /** `owner`: of the processes; absent: start() makes them. */
  constructor(options: ApiServerOptions = {}, owner?: ServerHandle) {
    const { address = "127.0.0.1", serviceRanges = ["10.96.0.0/16"], inKubeProxysPlace = false } = options;
    const random = (): string => randomBytes(16).toString("hex");
    this.folder = owner?.folder ?? mkdtempSync(join(tmpdir(), "postern-apiserver-"));
    this.#tokens = { ...(owner?.tokens ?? { admin: random(), agent: "", "kube-proxy": random() }) };
    if (owner !== undefined) this.#ports.api = owner.port;
    this.#manifests = ["postern.yaml", ...(inKubeProxysPlace ? ["overlays/kernel/rbac.yaml"] : [])];
    this.#address = owner?.address ?? address;
    this.#serviceRanges = serviceRanges;
  }

  /** With this, `new ApiServer({}, handle)` asks the same server. */
  get handle(): ServerHandle {
    return { folder: this.folder, address: this.#address, port: this.#ports.api, tokens: this.#tokens };
  }

  async start(): Promise<void> {
    this.#binaries = await ensureBinaries((line) => process.stderr.write(`${line}\n`));
    this.#ports = { etcd: await freePort(), peer: await freePort(), api: await freePort(this.#address) };
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    this.#write("sa.key", privateKey.export({ type: "pkcs1", format: "pem" }).toString());
    this.#write(
      "tokens.csv",
      `${this.#tokens.admin},admin,admin,"system:masters"\n${this.#tokens["kube-proxy"]},system:kube-proxy,system:kube-proxy\n`,
    );
    const [client, peer] = [`http://127.0.0.1:${this.#ports.etcd}`, `http://127.0.0.1:${this.#ports.peer}`];
    this.#spawn("etcd", [
      ...["--data-dir", join(this.folder, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `default=${peer}`],
      ...["--unsafe-no-fsync", "--log-level", "error"],
    ]);
    await this.startApi();
    const texts = this.#manifests.map((file) => readFileSync(new URL(file, manifests), "utf8"));
    for (const document of texts.flatMap((text) => parseAllDocuments(text))) {
      const object = document.toJS() as Written;
      if (object.kind in collections && object.kind !== "DaemonSet") await this.create(object);
    }
    const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/postern-agent/token`;
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 3600 } };
    const answer = await this.ask("POST", path, { body });
    this.#tokens.agent = (answer as { status: { token: string } }).status.token;
    await this.#policiesInForce();
  }

  /**
   * Until the agent is refused by each of its two policies: an API server heeds them, and their ConfigMap, only a moment after
   * they were created, and allows everything until then. Nothing is changed by asking.
   */
  async #policiesInForce(): Promise<void> {
    const name = "policies-in-force";
    const probe = { kind: "Service", metadata: { name }, spec: { type: "LoadBalancer", ports: [{ port: 80 }] } };
    await this.create(probe);
    const agent = this.api("agent");
    // One of them alone refuses each of these.
    const refusals = [
      ["kubernetes", { metadata: { labels: { probe: "a" } } }, "may not change labels"],
      [name, { status: { loadBalancer: { ingress: [{ hostname: "probe.test" }] } } }, "without a class only where"],
    ] as const;
    for (const [service, body, why] of refusals) {
      for (let tries = 0; ; tries++) {
        const call = { query: { dryRun: "All" }, body, contentType: STRATEGIC_MERGE };
        const answer = await agent.call("PATCH", `${collectionOf(probe)}/${service}/status`, call);
        if (answer.kind === "status" && answer.message.includes(why)) break;
        if (tries === 300) throw new Error(`the agent is not refused with "${why}": ${JSON.stringify(answer)}`);
        await pause(100);
      }
    }
    await this.delete(probe);
  }

  /** The ConfigMap of the agents, as a user writes it. Its admission policy heeds it a moment later. */
  async configure(data: Readonly<Record<string, string>>): Promise<void> {
    await this.apply({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "postern-agent", namespace: NAMESPACE },
      data,
    });
  }

  /** Also after killApi(): the same port, the same state. */
  async startApi(): Promise<void> {
    const key = join(this.folder, "sa.key");
    this.#spawn("kube-apiserver", [
      ...["--etcd-servers", `http://127.0.0.1:${this.#ports.etcd}`, "--cert-dir", join(this.folder, "certificates")],
      ...["--bind-address", this.#address, "--advertise-address", this.#address],
      ...["--secure-port", String(this.#ports.api)],
      ...["--endpoint-reconciler-type", "none", "--service-cluster-ip-range", this.#serviceRanges.join(",")],
      ...["--service-account-issuer", "https://kubernetes.default.svc", "--token-auth-file"],
      ...[
        join(this.folder, "tokens.csv"),
        "--service-account-key-file",
        key,
        "--service-account-signing-key-file",
        key,
      ],
      ...["--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount"],
    ]);
    for (let tries = 0; tries < 300; tries++) {
      const answer = await this.api("admin").call("GET", "/readyz", { signal: AbortSignal.timeout(2_000) });
      if (answer.kind === "ok") return;
      await pause(200);
    }
    throw new Error(
      `kube-apiserver is not ready: ${readFileSync(join(this.folder, "kube-apiserver.log"), "utf8").slice(-2000)}`,
    );
  }

  async killApi(): Promise<void> {
    await this.#kill("kube-apiserver", "SIGKILL");
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.#kill("kube-apiserver", "SIGKILL");
    await this.#kill("etcd", "SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }

  access(who: Asker, port = this.#ports.api, scheme = "https"): Access {
    return {
      servers: [new URL(`${scheme}://${this.#address}:${port}`)],
      namespace: NAMESPACE,
      installed: false,
      token: () => this.#tokenOf(who),
      tls: () => ({ ca: this.certificate(), cert: undefined, key: undefined }),
    };
  }

  /** Closed by stop(). */
  client(access: Access): KubeApi {
    const client = new KubeApi(access);
    this.#clients.push(client);
    return client;
  }

  api(who: "admin" | "agent"): KubeApi {
    if (who === "agent") return this.client(this.access("agent"));
    this.#admin ??= this.client(this.access("admin"));
    return this.#admin;
  }

  /** The file with which a program asks as that one. */
  kubeconfig(who: Asker): string {
    const cluster = {
      server: `https://${this.#address}:${this.#ports.api}`,
      "certificate-authority": join(this.folder, "certificates", "apiserver.crt"),
    };
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: "user", user: { token: this.#tokenOf(who) } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "user" } }],
      "current-context": "test",
    };
    this.#write(`${who}.kubeconfig`, JSON.stringify(config));
    return join(this.folder, `${who}.kubeconfig`);
  }

  certificate(): string {
    return readFileSync(join(this.folder, "certificates", "apiserver.crt"), "utf8");
  }

  /** As admin; throws what the API server says against it. */
  async ask(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, options: object = {}): Promise<unknown> {
    const answer: Answer = await this.api("admin").call(method, path, options);
    if (answer.kind !== "ok") throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer.body;
  }

  async create(object: Written): Promise<unknown> {
    return await this.ask("POST", collectionOf(object), { body: object });
  }

  /** Server-side apply: what a user's kubectl does. */
  async apply(object: Written): Promise<unknown> {
    return await this.ask("PATCH", `${collectionOf(object)}/${object.metadata.name}`, {
      query: { fieldManager: "test", force: "true" },
      body: object,
      contentType: "application/apply-patch+yaml",
    });
  }

  async delete(object: Written): Promise<unknown> {
    return await this.ask("DELETE", `${collectionOf(object)}/${object.metadata.name}`);
  }

  #tokenOf(who: Asker): string {
    return this.#tokens[who];
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text, { mode: 0o600 });
  }

  #spawn(name: string, args: readonly string[]): void {
    const log = openSync(join(this.folder, `${name}.log`), "a");
    this.#processes.set(name, spawn(join(this.#binaries, name), [...args], { stdio: ["ignore", log, log] }));
  }

  async #kill(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.#processes.get(name);
    this.#processes.delete(name);
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }
}

const collectionOf = ({ kind, metadata }: Written): string =>
  (collections[kind] ?? "").replace("*", metadata.namespace ?? "default");
