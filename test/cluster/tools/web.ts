// What tests put on the cluster and ask of it: a Kubernetes namespace of their own with agnhost's
// `netexec` as "web", and requests from a node, a pod or the control plane. Disposing deletes the namespace.
import { randomBytes } from "node:crypto";
import { run } from "../harness/command.ts";
import { agnhostImage } from "../harness/images.ts";
import { kubectl } from "../harness/places.ts";

export interface WebOptions {
  readonly replicas: number;
  /** Pods that differ from the default ones, for a rollout. */
  readonly version?: string;
  /** Pods end at once when told to, with whatever they had accepted; else they go on answering for a while. */
  readonly abrupt?: boolean;
  /** No node may have two pods more than another; where one takes none, the rollout waits for it. Else the scheduler only tries. */
  readonly onEveryNode?: boolean;
}

export class TestNamespace {
  readonly name = `test-${randomBytes(4).toString("hex")}`;

  static async create(): Promise<TestNamespace> {
    const namespace = new TestNamespace();
    await run([kubectl, "create", "namespace", namespace.name]);
    // Pods are refused until the namespace has it.
    await namespace.kubectl("wait", "--for=create", "--timeout=60s", "serviceaccount/default");
    return namespace;
  }

  kubectl(...args: string[]): Promise<string> {
    return run([kubectl, "--namespace", this.name, ...args]);
  }

  async apply(...objects: object[]): Promise<void> {
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
    await run([kubectl, "--namespace", this.name, "apply", "-f", "-"], { input });
  }

  async deployWeb(options: WebOptions): Promise<void> {
    await this.apply(webDeployment(options));
    await this.kubectl("rollout", "status", "--timeout=120s", "deployment/web");
  }

  /** Pods that are there to stay; those of the Deployment "web". */
  async pods(selector = "app=web"): Promise<{ name: string; node: string; address: string }[]> {
    const columns = "custom-columns=:metadata.name,:spec.nodeName,:status.podIP,:metadata.deletionTimestamp";
    const lines = await this.kubectl("get", "pods", "-l", selector, "--no-headers", "-o", columns);
    return lines
      .trim()
      .split("\n")
      .flatMap((line) => {
        const [name = "", node = "", address = "", deleted] = line.split(/\s+/);
        return deleted === "<none>" ? [{ name, node, address }] : [];
      });
  }

  async field(object: string, path: string): Promise<string> {
    return this.kubectl("get", object, "-o", `jsonpath={${path}}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run([kubectl, "delete", "namespace", this.name, "--wait=false"]);
  }
}

/** Host names of the pods that answered `count` requests, each on a connection of its own. */
export async function askFrom(prefix: readonly string[], target: string, count = 1): Promise<string[]> {
  const script = `for i in $(seq ${count}); do curl -sS --fail --max-time 5 http://${target}/hostname; echo; done`;
  return (await run([...prefix, "sh", "-ec", script])).trim().split("\n");
}

export function webService(name: string, spec: object): object {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { selector: { app: "web" }, ports: [{ port: 8888, targetPort: 8080 }], ...spec },
  };
}

function webDeployment({ replicas, version = "1", abrupt = false, onEveryNode = false }: WebOptions): object {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas,
      selector: { matchLabels: { app: "web" } },
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: { labels: { app: "web", version } },
        spec: {
          containers: [
            {
              name: "web",
              image: agnhostImage,
              // Goes on answering for a while after SIGTERM, so that nobody who was sent to it is refused.
              args: ["netexec", "--http-port=8080", ...(abrupt ? [] : ["--delay-shutdown=3"])],
              readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, periodSeconds: 1 },
            },
          ],
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: "kubernetes.io/hostname",
              whenUnsatisfiable: onEveryNode ? "DoNotSchedule" : "ScheduleAnyway",
              labelSelector: { matchLabels: { app: "web" } },
            },
          ],
        },
      },
    },
  };
}
