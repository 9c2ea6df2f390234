// The world: network, residents, API server with all Nodes and Services, and the programs under test. Only composes. It is
// never taken down: the namespaces that it is in (isolation.ts) end with the run, and all of it with them.
import { setTimeout as delay } from "node:timers/promises";
import { ApiServer, type ApiServerOptions, type ServerHandle } from "../harness/api-server.ts";
import { run } from "../harness/command.ts";
import { makeLan, makeNetwork } from "./network.ts";
import { Cluster, type ServiceSpec } from "./objects.ts";
import {
  control,
  type NodePlace,
  nodes,
  OTHER_PORT,
  places,
  POD_PORT,
  SERVICE_PORT,
  serviceAddresses,
  serviceRange,
} from "./places.ts";
import type { Outcome } from "./messages.ts";
import { destination, wordOf } from "./play.ts";
import { cleanAgents, type Options, type Ports, type ProgramName, Running, secondPorts } from "./programs.ts";
import { Residents } from "./residents.ts";
import { families, type Mode } from "./row.ts";

/** A busy machine may need a minute to start three programs; this only ends what hangs. */
const READY_MS = 180_000;
/** From nothing: kube-proxy in mode ipvs starts a process for each entry of its sets. */
const STARTED_MS = 300_000;
/** By which it is seen whether a node knows its zone. */
const zonesService: ServiceSpec = {
  name: "known-zones",
  endpoints: [
    { pod: "a1", zones: ["z1"] },
    { pod: "c1", zones: ["z2"] },
  ],
};
/** On a busy machine, too. What is not forwarded yet is answered at once by somebody else; what is waited for is asked again. */
const ASK_MS = 2_500;
/** A program that starts is slow to answer; one that is not there refuses at once. */
const GET_MS = 10_000;
/** Services that are made to be waited for have these numbers and the following. */
const MARKERS_FROM = 200;

export const apiServerOptions: ApiServerOptions = {
  address: control.addresses.IPv4,
  serviceRanges: Object.values(serviceRange),
  inKubeProxysPlace: true,
};

export interface WorldOptions {
  readonly program: ProgramName;
  readonly mode: Mode;
  /** Of the newest kube-proxy. */
  readonly binaries: string;
  /** The agent, bundled. */
  readonly agent: string;
  /** For logs. */
  readonly folder: string;
  /** A server that runs already, and the interface that leads to it. Absent: the world has its own. */
  readonly outside?: { readonly server: ServerHandle; readonly uplink: string };
  /** How many times longer than usual everything may take. */
  readonly patience: number;
}

export class World {
  readonly residents = new Residents();
  readonly server: ApiServer;
  readonly cluster: Cluster;
  readonly numbers: ReadonlyMap<string, number>;
  readonly #services: readonly ServiceSpec[];
  readonly #options: WorldOptions;
  #programs: Running[] = [];
  #markers = 0;

  constructor(services: readonly ServiceSpec[], options: WorldOptions) {
    this.#services = [...services, zonesService];
    this.numbers = new Map(this.#services.map(({ name }, index) => [name, index + 1]));
    this.#options = options;
    this.server = new ApiServer(apiServerOptions, options.outside?.server);
    this.cluster = new Cluster(this.server);
  }

  async make(): Promise<void> {
    const owned = this.#services.flatMap(({ name, balancerOn }) => {
      if (balancerOn === undefined) return [];
      const { balancer } = serviceAddresses(this.numberOf(name));
      return [{ node: balancerOn, addresses: Object.values(balancer) }];
    });
    await makeLan(this.#options.outside?.uplink);
    await Promise.all([makeNetwork(owned).then(() => this.#populate()), this.#makeCluster()]);
  }

  numberOf(service: string): number {
    const number = this.numbers.get(service);
    if (number === undefined) throw new Error(`there is no Service ${service}`);
    return number;
  }

  specOf(name: string): ServiceSpec {
    const spec = this.#services.find((each) => each.name === name);
    if (spec === undefined) throw new Error(`there is no Service ${name}`);
    return spec;
  }

  /** On every node; in place of what ran before. Returns when they have done what the API server says. */
  async start(options: Options, mode: Mode = this.mode, program = this.#options.program): Promise<void> {
    await this.stop();
    this.#programs = this.#spawn(program, mode, options);
    await this.#markerIsForwarded(STARTED_MS);
    // kube-proxy loses its node's zone when it hears of it while it is still starting: it has to hear of it once more.
    if (program === "kube-proxy") await this.#renewZones();
    await this.#zonesAreKnown();
    await this.settled();
  }

  /** A second one starts beside the first on every node; when it has made its rules, and after `meanwhile`, the first is told to stop. */
  async replace(
    program: ProgramName,
    mode: Mode = this.mode,
    meanwhile = async (): Promise<void> => {},
  ): Promise<void> {
    const first = this.#programs;
    const second = this.#spawn(program, mode, {}, program === "agent" ? undefined : secondPorts);
    this.#programs = [...first, ...second];
    const isReady = async (each: Running): Promise<boolean> => {
      if (program === "agent") return await each.isReady();
      const page = await this.get(each.node, `http://127.0.0.1:${each.ports.metrics}/metrics`);
      return page.kind === "page" && hasSynced(page.body);
    };
    await this.until("the second programs have synced", async () =>
      (await Promise.all(second.map(isReady))).every(Boolean),
    );
    await meanwhile();
    this.#programs = second;
    await Promise.all(first.map((each) => each.stop()));
    await this.settled();
  }

  /** At once, and without a word to them. */
  async kill(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.kill()));
    this.#programs = [];
  }

  /** What the kernel has then stays. */
  async stop(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.stop()));
    this.#programs = [];
  }

  /**
   * Until every node forwards as all objects say that were written before: a Service is made and waited for. Watches keep
   * the order of changes, so whoever forwards this one has heard of all before it, both of Services and of slices.
   */
  async settled(): Promise<void> {
    await this.#markerIsForwarded();
    // ipvs' entries, servers and addresses are written one after the other, so the marker may be forwarded before others are. Whoever
    // forwards a second one, which was made after that, has come to the end of what it did then.
    if (this.mode === "ipvs") await this.#markerIsForwarded();
    const healthy = this.#programs.map(({ node, ports }) =>
      this.until(`the program on node ${node} is healthy`, async () => {
        const url = `http://127.0.0.1:${ports.health}/healthz`;
        const outcome = await this.get(node, url);
        return outcome.kind === "page" && outcome.status === 200;
      }),
    );
    await Promise.all(healthy);
  }

  async #markerIsForwarded(withinMs = READY_MS): Promise<void> {
    const number = MARKERS_FROM + this.#markers++;
    const marker: ServiceSpec = { name: `marker-${number}`, endpoints: ["a1"], type: "ClusterIP", protocols: ["TCP"] };
    await this.cluster.addService(marker, number);
    // Each is asked until it has done it once: a busy machine answers seldom all of them in time.
    const forwarded = nodes.map(({ name }) =>
      this.until(
        `marker-${number} is forwarded by node ${name}`,
        async () => {
          for (const each of this.#programs) each.mustRun();
          return (await this.#words(name, "ClusterIP", number, 1)).every((word) => word.startsWith("a1"));
        },
        withinMs,
      ),
    );
    await Promise.all(forwarded);
  }

  /** Until apiBack(). A server outside of the virtual machine goes on, and the cable that leads to it is pulled. */
  async apiAway(): Promise<void> {
    const { outside } = this.#options;
    if (outside === undefined) await this.server.killApi();
    else await run(["ip", "link", "set", outside.uplink, "down"]);
  }

  async apiBack(): Promise<void> {
    const { outside } = this.#options;
    if (outside === undefined) await this.server.startApi();
    else await run(["ip", "link", "set", outside.uplink, "up"]);
  }

  /** Takes the agent's rules off a node; returns what it said. */
  cleanAgents(node: string): Promise<string> {
    return cleanAgents(this.#options.agent, node);
  }

  get(from: string, url: string): Promise<Outcome> {
    return this.residents.ask(from, { do: "get", url, withinMs: GET_MS * this.patience });
  }

  /** Asks again and again; `what` says what was waited for when it does not come. */
  async until(what: string, met: () => Promise<boolean>, withinMs = READY_MS): Promise<void> {
    const patientMs = withinMs * this.patience;
    const deadline = performance.now() + patientMs;
    while (!(await met())) {
      if (performance.now() > deadline) throw new Error(`not within ${patientMs / 1000} s: ${what}`);
      await delay(50);
    }
  }

  #spawn(program: ProgramName, mode: Mode, options: Options, ports?: Ports): Running[] {
    const { binaries, agent, folder } = this.#options;
    const kubeconfig = this.server.kubeconfig(program);
    const its = { mode, options, kubeconfig, folder, binaries, agent, ...(ports && { ports }) };
    return nodes.map(({ name }) => new Running(program, { node: name, ...its }));
  }

  async #renewZones(): Promise<void> {
    for (const zone of [() => "none", (node: NodePlace) => node.zone]) {
      await Promise.all(nodes.map((node) => this.cluster.setZone(node.name, zone(node))));
    }
  }

  /** What programs hear of Nodes has no order with what they hear of Services. */
  async #zonesAreKnown(): Promise<void> {
    await this.until("every node knows its zone", async () => {
      const asked = nodes.map((node) => this.#words(node.name, "ClusterIP", this.numberOf(zonesService.name), 10));
      const words = await Promise.all(asked);
      return nodes.every(({ zone }, index) =>
        words[index]?.every((word) => word.startsWith(zone === "z1" ? "a1" : "c1")),
      );
    });
  }

  /** Of so many connections, in both families. */
  async #words(from: string, to: string, number: number, count: number): Promise<string[]> {
    const asked = families.flatMap((family) =>
      Array.from({ length: count }, () =>
        this.residents.ask(from, {
          ...({ do: "ask", protocol: "TCP", family, withinMs: ASK_MS * this.patience } as const),
          ...destination(to, number, family),
        }),
      ),
    );
    return (await Promise.all(asked)).map(wordOf);
  }

  get patience(): number {
    return this.#options.patience;
  }

  get mode(): Mode {
    return this.#options.mode;
  }

  async #populate(): Promise<void> {
    await this.residents.start(places);
    // The host answers on every NodePort, so that a reject is a rule's doing, and a packet that no rule caught is seen.
    const nodePorts = [...this.numbers.values()].map((number) => serviceAddresses(number).nodePort);
    await Promise.all([
      ...nodes.map(({ name }) => this.residents.serve(name, nodePorts)),
      ...nodes.flatMap(({ pods }) => pods.map(({ name }) => this.residents.serve(name, [POD_PORT]))),
      this.residents.serve("gateway", [SERVICE_PORT, OTHER_PORT]),
    ]);
  }

  async #makeCluster(): Promise<void> {
    if (this.#options.outside === undefined) await this.server.start();
    await Promise.all(nodes.map((node) => this.cluster.addNode(node)));
    await Promise.all(this.#services.map((service) => this.cluster.addService(service, this.numberOf(service.name))));
  }
}

/** kube-proxy's metrics: once for each family. */
const hasSynced = (metrics: string): boolean =>
  [...metrics.matchAll(/^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{.*\} [1-9]/gm)].length === families.length;
