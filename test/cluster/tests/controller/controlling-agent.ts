// The part of an agent that is a controller, in the test's process: the real source, leader, publisher, status writer and
// Events, asking a real API server as the agent's own service account. Records every request of its own.
import pino from "pino";
import type { KubeApi } from "../../../../agent/kube/api.ts";
import { exposedAs } from "../../../../agent/plan/eligible.ts";
import { buildSnapshot } from "../../../../agent/plan/snapshot.ts";
import { type Controller, startController } from "../../../../agent/controller/controller.ts";
import type { LeaseTimes } from "../../../../agent/controller/leader.ts";
import { kubeSource } from "../../../../agent/source/kube/index.ts";
import type { Edge } from "../../../agent/publish/edge.ts";
import type { ApiServer } from "../../harness/api-server.ts";

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly body: object | undefined;
  readonly at: number;
}

export interface AgentParts {
  readonly name?: string;
  readonly defaultClass?: boolean;
  readonly ignoreExcludeLabel?: boolean;
  readonly leaseTimes?: LeaseTimes;
  readonly askAgainMs?: number;
  readonly installed?: boolean;
}

export class ControllingAgent {
  readonly name: string;
  readonly api: KubeApi;
  /** Without the lists and watches of the source. */
  readonly requests: Request[] = [];
  readonly logged: { readonly level: number; readonly msg: string }[] = [];
  leading = false;
  /** Set to lose requests on the way, as a broken network would. */
  isCutOff: (request: Request) => boolean = () => false;
  readonly #controller: Controller;
  readonly #subscription: Disposable;

  constructor(
    server: ApiServer,
    edge: Edge,
    { name = "n1", defaultClass = false, ignoreExcludeLabel = false, installed = false, ...times }: AgentParts = {},
  ) {
    this.name = name;
    const api = server.api("agent");
    this.api = api;
    const call = api.call.bind(api);
    api.call = async (method, path, options) => {
      const request = { method, path, body: options?.body, at: performance.now() };
      const isRead = method === "GET" && !path.includes("/leases/") && !path.includes("/daemonsets/");
      if (!isRead) this.requests.push(request);
      return this.isCutOff(request) ? { kind: "unreachable", why: "cut off by the test" } : call(method, path, options);
    };
    const rules = {
      defaultClass,
      allowExternalName: ["example.com"],
      ignoreExcludeLabel,
      clusterDomain: "cluster.local",
      endpointAlgorithms: ["random"],
    } as const;
    this.#controller = startController({
      api,
      identity: `pod-${name}`,
      installed,
      node: name,
      edge: edge.url,
      cluster: "home",
      token: () => "pst_home_0123456789",
      log: pino({ level: "debug" }, { write: (line: string) => this.logged.push(JSON.parse(line)) }),
      exposedAs: (service) => exposedAs(service, rules),
      buildSnapshot: (observed) => buildSnapshot(observed, rules),
      onResult: () => undefined,
      onLeading: (leading) => (this.leading = leading),
      ...times,
    });
    this.#subscription = kubeSource({ api }).subscribe((observed) => this.#controller.offer(observed));
  }

  patches(name: string): readonly Request[] {
    return this.requests.filter(({ method, path }) => method === "PATCH" && path.includes(`/services/${name}/status`));
  }

  /** As SIGTERM does it. */
  async stop(): Promise<void> {
    await this.#controller.stop();
    this.#subscription[Symbol.dispose]();
  }

  /** As SIGKILL does it: not a word more to anybody. */
  async kill(): Promise<void> {
    this.#subscription[Symbol.dispose]();
    this.isCutOff = () => true;
    await this.stop();
  }
}
