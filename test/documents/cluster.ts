// A Kubernetes cluster as far as the documents' commands need one: a real etcd and API server, and one node, n1, that is played. It
// runs the DaemonSet of the agent as a process, by its ConfigMap and Secret and with its service account's rights; of a Deployment
// it says that it is rolled out, and has one pod for each, a web server at an address of this machine.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ApiServer } from "../cluster/harness/api-server.ts";
import { root } from "./documents.ts";

const NODE_ADDRESS = "192.168.1.10";
const POD_ADDRESS = "10.244.0.2";
const SYSTEM = "/api/v1/namespaces/postern-system";
const APPS = "/apis/apps/v1/namespaces";
const MERGE_PATCH = "application/merge-patch+json";
const LOOK_MS = 200;

interface Workload {
  readonly metadata: { readonly name: string; readonly generation: number };
  readonly spec: { readonly template: { readonly metadata: { readonly labels: Record<string, string> } } };
  readonly status?: { readonly observedGeneration?: number };
}
interface Service {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector?: Record<string, string>;
    readonly ports: readonly {
      readonly name?: string;
      readonly port: number;
      readonly targetPort: number;
      readonly nodePort?: number;
    }[];
  };
}

interface KubeConfig {
  readonly contexts: [NamedContext, ...NamedContext[]];
}
interface NamedContext {
  readonly name: string;
  readonly context: { namespace?: string };
}

export class Cluster {
  readonly server = new ApiServer();
  readonly #pods: Server[] = [];
  /** kube-proxy's part: NodePorts that lead to the pod. */
  readonly #nodePorts: Server[] = [];
  #agent: ChildProcess | undefined;
  #agentFolder = "";
  #ended = false;
  #playing: Promise<void> = Promise.resolve();

  async start(): Promise<void> {
    await this.server.start();
    const taints = [{ key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" }];
    await this.server.create({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" }, spec: { taints } } as never);
    await this.#status("/api/v1/nodes/n1", {
      addresses: [{ type: "InternalIP", address: NODE_ADDRESS }],
      conditions: [{ type: "Ready", status: "True" }],
    });
    // One for each port that a document's Service has as its target.
    for (const port of [80, 8080]) this.#pods.push(await web(POD_ADDRESS, port));
    this.#playing = this.#play();
  }

  async stop(): Promise<void> {
    this.#ended = true;
    await this.#playing;
    await this.#stopAgent();
    for (const pod of this.#pods) pod.close();
    await this.server.stop();
  }

  /** What the commands of one document have made is no concern of the next one's. */
  async clear(): Promise<void> {
    const service = "/api/v1/namespaces/default/services/web";
    await this.#delete(service);
    // The finalizer is the agent's to take off, and a document may have ended that.
    const body = { metadata: { finalizers: null } };
    await this.server.api("admin").call("PATCH", service, { body, contentType: MERGE_PATCH });
    const paths = [
      ...[`${APPS}/default/deployments/web`, "/api/v1/namespaces/default/pods/web-1"],
      ...["/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web"],
      ...[`${APPS}/postern-system/daemonsets/postern-agent`, `${SYSTEM}/configmaps/postern-agent`],
      `${SYSTEM}/secrets/postern-agent`,
    ];
    for (const path of paths) await this.#delete(path);
    for (const port of this.#nodePorts.splice(0)) port.close();
    await this.#stopAgent();
  }

  async #play(): Promise<void> {
    for (; !this.#ended; await pause(LOOK_MS))
      try {
        await this.#runAgent();
        await this.#runDeployment();
      } catch (error) {
        // A document's command may have changed the object meanwhile: the next look is at what it is now.
        if (!/\b(404|409)\b/.test(String(error))) throw error;
      }
  }

  async #runAgent(): Promise<void> {
    const path = `${APPS}/postern-system/daemonsets/postern-agent`;
    const daemonSet = await this.#get<Workload>(path);
    if (daemonSet === undefined) return await this.#stopAgent();
    const { generation } = daemonSet.metadata;
    if (daemonSet.status?.observedGeneration === generation) return;
    await this.#stopAgent();
    const settings = await this.#get<{ data: Record<string, string> }>(`${SYSTEM}/configmaps/postern-agent`);
    const secret = await this.#get<{ data: { token: string } }>(`${SYSTEM}/secrets/postern-agent`);
    // An agent without them waits for them. One in kube-proxy's place is not run here.
    const runs = settings !== undefined && secret !== undefined && !JSON.stringify(daemonSet).includes("POSTERN_PROXY");
    if (runs) await this.#startAgent(settings.data, Buffer.from(secret.data.token, "base64").toString());
    const counts = ["desired", "current", "updated"].map((each) => [`${each}NumberScheduled`, 1]);
    await this.#status(path, {
      ...{ observedGeneration: generation, numberMisscheduled: 0, numberReady: 1, numberAvailable: 1 },
      ...Object.fromEntries(counts),
    });
  }

  async #startAgent(settings: Readonly<Record<string, string>>, token: string): Promise<void> {
    this.#agentFolder = mkdtempSync(join(this.server.folder, "agent-"));
    const [tokenFile, socket] = [join(this.#agentFolder, "token"), join(this.#agentFolder, "health.sock")];
    writeFileSync(tokenFile, token);
    const own = {
      ...{ POSTERN_TOKEN_FILE: tokenFile, POSTERN_HEALTH_SOCKET: socket, POSTERN_NODE: "n1", POSTERN_SOURCE: "kube" },
      // Its namespace is that of its Lease, as in a pod.
      POSTERN_KUBECONFIG: this.#edited(
        "agent",
        ({ contexts: [{ context }] }) => (context.namespace = "postern-system"),
      ),
    };
    const agent = spawn(process.execPath, [join(root, "agent/main.ts")], {
      env: { PATH: process.env["PATH"], ...settings, ...own },
      stdio: ["ignore", 2, 2],
    });
    this.#agent = agent;
    for (let tries = 0; !(await isReady(socket)); tries++) {
      if (agent.exitCode !== null || tries === 900) throw new Error("the agent does not become ready");
      await pause(LOOK_MS);
    }
  }

  /** The administrator's, who knows the cluster by these names, too. */
  kubeconfig(contexts: readonly string[]): string {
    return this.#edited("admin", (config) => {
      const [{ context }] = config.contexts;
      config.contexts.push(...contexts.map((name) => ({ name, context })));
    });
  }

  #edited(who: "admin" | "agent", edit: (config: KubeConfig) => void): string {
    const config = JSON.parse(readFileSync(this.server.kubeconfig(who), "utf8")) as KubeConfig;
    edit(config);
    const file = join(this.server.folder, `${who}-of-documents.kubeconfig`);
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
    return file;
  }

  async #stopAgent(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    if (agent === undefined || agent.exitCode !== null) return;
    agent.kill("SIGTERM");
    await once(agent, "exit");
    rmSync(this.#agentFolder, { recursive: true });
  }

  async #runDeployment(): Promise<void> {
    const path = `${APPS}/default/deployments/web`;
    const deployment = await this.#get<Workload>(path);
    if (deployment === undefined) return;
    const { labels } = deployment.spec.template.metadata;
    const pods = "/api/v1/namespaces/default/pods";
    if ((await this.#get(`${pods}/web-1`)) === undefined) {
      const spec = { nodeName: "n1", containers: [{ name: "web", image: "web" }] };
      await this.server.ask("POST", pods, { body: { metadata: { name: "web-1", labels }, spec } });
      const conditions = ["Initialized", "Ready", "ContainersReady"].map((type) => ({ type, status: "True" }));
      await this.#status(`${pods}/web-1`, {
        ...{ phase: "Running", conditions, podIP: POD_ADDRESS, podIPs: [{ ip: POD_ADDRESS }] },
        containerStatuses: [
          { name: "web", image: "web", imageID: "web", ready: true, restartCount: 0, state: { running: {} } },
        ],
      });
    }
    if (deployment.status?.observedGeneration !== deployment.metadata.generation)
      await this.#status(path, {
        ...{ observedGeneration: deployment.metadata.generation, replicas: 1, updatedReplicas: 1 },
        ...{ readyReplicas: 1, availableReplicas: 1 },
      });
    const service = await this.#get<Service>("/api/v1/namespaces/default/services/web");
    const slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    if (service === undefined || (await this.#get(`${slices}/web`)) !== undefined) return;
    for (const { nodePort } of service.spec.ports)
      if (nodePort !== undefined) this.#nodePorts.push(await web(NODE_ADDRESS, nodePort));
    const targetRef = { kind: "Pod", namespace: "default", name: "web-1" };
    await this.server.ask("POST", slices, {
      body: {
        metadata: { name: "web", labels: { "kubernetes.io/service-name": "web" } },
        addressType: "IPv4",
        endpoints: [{ addresses: [POD_ADDRESS], nodeName: "n1", targetRef, conditions: { ready: true } }],
        ports: service.spec.ports.map(({ name = "", targetPort }) => ({ name, port: targetPort, protocol: "TCP" })),
      },
    });
  }

  async #get<T>(path: string): Promise<T | undefined> {
    const answer = await this.server.api("admin").call("GET", path);
    if (answer.kind === "ok") return answer.body as T;
    if (answer.kind === "status" && answer.status === 404) return undefined;
    throw new Error(`GET ${path}: ${JSON.stringify(answer)}`);
  }

  async #delete(path: string): Promise<void> {
    if ((await this.#get(path)) !== undefined)
      await this.server.ask("DELETE", path, { query: { gracePeriodSeconds: "0" } });
  }

  async #status(path: string, status: object): Promise<void> {
    await this.server.ask("PATCH", `${path}/status`, { body: { status }, contentType: MERGE_PATCH });
  }
}

async function web(address: string, port: number): Promise<Server> {
  const server = createServer((_, response) => void response.end("web-1\n")).listen(port, address);
  await once(server, "listening");
  return server;
}

async function isReady(socketPath: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const asked = request({ socketPath, path: "/readyz" }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    asked.on("error", () => resolve(false)).end();
  });
}
