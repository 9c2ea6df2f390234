// The Lease against a real API server: who leads, who takes over and when, and that whoever does not lead writes nothing.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Edge } from "../../../agent/publish/edge.ts";
import { endpoint, node, slice } from "../../../agent/source/objects.ts";
import { ApiServer } from "../../harness/api-server.ts";
import { type AgentParts, ControllingAgent } from "./controlling-agent.ts";
import { service, Services, until } from "./services.ts";

const LEASE = "/apis/coordination.k8s.io/v1/namespaces/postern-system/leases/postern-leader";
const quick = { durationMs: 3_000, deadlineMs: 2_000, renewMs: 400 };

const server = new ApiServer();
const services = new Services(server);
let edge: Edge;
let agents: ControllingAgent[];
beforeAll(async () => {
  await server.start();
  await server.apply(node("n1"));
}, 600_000);
afterAll(() => server.stop());
beforeEach(async () => {
  agents = [];
  edge = new Edge();
  await edge.start();
});
// It runs after the hook below: hooks end in the reverse order.
services.freeAfterFailure();
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
  await edge.stop();
  await server.api("admin").call("DELETE", LEASE);
});

interface Lease {
  readonly metadata: { readonly uid: string };
  readonly spec: {
    readonly holderIdentity?: string;
    readonly leaseTransitions: number;
    readonly acquireTime?: string;
    readonly renewTime: string;
  };
}
const lease = async () => (await server.ask("GET", LEASE)) as Lease;
const start = (parts: AgentParts) => {
  const agent = new ControllingAgent(server, edge, { leaseTimes: quick, ...parts });
  agents.push(agent);
  return agent;
};
const leads = async (parts: AgentParts) => {
  const agent = start(parts);
  await until(() => expect(agent.leading).toBe(true));
  return agent;
};
const epochs = () => [...new Set(edge.puts.filter(({ status }) => status === 200).map((put) => put.generation.epoch))];
const create = async (name: string) => {
  await server.apply(slice(name, [endpoint("10.0.0.1", "n1", { ready: true })]));
  await server.create(service(name));
};

describe("one leader", () => {
  it("is one of two, says who it is, renews, and the other one only looks", async () => {
    const first = await leads({ name: "first" });
    const second = start({ name: "second" });
    await create("one");
    await services.isServed("one");
    const before = await lease();
    expect(before.spec).toMatchObject({ holderIdentity: "pod-first", leaseTransitions: 0 });
    await until(async () => expect((await lease()).spec.renewTime > before.spec.renewTime).toBe(true));
    // When it was taken stays said.
    expect((await lease()).spec.acquireTime).toBe(before.spec.acquireTime);
    await until(() => expect(second.requests.length).toBeGreaterThan(2));
    expect(new Set(second.requests.map(({ method, path }) => `${method} ${path}`))).toEqual(new Set([`GET ${LEASE}`]));
    expect(first.leading).toBe(true);
  });

  it("killed, is followed after the Lease has been seen unchanged for its duration, in a newer epoch", async () => {
    const first = await leads({ name: "first" });
    const second = start({ name: "second" });
    await until(() => expect(second.requests.length).toBeGreaterThan(1));
    const began = performance.now();
    await first.kill();
    await until(() => expect(second.leading).toBe(true));
    expect(performance.now() - began).toBeGreaterThan(quick.durationMs - quick.renewMs - 100);
    expect(performance.now() - began).toBeLessThan(quick.durationMs + 3 * quick.renewMs + 500);
    await create("two");
    await services.isServed("two");
    expect(epochs()).toEqual([0, 1]);
    expect((await lease()).spec).toMatchObject({ holderIdentity: "pod-second", leaseTransitions: 1 });
  });

  it("stopped, gives the Lease back: the other one leads at its next look", async () => {
    const first = await leads({ name: "first" });
    const second = start({ name: "second" });
    await until(() => expect(second.requests.length).toBeGreaterThan(1));
    const began = performance.now();
    await first.stop();
    await until(() => expect(second.leading).toBe(true));
    expect(performance.now() - began).toBeLessThan(quick.renewMs * 2 + 300);
  });

  it("restarted in the same pod, does not wait for itself, and is in a newer epoch", async () => {
    const before = await leads({ name: "same" });
    await until(() => expect(epochs()).toEqual([0]));
    await before.kill();
    const began = performance.now();
    await leads({ name: "same" });
    expect(performance.now() - began).toBeLessThan(1_500);
    await until(() => expect(edge.generation?.epoch).toBe(1));
  });

  it("cut off from the API server, leads no more before anybody else can, and writes nothing then", async () => {
    const first = await leads({ name: "first" });
    const second = start({ name: "second" });
    const cutAt = performance.now();
    first.isCutOff = ({ path }) => path === LEASE;
    await until(() => expect(first.leading).toBe(false));
    const lostAt = performance.now();
    expect(lostAt - cutAt).toBeLessThan(quick.deadlineMs + 200);
    expect(second.leading).toBe(false);
    await until(() => expect(second.leading).toBe(true));
    await create("three");
    await services.isServed("three");
    expect(first.requests.filter(({ path, at }) => path.includes("/services/") && at > lostAt)).toEqual([]);
  });

  it("keeps office where somebody else has changed the Lease's labels, or where an answer was lost", async () => {
    const first = await leads({ name: "first" });
    const body = { metadata: { labels: { seen: "yes" } } };
    await server.ask("PATCH", LEASE, { body, contentType: "application/merge-patch+json" });
    const { renewTime } = (await lease()).spec;
    await until(async () => expect((await lease()).spec.renewTime > renewTime).toBe(true));
    await pause(quick.deadlineMs);
    expect(first.leading).toBe(true);
    expect((await lease()).spec.leaseTransitions).toBe(0);
  });

  it("writes a Lease that is deleted again, and stays what it is", async () => {
    const first = await leads({ name: "first" });
    const { uid } = (await lease()).metadata;
    await server.ask("DELETE", LEASE);
    await until(async () => expect((await lease()).metadata.uid).not.toBe(uid));
    expect((await lease()).spec).toMatchObject({ holderIdentity: "pod-first", leaseTransitions: 0 });
    expect(first.leading).toBe(true);
  });

  it("claims a newer epoch where the edge remembers higher ones than the Lease, and writes it down", async () => {
    const first = await leads({ name: "first" });
    await first.stop();
    const [body, contentType] = [{ spec: { leaseTransitions: 41 } }, "application/merge-patch+json"];
    await server.ask("PATCH", LEASE, { body, contentType });
    const second = await leads({ name: "second" });
    await until(() => expect(edge.generation?.epoch).toBe(42));
    await second.stop();
    await server.ask("DELETE", LEASE);
    await create("four");
    await leads({ name: "third" });
    await services.isServed("four");
    expect(edge.generation?.epoch).toBe(43);
    expect((await lease()).spec).toMatchObject({ holderIdentity: "pod-third", leaseTransitions: 43 });
  });

  it("leads again after the API server was killed and started anew, and nothing is written twice", async () => {
    const first = await leads({ name: "first" });
    await create("five");
    await services.isServed("five");
    const patches = first.patches("five").length;
    await server.killApi();
    await until(() => expect(first.leading).toBe(false));
    await server.startApi();
    await until(() => expect(first.leading).toBe(true));
    await create("six");
    await services.isServed("six");
    expect(first.patches("five").length).toBe(patches);
  });
});

describe("the edge", () => {
  it("takes nothing from a leader that has lost the Lease and does not know it", async () => {
    // Both see this otherwise, so that what they publish differs.
    await server.apply(node("n1", { labels: { "node.kubernetes.io/exclude-from-external-load-balancers": "" } }));
    // As if its clock stood still: it does not hear that its renewals are lost, and its deadline does not come.
    const times = { ...quick, deadlineMs: 60_000 };
    const first = await leads({ name: "first", leaseTimes: times, ignoreExcludeLabel: true });
    await until(() => expect(edge.generation).toMatchObject({ epoch: 0 }));
    first.isCutOff = ({ path }) => path === LEASE;
    await leads({ name: "second" });
    await until(() => expect(edge.generation).toMatchObject({ epoch: 1 }));
    await create("seven");
    await services.isServed("seven");
    const late = () =>
      edge.puts.filter(({ generation, services: named }) => generation.epoch === 0 && named.includes("default/seven"));
    await until(() => expect(late()).not.toEqual([]));
    expect(new Set(late().map(({ status }) => status))).toEqual(new Set([409]));
    expect(edge.generation?.epoch).toBe(1);
    expect(first.leading).toBe(true);
    await server.apply(node("n1"));
  });
});

it("a process that is stopped and continued writes nothing in between, and follows", async () => {
  const files = { token: join(server.folder, "edge-token"), config: join(server.folder, "kubeconfig") };
  const access = server.access("agent");
  writeFileSync(files.token, "pst_home_0123456789");
  const kubeconfig = {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c", user: "u", namespace: access.namespace } }],
    clusters: [
      {
        name: "c",
        cluster: { server: access.servers[0]?.href, "certificate-authority-data": btoa(server.certificate()) },
      },
    ],
    users: [{ name: "u", user: { token: access.token() } }],
  };
  writeFileSync(files.config, JSON.stringify(kubeconfig), { mode: 0o600 });
  const args = ["--edge", edge.url.href, "--insecure-plain-http", "--cluster", "home", "--token-file", files.token];
  const more = ["--source", "kube", "--kubeconfig", files.config, "--node", "n1", "--instance", "paused"];
  const main = new URL("../../../../agent/main.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [main, ...args, ...more], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  const ended = once(child, "exit");
  try {
    await until(async () => expect((await lease()).spec.holderIdentity).toBe("paused"));
    await until(() => expect(edge.generation).toMatchObject({ epoch: 0 }));
    // A Service is waiting for it when it wakes.
    child.kill("SIGSTOP");
    await create("eight");
    // Its Lease says fifteen seconds.
    const second = await leads({ name: "second" });
    await services.isServed("eight");
    const { resourceVersion } = (await services.get("eight")).metadata;
    child.kill("SIGCONT");
    await until(() => expect(out).toContain("does not lead any more"));
    await pause(1_000);
    expect((await services.get("eight")).metadata.resourceVersion).toBe(resourceVersion);
    expect(edge.generation?.epoch).toBe(1);
    expect(second.leading).toBe(true);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
}, 90_000);
