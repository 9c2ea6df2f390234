// The programs under test as their users start them: `npm start`, and `npm run edge` with agents that read YAML; each with
// Services before backends of a test's own. Owns their processes and folders: stop() leaves nothing.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { request } from "undici";
import { z } from "zod";
import { freePort } from "../../src/host/process/free-port.ts";
import { commandOf, descendants, edgeSupervisor, isAlive } from "../e2e/emulation.ts";
import { type Place, Wire } from "./wire.ts";

const root = new URL("../..", import.meta.url).pathname;
const READY_MS = 60_000;

export interface Service {
  readonly name: string;
  readonly transport: "tunnel" | "direct";
  readonly endpoints: { readonly addresses: readonly string[]; readonly port: number };
  /** More of its spec. */
  readonly spec?: Readonly<Record<string, unknown>>;
  /** The listener port; absent: a free one. */
  readonly port?: number;
}

/** Where a Service is reached, and as whom. */
export interface Door extends Place {
  readonly authority: string;
}

export interface Program {
  readonly name: "start" | "edge";
  /** The admin host's. */
  readonly api: { readonly url: string; readonly token: string; readonly place: Door };
  /** What it said for people. */
  readonly said: () => string;
  door(service: string): Door;
  /** Pids of agents, by node. */
  readonly agents: ReadonlyMap<string, number>;
  /** The listener proxy and workerd (not npm, not agents): what must not end. */
  servers(): number[];
  /** Writes the Services anew. */
  publish(services: readonly Service[]): Promise<void>;
  restartWorkerd(): void;
  stop(): Promise<void>;
}

interface Node {
  readonly name: string;
  readonly address: string;
  /** Where the edge reaches its NodePorts. */
  readonly direct?: string;
}

const ports = new Map<string, number>();
const nodePorts = new Map<string, number>();

/** Ports once chosen for a Service stay, so that manifests can be written again. */
async function portsOf(
  program: string,
  { name, port }: Service,
  address: string,
): Promise<{ port: number; nodePort: number }> {
  const key = `${program}/${name}`;
  if (!ports.has(key)) ports.set(key, port ?? (await freePort(address)));
  if (!nodePorts.has(key)) nodePorts.set(key, 30_000 + Math.floor(Math.random() * 2_700));
  return { port: ports.get(key) as number, nodePort: nodePorts.get(key) as number };
}

function objectsOf(
  nodes: readonly Node[],
  services: readonly (Service & { port: number; nodePort: number })[],
): object[] {
  return [
    ...nodes.map(({ name, address, direct }) => ({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, annotations: direct === undefined ? {} : { "postern.dev/direct-address": direct } },
      status: { addresses: [{ type: "InternalIP", address }], conditions: [{ type: "Ready", status: "True" }] },
    })),
    ...services.flatMap(({ name, transport, endpoints, spec, port, nodePort }) => [
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: {
          name,
          namespace: "default",
          uid: `uid-${name}`,
          annotations: transport === "direct" ? { "postern.dev/transport": "direct" } : {},
        },
        spec: {
          type: "LoadBalancer",
          loadBalancerClass: "postern.dev/edge",
          ports: [{ name: "http", port, protocol: "TCP", ...(transport === "direct" ? { nodePort } : {}) }],
          ...spec,
        },
      },
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: `${name}-1`, namespace: "default", labels: { "kubernetes.io/service-name": name } },
        addressType: "IPv4",
        ports: [{ name: "http", port: endpoints.port, protocol: "TCP" }],
        // The endpoints are spread over the nodes.
        endpoints: endpoints.addresses.map((address, i) => ({
          addresses: [address],
          nodeName: nodes[i % nodes.length]?.name,
          conditions: { ready: true, serving: true, terminating: false },
        })),
      },
    ]),
  ];
}

function write(folder: string, objects: readonly object[]): void {
  writeFileSync(join(folder, "all.yaml"), objects.map((object) => JSON.stringify(object)).join("\n---\n"));
}

/** A child and what it said; `line`: the first on stdout. */
function run(command: string, args: readonly string[]): { child: ChildProcess; said: string[]; line: Promise<string> } {
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const said: string[] = [];
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => said.push(line));
  const stdout = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const ended = once(child, "exit").then((): never => {
    throw new Error(`${command} ${args.join(" ")} ended:\n${said.join("\n")}`);
  });
  ended.catch(() => {});
  const line = Promise.race([once(stdout, "line").then(([text]) => String(text)), ended]);
  return { child, said, line };
}

async function stopped(child: ChildProcess): Promise<void> {
  const pids = child.pid === undefined ? [] : descendants(child.pid);
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    await Promise.race([exit, delay(10_000, undefined, { ref: false })]);
  }
  for (const deadline = performance.now() + 10_000; pids.some(isAlive); await delay(50)) {
    if (performance.now() < deadline) continue;
    for (const pid of pids.filter(isAlive)) process.kill(pid, "SIGKILL");
    break;
  }
}

export async function startNpm(services: readonly Service[]): Promise<Program> {
  const manifests = mkdtempSync(join(tmpdir(), "postern-start-"));
  const nodes = [1, 2].map((i) => ({ name: `n${i}`, address: `127.53.1.${i}`, direct: `127.53.1.${i}` }));
  const publish = async (wanted: readonly Service[]) =>
    write(
      manifests,
      objectsOf(
        nodes,
        await Promise.all(wanted.map(async (each) => ({ ...each, ...(await portsOf("start", each, "127.0.0.1")) }))),
      ),
    );
  await publish(services);
  const port = await freePort();
  const { child, said, line } = run("npm", [
    "start",
    "--silent",
    "--",
    "--json",
    "--port",
    String(port),
    "--manifests",
    manifests,
  ]);
  const schema = z.object({
    api: z.object({ tokenFile: z.string() }),
    nodes: z.array(z.object({ name: z.string(), pid: z.int() })),
  });
  const ready = schema.parse(JSON.parse(await line));
  const agents = new Map(ready.nodes.map(({ name, pid }) => [name, pid]));
  return {
    name: "start",
    api: {
      url: `http://127.0.0.1:${port}`,
      token: readFileSync(ready.api.tokenFile, "utf8").trim(),
      place: { host: "127.0.0.1", port, authority: `127.0.0.1:${port}` },
    },
    said: () => said.join("\n"),
    door: (service) => doorOf("start", "127.0.0.1", service),
    agents,
    servers: () => serversOf(child, agents),
    publish,
    restartWorkerd: () => {
      throw new Error("npm start does not restart workerd");
    },
    async stop() {
      await stopped(child);
      rmSync(manifests, { recursive: true, force: true });
    },
  };
}

function doorOf(program: string, host: string, service: string): Door {
  const port = ports.get(`${program}/${service}`);
  if (port === undefined) throw new Error(`no Service ${service} in ${[...ports.keys()].join()}`);
  return { host, port, authority: `${service}-default-home.localhost:${port}` };
}

function serversOf(child: ChildProcess, agents: ReadonlyMap<string, number>): number[] {
  const others = new Set([...agents.values()]);
  return descendants(child.pid as number).filter((pid) => !others.has(pid) && !/agent\/main/.test(commandOf(pid)));
}

export interface EdgeOptions {
  /** One of 127.50.*: tests that run at the same time have one each. */
  readonly address: string;
  /** More for `npm run edge`. */
  readonly args?: readonly string[];
  /** How many nodes; absent: 2. */
  readonly nodes?: number;
}

export interface EdgeProgram extends Program {
  readonly state: string;
  /** The agent of this node, started (again). */
  startAgent(node: string): void;
  /** The whole program anew, on the same state. */
  readonly npm: number;
}

export async function startEdge(
  services: readonly Service[],
  { address, args = [], nodes: count = 2 }: EdgeOptions,
): Promise<EdgeProgram> {
  const folder = mkdtempSync(join(tmpdir(), "postern-conformance-"));
  const state = join(folder, "state");
  const manifests = join(folder, "manifests");
  mkdirSync(manifests);
  const third = address.split(".")[2];
  const nodes: Node[] = Array.from({ length: count }, (_, i) => {
    const at = `127.51.${third}.${i + 1}`;
    return { name: `n${i + 1}`, address: at, direct: at };
  });
  const publish = async (wanted: readonly Service[]) =>
    write(
      manifests,
      objectsOf(
        nodes,
        await Promise.all(wanted.map(async (each) => ({ ...each, ...(await portsOf(address, each, address)) }))),
      ),
    );
  await publish(services);
  const port = await freePort(address);
  const { child, said, line } = run("npm", [
    ...["run", "--silent", "edge", "--", "--address", address, "--port", String(port), "--domain", "localhost"],
    ...["--state", state, "--join", "home", "--json", "--direct-loopback", ...args],
  ]);
  const agents = new Map<string, number>();
  const children = new Map<string, ChildProcess>();
  const stop = async () => {
    for (const each of children.values()) each.kill("SIGKILL");
    await stopped(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const { adminTokenFile } = z.object({ adminTokenFile: z.string() }).parse(JSON.parse(await line));
    const url = `http://${address}:${port}`;
    const token = readFileSync(adminTokenFile, "utf8").trim();
    const minted = await request(`${url}/api/v1/clusters/home/token`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
    writeFileSync(join(folder, "token"), z.object({ token: z.string() }).parse(await minted.body.json()).token, {
      mode: 0o600,
    });
    const startAgent = (name: string): void => {
      const node = nodes.find((each) => each.name === name) as Node;
      const agent = spawn(
        process.execPath,
        [
          ...["agent/main.ts", "--edge", url, "--insecure-plain-http", "--cluster", "home", "--node", name],
          ...["--token-file", join(folder, "token"), "--manifests", manifests, "--log-level", "warn"],
          ...["--address", node.address, "--proxy", "userspace"],
        ],
        { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
      );
      for (const stream of [agent.stdout, agent.stderr])
        createInterface({ input: stream }).on("line", (text) => said.push(`${name}: ${text}`));
      children.set(name, agent);
      agents.set(name, agent.pid as number);
    };
    for (const { name } of nodes) startAgent(name);
    const program: EdgeProgram = {
      name: "edge",
      state,
      api: { url, token, place: { host: address, port, authority: `${address}:${port}` } },
      said: () => said.join("\n"),
      door: (service) => doorOf(address, address, service),
      agents,
      servers: () => serversOf(child, new Map()),
      publish,
      restartWorkerd: () => process.kill(edgeSupervisor(child.pid as number), "SIGHUP"),
      startAgent,
      npm: child.pid as number,
      stop,
    };
    const answering = async (transport: string, withinMs: number) => {
      const names = services.filter(
        (each) => each.transport === transport && each.spec?.["loadBalancerSourceRanges"] === undefined,
      );
      return allAnswer(
        names.map(({ name }) => program.door(name)),
        withinMs,
      );
    };
    const unserved = (await answering("tunnel", READY_MS)) ?? (await answering("direct", READY_MS));
    if (unserved !== undefined) throw new Error(`the edge does not serve: ${unserved}\n${said.slice(-40).join("\n")}`);
    await tunnelsUp(program, nodes.length);
    return program;
  } catch (error) {
    await stop();
    throw error;
  }
}

async function allAnswer(doors: readonly Door[], withinMs: number): Promise<string | undefined> {
  const deadline = performance.now() + withinMs;
  for (const door of doors) {
    for (;;) {
      const status = await statusAt(door);
      if (status >= 200 && status < 300) break;
      if (performance.now() > deadline) return `${door.authority} is answered with ${status}`;
      await delay(100);
    }
  }
  return undefined;
}

export async function statusAt(door: Door, path = "/", withinMs = 5_000): Promise<number> {
  try {
    using wire = await Wire.connect(door);
    wire.send(`GET ${path} HTTP/1.1\r\nHost: ${door.authority}\r\nConnection: close\r\n\r\n`, "GET");
    return (await wire.answer(withinMs))?.status ?? 0;
  } catch {
    return 0;
  }
}

const nodesSchema = z.object({
  nodes: z.array(
    z.object({
      node: z.string(),
      tunnel: z.array(z.object({ available: z.boolean(), connections: z.array(z.object({ inFlight: z.int() })) })),
    }),
  ),
});

/** Each node's streams in flight, by what GET …/nodes says; a node without a connection is absent. */
export async function inFlight({ api }: Pick<Program, "api">): Promise<Map<string, number>> {
  const { body, statusCode } = await request(`${api.url}/api/v1/clusters/home/nodes`, {
    headers: { authorization: `Bearer ${api.token}` },
  });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`GET …/nodes: ${statusCode} ${text}`);
  const { nodes } = nodesSchema.parse(JSON.parse(text));
  return new Map(
    nodes.flatMap(({ node, tunnel }) => {
      const connections = tunnel.flatMap((each) => each.connections);
      return connections.length === 0
        ? []
        : [[node, connections.reduce((sum, each) => sum + each.inFlight, 0)] as const];
    }),
  );
}

async function tunnelsUp(program: Pick<Program, "api">, count: number): Promise<void> {
  for (const deadline = performance.now() + READY_MS; performance.now() < deadline; await delay(100))
    if ((await inFlight(program).catch(() => new Map())).size >= count) return;
  throw new Error("the agents' tunnels are not up within a minute");
}

/** Open file descriptors of a process. */
export function fdsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
