// The agent as a process, as its user starts it: options, YAML to NodePort and to the edge, signals, exit codes.
// The edge is a small HTTP server here that takes snapshots and refuses tunnels.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, json, text } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { stringify } from "yaml";
import { freePort } from "../../src/host/process/free-port.ts";
import type { Snapshot } from "../../src/shared/model/snapshot.ts";
import { endpoint, node, service, slice, type Written } from "./source/objects.ts";

const main = new URL("../../agent/main.ts", import.meta.url).pathname;
const token = "pst_home_0123456789abcdef";
let folder: string;
let edge: Server;
let pod: Server;
let snapshots: Snapshot[];
/** Tunnels that were refused. */
let dials: number;
let agents: ChildProcess[];
/** Beside this process' own. */
let environment: Record<string, string>;

beforeEach(async () => {
  environment = {};
  folder = await mkdtemp(join(tmpdir(), "postern-agent-"));
  await writeFile(join(folder, "token"), `${token}\n`, { mode: 0o600 });
  [snapshots, agents, dials] = [[], [], 0];
  edge = createHttpServer((request, response) => {
    void buffer(request).then((body) => {
      const put = request.method === "PUT";
      if (request.method === "GET") dials++;
      if (put) snapshots.push(JSON.parse(gunzipSync(body).toString()) as Snapshot);
      const result = { generation: { epoch: 1, sequence: 1 }, table: 1, changed: true, services: {} };
      return response.end(JSON.stringify(put ? result : { epoch: 1 }));
    });
  });
  pod = createHttpServer((_request, response) => response.end("the pod"));
  for (const server of [edge, pod]) await once(server.listen(0, "127.0.0.1"), "listening");
});
afterEach(async () => {
  for (const agent of agents) agent.kill("SIGKILL");
  for (const server of [edge, pod]) {
    server.closeAllConnections();
    server.close();
  }
  await rm(folder, { recursive: true });
});

const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;
const write = (...objects: readonly Written[]) =>
  writeFile(join(folder, "all.yaml"), objects.map((object) => stringify(object)).join("---\n"));
const start = (...more: string[]) => startIn([], ...more);
/** `within`: the program that starts it, with its arguments. */
const startIn = (within: readonly string[], ...more: string[]) => {
  const flags = ["--edge", `http://127.0.0.1:${portOf(edge)}`, "--insecure-plain-http", "--cluster", "home"];
  const files = ["--token-file", join(folder, "token"), "--manifests", folder];
  const [program = "", ...args] = [...within, process.execPath, main, ...flags, ...files, "--node", "n1", ...more];
  const agent = spawn(program, args, {
    env: { ...process.env, ...environment },
  });
  agents.push(agent);
  return { agent, output: text(agent.stdout), errors: text(agent.stderr), ended: once(agent, "exit") };
};

it("serves NodePorts and tells the edge, follows the YAML, and stops as asked", async () => {
  const nodePort = await freePort();
  const web = (endpoints: object[]) => [
    node("n1"),
    service("web", { ports: [{ port: 80, nodePort }] }),
    slice("web", endpoints, { ports: [{ name: "", port: portOf(pod) }] }),
  ];
  await write(...web([endpoint("127.0.0.1", "n1")]));
  const { agent, output, ended } = start("--proxy", "userspace", "--address", "127.0.0.1");
  await vi.waitFor(() => expect(snapshots).toHaveLength(1), { timeout: 10_000 });
  // Programmed before published: no waiting here.
  const ask = async () => {
    const response = await fetch(`http://127.0.0.1:${nodePort}/`, { headers: { connection: "close" } });
    return await response.text();
  };
  expect(await ask()).toBe("the pod");
  expect(snapshots[0]?.services[0]?.endpoints).toHaveLength(1);

  await write(...web([]));
  await vi.waitFor(() => expect(snapshots).toHaveLength(2), { timeout: 10_000 });
  expect(snapshots[1]?.services[0]?.conditions[0]?.type).toBe("postern.dev/NoMatchingPods");
  await expect(ask()).rejects.toThrow();

  agent.kill("SIGTERM");
  expect((await ended)[0]).toBe(0);
  const log = await output;
  expect(
    log
      .trim()
      .split("\n")
      .every((line) => line.startsWith("{")),
  ).toBe(true);
  expect(log).not.toContain(token);
}, 30_000);

it("dials at once where a publish has reached the edge, however long it would have waited", async () => {
  // With these dice the wait after the first refusal lasts for a day.
  environment = { NODE_OPTIONS: "--import=data:text/javascript,Math.random=()=>2e5" };
  await write(node("n1"));
  const { agent, ended } = start();
  await vi.waitFor(() => expect(snapshots).toHaveLength(1), { timeout: 10_000 });
  await vi.waitFor(() => expect(dials).toBeGreaterThan(0), { timeout: 10_000 });
  const before = dials;
  await write(node("n1"), node("n2"));
  await vi.waitFor(() => expect(dials).toBeGreaterThan(before), { timeout: 10_000 });
  agent.kill("SIGTERM");
  expect((await ended)[0]).toBe(0);
}, 30_000);

/** Of the log: those of this level and above. */
const messages = (output: string, level: number): string[] =>
  output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { level: number; msg: string })
    .filter((line) => line.level >= level)
    .map(({ msg }) => msg);

it("says what is wrong with the YAML, the node's name, and an environment that it does not obey", async () => {
  environment = { http_proxy: "http://user:secret@192.0.2.1:3128", no_proxy: "" };
  await write(node("n2"), service("web", { ports: [{ port: 80 }] }));
  await writeFile(
    join(folder, "bad.yaml"),
    "kind: Service\napiVersion: v1\nmetadata: {name: x}\nspec: {ports: [{port: x}]}\n",
  );
  const { agent, output } = start();
  await vi.waitFor(() => expect(snapshots).toHaveLength(1), { timeout: 10_000 });
  agent.kill("SIGTERM");
  const warnings = messages(await output, 40);
  expect(warnings).toContain(
    "bad.yaml:4: Service x: spec.ports[0].port: must be a whole number from 1 to 65535, without quotes",
  );
  expect(warnings).toContainEqual(expect.stringMatching(/^no Node is called n1/));
  expect(warnings).toContainEqual(expect.stringMatching(/^http_proxy is set, but the agent uses no proxy/));
  expect(warnings.join()).not.toContain("secret");
}, 30_000);

it.each([
  ["there is no token", ["--token-file", "/nowhere/token"], /^--token-file \/nowhere\/token cannot be read/, []],
  [
    "--default-class is refused",
    ["--default-class"],
    /^--default-class: MetalLB already serves .*Until then the edge hears nothing of this node/,
    [service("speaker", { loadBalancerClass: undefined, clusterIP: "10.96.0.9" }, { namespace: "metallb-system" })],
  ],
])(
  "in kube-proxy's place, forwards Services where %s",
  async (_what, flags, message, beside) => {
    await write(node("n1"), service("web"), slice("web", [endpoint("10.244.0.2", "n1")]), ...beside);
    const socketPath = join(folder, "health.sock");
    const { agent, output } = startIn(["unshare", "--net"], "--proxy", "all", "--health-socket", socketPath, ...flags);
    const ready = async () => {
      const asked = request({ socketPath, path: "/readyz" }).end();
      const [answer] = (await once(asked, "response")) as [IncomingMessage];
      return [answer.statusCode, await json(answer)];
    };
    // Not ready, so that no upgrade goes on with it.
    const programmed = [503, { synced: true, programmed: true, connected: false }];
    await vi.waitFor(async () => expect(await ready()).toEqual(programmed), { timeout: 10_000 });
    const listed = spawn("nsenter", [`--net=/proc/${agent.pid}/ns/net`, "nft", "list", "ruleset"]);
    expect(await text(listed.stdout)).toContain("10.96.0.1");
    agent.kill("SIGTERM");
    expect(messages(await output, 50)).toEqual([expect.stringMatching(message)]);
  },
  30_000,
);

it("refuses to do kube-proxy's work beside one, and says what to do", async () => {
  await write(node("n1"));
  // Any HTTP server that is no agent.
  const { output, ended } = start("--proxy", "all", "--proxy-health-address", `127.0.0.1:${portOf(pod)}`);
  expect((await ended)[0]).toBe(2);
  expect(await output).toMatch(/a kube-proxy, or another service proxy, answers at .*--disable-kube-proxy/);
}, 30_000);

it("explains how the node is cleaned up", async () => {
  const asked = spawn(process.execPath, [main, "cleanup", "--help"]);
  agents.push(asked);
  const [output, [code]] = await Promise.all([text(asked.stdout), once(asked, "exit")]);
  expect([code, output]).toEqual([0, expect.stringContaining("Usage: node agent/main.ts cleanup")]);
}, 30_000);

it.each([
  ["wrong options", ["--proxy", "ebpf"], /^--proxy must be none, userspace or all$/m],
  ["no token", ["--token-file", "/nowhere/token"], /^--token-file \/nowhere\/token cannot be read/m],
])(
  "ends with 2 and the remedy: %s",
  async (_what, flags, message) => {
    const { errors, ended } = start(...flags);
    expect((await ended)[0]).toBe(2);
    expect(await errors).toMatch(message);
  },
  30_000,
);
