// `npm run edge` as its user runs it, with an agent that reads YAML: joins, opens and closes ports, keeps its state over
// restarts, and loses no request when workerd dies.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { request } from "undici";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { freePort } from "../../src/host/process/free-port.ts";
import { bundleAgent } from "../../src/host/workerd/agent-assets.ts";
import { descendants, edgeSupervisor, isAlive } from "./emulation.ts";

const root = new URL("../..", import.meta.url).pathname;
const servingSchema = z.object({ url: z.url(), adminTokenFile: z.string(), join: z.string() });
const ADDRESS = "127.0.7.1";

let folder: string;
let port: number;
let listener: number;
let pod: Server;
let edge: ChildProcess;
let serving: z.infer<typeof servingSchema>;
let agent: ChildProcess;
/** Of the install code. */
let manifest: string;
/** What the edge said, for people. */
const said: string[] = [];
const host = (): string => `web-default-home.apps.test${listener === 80 ? "" : `:${listener}`}`;
const url = (): string => `http://${ADDRESS}:${listener}/`;

async function startEdge(): Promise<void> {
  const args = [
    "--address",
    ADDRESS,
    "--port",
    String(port),
    "--domain",
    "apps.test",
    "--state",
    join(folder, "state"),
  ];
  edge = spawn("npm", ["run", "--silent", "edge", "--", ...args, "--refuse", "reset", "--join", "home", "--json"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  createInterface({ input: edge.stderr as NodeJS.ReadableStream }).on("line", (line) => said.push(line));
  const stdout = createInterface({ input: edge.stdout as NodeJS.ReadableStream });
  const ended = once(edge, "exit").then(() => {
    throw new Error(`npm run edge ended:\n${said.join("\n")}`);
  });
  ended.catch(() => {});
  const [line] = await Promise.race([once(stdout, "line"), ended]);
  serving = servingSchema.parse(JSON.parse(String(line)));
}

async function stopEdge(): Promise<void> {
  const pids = descendants(edge.pid as number);
  edge.kill("SIGTERM");
  await once(edge, "exit");
  await until(() => !pids.some(isAlive));
}

const until = (met: () => boolean | Promise<boolean>) => vi.waitUntil(met, { timeout: 30_000, interval: 50 });

async function get(url: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  const { statusCode, body } = await request(url, { headers });
  return { status: statusCode, body: await body.text() };
}

function writeYaml(withService: boolean): void {
  const { port: target } = pod.address() as AddressInfo;
  const objects = [
    {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "n1" },
      status: {
        addresses: [{ type: "InternalIP", address: ADDRESS }],
        conditions: [{ type: "Ready", status: "True" }],
      },
    },
    ...(withService
      ? [
          {
            apiVersion: "v1",
            kind: "Service",
            metadata: { name: "web", namespace: "default", uid: "u1", creationTimestamp: "2026-01-01T00:00:00Z" },
            spec: {
              type: "LoadBalancer",
              loadBalancerClass: "postern.dev/edge",
              ports: [{ port: listener, protocol: "TCP", targetPort: target }],
            },
          },
          // What it asks for is not to be had here: the admin host's port, and one where TLS would have to end.
          {
            apiVersion: "v1",
            kind: "Service",
            metadata: { name: "greedy", namespace: "default", uid: "u2", creationTimestamp: "2026-01-01T00:00:00Z" },
            spec: {
              type: "LoadBalancer",
              loadBalancerClass: "postern.dev/edge",
              ports: [
                { name: "a", port, protocol: "TCP", targetPort: target },
                { name: "b", port: 443, protocol: "TCP", targetPort: target },
              ],
            },
          },
        ]
      : []),
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: "web-1", namespace: "default", labels: { "kubernetes.io/service-name": "web" } },
      addressType: "IPv4",
      ports: [{ name: "", port: target, protocol: "TCP" }],
      endpoints: [{ addresses: [ADDRESS], nodeName: "n1", conditions: { ready: true } }],
    },
  ];
  writeFileSync(join(folder, "manifests/all.yaml"), objects.map((object) => JSON.stringify(object)).join("\n---\n"));
}

/** The answer's body; undefined: none came. */
async function ask(): Promise<string | undefined> {
  try {
    const { status, body } = await get(url(), { host: host() });
    return status === 200 ? body : undefined;
  } catch {
    return undefined;
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-edge-"));
  mkdirSync(join(folder, "manifests"));
  pod = createServer((_, res) => res.end("pod"));
  pod.listen(0, ADDRESS);
  await once(pod, "listening");
  [port, listener] = [await freePort(ADDRESS), await freePort(ADDRESS)];
  writeYaml(true);
  await startEdge();
  // What the printed command applies holds this cluster's token.
  const answer = await get(serving.join.replace("kubectl apply -f ", ""));
  manifest = answer.body;
  const secret = parseAllDocuments(manifest)
    .map((each) => each.toJS() as { kind: string; stringData?: { token: string } })
    .find(({ kind }) => kind === "Secret");
  writeFileSync(join(folder, "token"), secret?.stringData?.token ?? "", { mode: 0o600 });
  agent = spawn(
    process.execPath,
    [
      ...["agent/main.ts", "--edge", serving.url, "--insecure-plain-http", "--cluster", "home", "--node", "n1"],
      ...["--token-file", join(folder, "token"), "--manifests", join(folder, "manifests"), "--log-level", "warn"],
    ],
    { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
  );
  await until(async () => (await ask()) === "pod");
});

afterAll(async () => {
  agent.kill("SIGKILL");
  await stopEdge();
  pod.close();
  rmSync(folder, { recursive: true });
});

it("keeps its secrets to itself", () => {
  const mode = (name: string) =>
    execFileSync("stat", ["-c", "%a", join(folder, "state", name)])
      .toString()
      .trim();
  expect([mode("admin-token"), mode("workerd.capnp"), mode("."), mode("logs"), mode("logs/workerd.log")]).toEqual([
    ...["600", "600", "700", "700", "600"],
  ]);
});

it("serves the very files of the agent that its manifest names, on the admin host alone", async () => {
  const named = [...manifest.matchAll(/(main|probe)\.mjs=([0-9a-f]{64})$/gm)].map(([, name, hash = ""]) => [
    name,
    hash,
  ]);
  expect(named.map(([name]) => name)).toEqual(["main", "probe"]);
  const bundle = await bundleAgent(root);
  for (const [name, hash] of named) {
    const file = `${serving.url}/agent/${hash}.mjs`;
    const { statusCode, headers, body } = await request(file);
    const bytes = Buffer.from(await body.bytes());
    expect([statusCode, createHash("sha256").update(bytes).digest("hex")]).toEqual([200, hash]);
    expect(bytes.toString()).toBe(bundle[`${name}.mjs` as keyof typeof bundle]);
    expect(headers).toMatchObject({
      "content-length": String(bytes.length),
      "cache-control": "public, max-age=31536000, immutable",
      etag: `"${hash}"`,
    });
    const head = await request(file, { method: "HEAD" });
    expect([head.statusCode, head.headers["content-length"]]).toEqual([200, String(bytes.length)]);
    await head.body.dump();
    expect((await get(file, { "if-none-match": `"${hash}"` })).status).toBe(304);
    // A tenant's port: the path is the pod's.
    expect(await get(`${url()}agent/${hash}.mjs`, { host: host() })).toEqual({ status: 200, body: "pod" });
  }
  const unknown = await get(`${serving.url}/agent/${"0".repeat(64)}.mjs`);
  expect([unknown.status, unknown.body]).toEqual([404, expect.stringContaining(named[0]?.[1] ?? "none")]);
});

it("opens neither its admin port nor port 443 for a Service, and says so", async () => {
  const authorization = `Bearer ${readFileSync(serving.adminTokenFile, "utf8").trim()}`;
  const { body } = await get(`${serving.url}/api/v1/clusters/home/conditions`, { authorization });
  const { services } = JSON.parse(body) as {
    services: Record<string, { type: string; status: string; message: string; ports?: number[] }[]>;
  };
  const of = (type: string) => services["default/greedy"]?.find((each) => each.type === `postern.dev/${type}`);
  expect(of("Programmed")).toMatchObject({ status: "False", reason: "PortNotOffered" });
  expect(of("PortNotOffered")).toMatchObject({
    ports: [443, port],
    message: expect.stringMatching(/no certificates.*--trusted-proxy.*--listener-ports/),
  });
  expect(await isOpen(443)).toBe(false);
  expect((await get(`${serving.url}/healthz`)).status).toBe(200);
});

it("refuses a second edge on its state, which changes nothing; and workerd comes back, whoever wrote its files", async () => {
  const config = join(folder, "state/workerd.capnp");
  const before = readFileSync(config, "utf8");
  for (const address of [ADDRESS, "127.0.7.2"]) {
    const [code, out] = await runEdge(["--address", address, "--port", String(port), "--state", join(folder, "state")]);
    expect([code, out]).toEqual([
      1,
      expect.stringMatching(
        new RegExp(`${folder}/state is in use by another edge \\(pid \\d+, since .*Nothing was changed`),
      ),
    ]);
  }
  expect(readFileSync(config, "utf8")).toBe(before);
  writeFileSync(config, "spoilt");
  const starts = () => said.filter((line) => line === "workerd serves again").length;
  const sofar = starts();
  process.kill(edgeSupervisor(edge.pid as number), "SIGHUP");
  await until(() => starts() > sofar);
  expect(await ask()).toBe("pod");
  expect(readFileSync(config, "utf8")).toBe(before);
});

it("does not start with a token that others may read", async () => {
  const state = join(folder, "open");
  mkdirSync(state, { mode: 0o700 });
  writeFileSync(join(state, "admin-token"), "x".repeat(43), { mode: 0o644 });
  const [code, out] = await runEdge([
    "--address",
    ADDRESS,
    "--port",
    String(await freePort(ADDRESS)),
    "--state",
    state,
  ]);
  expect([code, out]).toEqual([1, expect.stringMatching(/admin-token may be read by other users .*chmod 600 /)]);
});

it("refuses what is not there without a byte", async () => {
  await expect(get(url(), { host: "other.apps.test" })).rejects.toThrow(/closed|reset/i);
});

it("loses no request while workerd is killed, and starts it again", async () => {
  const workerds = () =>
    descendants(edge.pid as number).filter((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "workerd");
  const [before = 0] = workerds();
  const answers: (string | undefined)[] = [];
  const load = { done: false };
  const clients = Promise.all(
    Array.from({ length: 8 }, async () => {
      while (!load.done) answers.push(await ask());
    }),
  );
  process.kill(before, "SIGKILL");
  await until(() => workerds().some((pid) => pid !== before));
  const sofar = answers.length;
  await until(() => answers.length > sofar + 100);
  load.done = true;
  await clients;
  expect(answers.filter((answer) => answer !== "pod")).toEqual([]);
  // Why it ended is told, and kept.
  expect(said.join("\n")).toContain(
    `workerd was killed (SIGKILL): starting it again. Its last lines (more in ${folder}`,
  );
  expect(readFileSync(join(folder, "state/logs/workerd.log"), "utf8")).toMatch(/workerd was killed \(SIGKILL\)$/m);
});

it("keeps clusters and routes over its own restart", async () => {
  await stopEdge();
  expect(await ask()).toBeUndefined();
  await startEdge();
  // The ports are open as soon as it is ready; the agent is back within its redial.
  await until(async () => (await ask()) === "pod");
});

it("closes a port when its last Service goes, and opens it again", async () => {
  writeYaml(false);
  await until(async () => !(await isOpen(listener)));
  writeYaml(true);
  await until(async () => (await ask()) === "pod");
});

it("says in words what is in its way", async () => {
  const [code, out] = await runEdge(["--address", ADDRESS, "--port", String(port), "--state", join(folder, "other")]);
  expect([code, out]).toEqual([1, expect.stringContaining(`port ${port} on ${ADDRESS} is in use`)]);
  // Told before it wrote anything for workerd.
  expect(existsSync(join(folder, "other/workerd.capnp"))).toBe(false);
  expect(existsSync(join(folder, "state/admin-token"))).toBe(true);
});

/** One that ends by itself: its code, and what it said. */
async function runEdge(args: readonly string[]): Promise<[code: number, out: string]> {
  const npm = spawn("npm", ["run", "--silent", "edge", "--", ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, [code]] = await Promise.all([text(npm.stdout), once(npm, "exit")]);
  return [Number(code), out];
}

async function isOpen(at: number): Promise<boolean> {
  const server = createTcpServer();
  try {
    server.listen(at, ADDRESS);
    await once(server, "listening");
  } catch {
    return true;
  }
  server.close();
  await once(server, "close");
  return false;
}
