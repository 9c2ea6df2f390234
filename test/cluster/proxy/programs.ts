// What the table judges: a program on each node that forwards Services. kube-proxy is the reference; the agent is to pass
// the same table in its place. Each starts one process inside a node's namespace and is told the same configuration.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { stop } from "esbuild";
import { bundleAgent } from "../../../src/host/workerd/agent-assets.ts";
import { run } from "../harness/command.ts";
import { inside } from "../harness/places.ts";
import { podRange } from "./places.ts";
import type { Mode } from "./row.ts";

export const programNames = ["kube-proxy", "agent"] as const;
export type ProgramName = (typeof programNames)[number];

/** What a table may want different from a usual node. */
export interface Options {
  readonly masqueradeAll?: boolean;
  /** Absent: pods of the cluster are known by their addresses. */
  readonly detectsPods?: boolean;
  /** By mode; absent: the mode's own default. */
  readonly nodePortAddresses?: { readonly [mode in Mode]?: readonly string[] };
}

export interface Start {
  readonly node: string;
  readonly mode: Mode;
  readonly options: Options;
  readonly kubeconfig: string;
  /** For its configuration and its log. */
  readonly folder: string;
  /** Of the newest kube-proxy. */
  readonly binaries: string;
  /** The agent, bundled. */
  readonly agent: string;
  /** Absent: kube-proxy's own. */
  readonly ports?: Ports;
}

export interface Ports {
  readonly health: number;
  readonly metrics: number;
}
/** What a second kube-proxy has while the first still runs. A second agent gets the first one's when that has ended. */
export const secondPorts: Ports = { health: 10266, metrics: 10259 };
const usualPorts: Ports = { health: 10256, metrics: 10249 };

/** So far: two on one node have each their own. */
let sockets = 0;

export class Running {
  readonly node: string;
  readonly ports: Ports;
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly #socket: string;

  constructor(program: ProgramName, start: Start) {
    this.node = start.node;
    this.ports = start.ports ?? usualPorts;
    this.#log = `${start.folder}/${program}-${start.node}.log`;
    this.#socket = `${start.folder}/${start.node}-${sockets++}.sock`;
    const config = `${start.folder}/${program}-${start.node}.json`;
    writeFileSync(config, JSON.stringify(configuration(start)));
    const [enter = "", ...prefix] = inside(start.node);
    const output = openSync(this.#log, "a");
    this.#child = spawn(enter, [...prefix, ...commands[program](start, config, this.#socket)], {
      stdio: ["ignore", output, output],
    });
  }

  /** Throws what it said at last when it has ended by itself. */
  mustRun(): void {
    if (this.isRunning) return;
    const lines = readFileSync(this.#log, "utf8").trimEnd().split("\n").slice(-15);
    throw new Error(`the program on node ${this.node} has ended; its last words:\n${lines.join("\n")}`);
  }

  /** Of an agent, as its pod's probe asks it: it has made its rules. False while nobody answers. */
  async isReady(): Promise<boolean> {
    const [asked] = await once(get({ socketPath: this.#socket, path: "/readyz" }), "response").catch(() => []);
    const answer = asked as IncomingMessage | undefined;
    answer?.resume();
    return answer?.statusCode === 200;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Without a word to it: it cannot finish anything. */
  async kill(): Promise<void> {
    if (!this.isRunning) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  /** As a supervisor does; its rules stay. */
  async stop(): Promise<void> {
    if (!this.isRunning) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
    await ended;
    clearTimeout(timer);
  }
}

/** A KubeProxyConfiguration, which is JSON as well as YAML. */
function configuration({ node, mode, options, kubeconfig, ports = usualPorts }: Start): object {
  const { masqueradeAll = false, detectsPods = true, nodePortAddresses } = options;
  const timing = { syncPeriod: "30s", minSyncPeriod: "0.1s" };
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    hostnameOverride: node,
    clientConnection: { kubeconfig },
    mode,
    ...(detectsPods && { clusterCIDR: `${podRange.IPv4},${podRange.IPv6}` }),
    nodePortAddresses: nodePortAddresses?.[mode] ?? null,
    iptables: { ...timing, masqueradeAll },
    nftables: { ...timing, masqueradeAll },
    // In the virtual machine one sync may take longer than that, and nothing else would be done any more.
    ipvs: { ...timing, syncPeriod: "10m" },
    // They belong to the machine, and cannot be set in a namespace.
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    healthzBindAddress: `0.0.0.0:${ports.health}`,
    metricsBindAddress: `127.0.0.1:${ports.metrics}`,
  };
}

const commands: Readonly<Record<ProgramName, (start: Start, config: string, socket: string) => string[]>> = {
  "kube-proxy": ({ binaries }, config) => [`${binaries}/kube-proxy`, "--config", config, "--v", "2"],
  agent: ({ agent, node, mode, kubeconfig, ports = usualPorts }, config, socket) => [
    ...[process.execPath, agent, "--proxy", "all", "--proxy-mode", mode, "--kube-proxy-config", config],
    ...["--source", "kube", "--kubeconfig", kubeconfig, "--node", node, "--health-socket", socket],
    ...["--proxy-health-address", `0.0.0.0:${ports.health}`, "--proxy-metrics-address", `127.0.0.1:${ports.metrics}`],
  ],
};

const repository = new URL("../../..", import.meta.url).pathname;

/** As users get it: one file, which starts sooner than many, above all in the virtual machine. Returns its path in `folder`. */
export async function bundleInto(folder: string, root = repository): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const { "main.mjs": text } = await bundleAgent(root);
  writeFileSync(`${folder}/agent.mjs`, text);
  await stop();
  return `${folder}/agent.mjs`;
}

/** Takes the agent's rules off a node; returns what it said. */
export const cleanAgents = (agent: string, node: string): Promise<string> =>
  run([...inside(node), process.execPath, agent, "cleanup"]);
