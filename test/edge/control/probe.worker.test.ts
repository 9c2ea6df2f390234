// POST …/probe inside the real runtime: each connection's own stream and what came of it, within its time, and what the edge knows.
import { evictDurableObject } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { z } from "zod";
import { PROBE_MS, type probeAnswerSchema } from "../../../src/shared/control/probe.ts";
import type { NodeReport } from "../../../src/shared/model/node-report.ts";
import { PROBE_MAX } from "../../../src/shared/wire/limits.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import {
  ADMIN,
  byListener,
  call,
  createCluster,
  forgetAll,
  type Problem,
  publish,
  published,
  service,
  snapshotOf,
} from "../worker/edge.ts";
import { connectNode, type NodeOptions, type Probed, shardNodes, type TestNode } from "../worker/node.ts";

type Answer = z.infer<typeof probeAnswerSchema>;

let token: string;
let nodes: TestNode[];
beforeEach(async () => {
  nodes = [];
  token = await createCluster("home");
});
afterEach(async () => {
  for (const node of nodes) node.socket.close();
  await forgetAll();
});

const reportOf = (node: string, more: Partial<NodeReport> = {}): NodeReport => ({
  software: "postern-agent 0.1.0",
  node,
  receivedAt: Date.now(),
  tookMs: 0,
  uptimeMs: 1000,
  proxy: "none",
  source: { kind: "kube", state: "in-step", since: null, lastEvent: null, problems: [], problemsLeftOut: 0 },
  planApplied: true,
  kernel: { state: "off", lastSync: null, checkedAt: null, faults: [], faultsLeftOut: 0 },
  conntrack: null,
  packetFilters: null,
  brokenEndpoints: [],
  brokenEndpointsLeftOut: 0,
  ...more,
});

const wellBehaved: Probed = (node, id) => node.report(id, reportOf(node.name));

async function connect(name: string, probed: Probed | undefined, more: Partial<NodeOptions> = {}): Promise<TestNode> {
  const options = { cluster: "home", token, name, ...(probed && { probed }), ...more };
  const node = await connectNode(options);
  nodes.push(node);
  return node;
}

async function probe(json: unknown = {}, by = token, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await call("POST", "/api/v1/clusters/home/probe", { token: by, json, headers });
  expect(response.status).toBe(200);
  return await response.json<Answer>();
}

/** "node-a: ok", or the stage. */
const outcomes = ({ connections }: Answer): string[] =>
  connections.map(({ node, probe: { ok, ...rest } }) => `${node}: ${ok ? "ok" : "stage" in rest ? rest.stage : ""}`);

describe("who may ask", () => {
  it("the admin and the owner; not an agent, not another cluster, nobody without a token", async () => {
    const other = await createCluster("other");
    const code = await call("POST", "/api/v1/clusters/home/install-code", { token, json: {} });
    const { url } = await code.json<{ url: string }>();
    const manifest = await (
      await call("GET", new URL(url).pathname, { headers: { "x-postern-proto": "https" } })
    ).text();
    const agents = /pst_home_[A-Za-z0-9_-]{43}/.exec(manifest)?.[0] ?? "";
    const ask = async (by?: string) =>
      (await call("POST", "/api/v1/clusters/home/probe", by === undefined ? { json: {} } : { token: by, json: {} }))
        .status;
    expect([await ask(ADMIN), await ask(token), await ask(agents), await ask(other), await ask()]).toEqual([
      200, 200, 403, 403, 401,
    ]);
  });

  it("without a body all Services are meant; what is no Service is named", async () => {
    await published("home", token, "1.1", snapshotOf(service("web"), service("api")));
    const bare = await call("POST", "/api/v1/clusters/home/probe", { token });
    expect((await bare.json<Answer>()).services.map((each) => each.service)).toEqual(["default/api", "default/web"]);
    for (const json of [{ service: "web" }, { service: "default/../x" }, { services: "default/web" }]) {
      const refused = await call("POST", "/api/v1/clusters/home/probe", { token, json });
      expect(refused.status).toBe(400);
      expect((await refused.json<Problem>()).field).toMatch(/^body/);
    }
  });
});

describe("connections", () => {
  it("each is asked on a stream of its own, with the Service; round trip and clock skew leave out the node's work", async () => {
    const asked: unknown[] = [];
    const late: Probed = (node, id, question) => {
      asked.push(question);
      const receivedAt = Date.now() + 60_000;
      setTimeout(() => node.report(id, reportOf(node.name, { receivedAt, tookMs: 100 })), 100);
    };
    await connect("node-a", late);
    await connect("node-b", late);
    const answer = await probe({ service: "default/web" });
    expect(asked).toEqual([{ service: "default/web" }, { service: "default/web" }]);
    expect(outcomes(answer)).toEqual(["node-a: ok", "node-b: ok"]);
    for (const { probe: each } of answer.connections) {
      if (!each.ok) throw new Error(each.why);
      expect(each.roundTripMs).toBeLessThan(2_000);
      // A slow machine makes round trips long, and the skew is known to half of one.
      expect(Math.abs(each.clockSkewMs - 60_000)).toBeLessThanOrEqual(each.roundTripMs / 2 + 100);
    }
    expect(answer.connections[0]).toMatchObject({ shard: 0, instance: "node-a-1", software: "test", draining: false });
    // Nothing is left of it.
    expect((await shardNodes("home")).flatMap(({ connections }) => connections.map((each) => each.inFlight))).toEqual([
      0, 0,
    ]);
  });

  it("a silent node is said to be silent after its time, while the others answer; one that only ignores the probe was heard", async () => {
    const frozen = await connect("node-a", wellBehaved);
    await connect("node-b", wellBehaved);
    await connect("node-c", () => {});
    frozen.frozen = true;
    const began = Date.now();
    const answer = await probe();
    const took = Date.now() - began;
    expect(outcomes(answer)).toEqual(["node-a: not-answered", "node-b: ok", "node-c: not-answered"]);
    const [a, , c] = answer.connections.map(({ probe: each }) => each);
    // It answered the PING that a waiting stream causes.
    expect([a, c]).toMatchObject([{ heard: false }, { heard: true }]);
    expect(took).toBeGreaterThanOrEqual(PROBE_MS);
    expect(took).toBeLessThan(PROBE_MS + 2_000);
    // It is told that nobody waits any more.
    await nodes[2]?.event("reset");
    frozen.thaw();
    expect(outcomes(await probe())).toContain("node-a: ok");
  });

  it("says of each other way to fail what it is", async () => {
    const ways: Record<string, Probed | undefined> = {
      "a-old": undefined,
      "b-busy": (node, id) => node.fail(id, Reset.OVERLOADED, "another probe is under way"),
      "c-reset": (node, id) => node.fail(id, Reset.BROKE, "a fault in the agent"),
      "d-lost": (node) => node.leave(),
      "e-no-json": (node, id) => {
        node.session.respond(id, { status: 200, headers: [] }, new TextEncoder().encode("{"), true);
        node.flush();
      },
      "f-no-report": (node, id) => node.report(id, { ...reportOf(node.name), uptimeMs: "long" }),
      "g-status": (node, id) => {
        node.session.respond(id, { status: 404, headers: [] }, undefined, true);
        node.flush();
      },
      "h-huge": (node, id) => node.report(id, { ...reportOf(node.name), more: "x".repeat(PROBE_MAX) }),
      "i-large": (node, id) => node.report(id, { ...reportOf(node.name), more: "x".repeat(PROBE_MAX - 1_000) }),
    };
    for (const [name, probed] of Object.entries(ways)) await connect(name, probed);
    const answer = await probe();
    expect(outcomes(answer)).toEqual([
      "a-old: unsupported",
      "b-busy: busy",
      "c-reset: reset",
      "d-lost: lost",
      "e-no-json: bad-answer",
      "f-no-report: bad-answer",
      "g-status: bad-answer",
      "h-huge: bad-answer",
      "i-large: ok",
    ]);
    // What a newer agent says beside the report is left out, and none of it costs a connection.
    expect(JSON.stringify(answer)).not.toContain("xxxx");
    const left = (await shardNodes("home")).map(({ node }) => node);
    expect(left).toEqual(Object.keys(ways).filter((name) => name !== "d-lost"));
  });

  it("a draining connection is said to drain, and is sent nothing; its successor answers", async () => {
    const leaving = await connect("node-a", wellBehaved, { started: 1, instance: "old" });
    await connect("node-a", wellBehaved, { started: 2, instance: "new" });
    leaving.session.goAway("upgrade", false);
    leaving.session.ping();
    leaving.flush();
    await leaving.event("pong");
    const answer = await probe();
    const byInstance = answer.connections.map((each) => [each.instance, each.draining, each.probe]);
    expect(byInstance).toMatchObject([
      ["new", false, { ok: true }],
      ["old", true, { ok: false, stage: "draining", afterMs: 0 }],
    ]);
    expect(leaving.events.filter(({ type }) => type === "probe")).toEqual([]);
  });

  it("hibernated connections answer as well", async () => {
    await connect("node-a", wellBehaved);
    await evictDurableObject(env.TUNNEL.get(env.TUNNEL.idFromName("home/0")));
    expect(outcomes(await probe())).toEqual(["node-a: ok"]);
  });

  it("a probe that asks something else waits for the one under way, and more than that are refused", async () => {
    const waiting: (() => void)[] = [];
    const questions: unknown[] = [];
    const node = await connect("node-a", (at, id, question) => {
      questions.push(question);
      waiting.push(() => at.report(id, reportOf(at.name)));
    });
    const ask = (json: unknown) => call("POST", "/api/v1/clusters/home/probe", { token, json });
    const first = ask({});
    await node.until(() => waiting.length === 1);
    // One of them waits for its turn, the other one is too many.
    const others = ["default/web", "default/api"].map((service) => ask({ service }));
    const refused = await Promise.race(others);
    expect([refused.status, (await refused.json<Problem>()).reason]).toEqual([429, "too-many-probes"]);
    expect(questions).toEqual([{}]);
    waiting[0]?.();
    expect((await first).status).toBe(200);
    await node.until(() => waiting.length === 2);
    waiting[1]?.();
    expect((await Promise.all(others)).map(({ status }) => status).sort()).toEqual([200, 429]);
  });
});

describe("what the edge knows", () => {
  it("of Services: names with owners, ports with listeners, whom source ranges let in, endpoints, nodes", async () => {
    const web = service("web", {
      ports: [
        { name: "http", port: 80, protocol: "TCP", nodePort: 30080 },
        { name: "odd", port: 1234, protocol: "TCP" },
        { name: "dns", port: 53, protocol: "UDP" },
      ],
      hostnames: ["web-default-home.edge.test", "shop.example.com"],
      sourceRanges: ["198.51.100.0/24"],
    });
    const snapshot = snapshotOf(web);
    await published("home", token, "1.1", {
      ...snapshot,
      nodes: [...snapshot.nodes, { name: "node-c", excluded: "it is being deleted" }],
    });
    await connect("node-a", wellBehaved);
    const from = (client: string) => ({ "x-postern-client": client });
    const inside = await probe({ service: "default/web" }, token, from("198.51.100.7"));
    const outside = await probe({ service: "default/web" }, token, from("203.0.113.9"));
    expect([inside.edge.yourAddress, outside.edge.yourAddress]).toEqual(["198.51.100.7", "203.0.113.9"]);
    const [one] = inside.services;
    expect([one?.youAreAllowed, outside.services[0]?.youAreAllowed]).toEqual([true, false]);
    expect(one?.hostnames).toEqual([
      {
        ...{ hostname: "web-default-home.edge.test", served: true, owner: "home" },
        members: [{ cluster: "home", priority: 0, weight: 1 }],
      },
      { hostname: "shop.example.com", served: false, owner: null, members: [] },
    ]);
    const named = { transport: "tunnel", eligible: 2, preferred: 2, nodes: ["node-a", "node-b"], unavailable: null };
    const nowhere = { listeners: [], transport: null, eligible: 0, preferred: 0, nodes: [], unavailable: null };
    expect(one?.ports).toEqual([
      {
        ...{ port: 80, protocol: "TCP", nodePort: 30080, ...named },
        listeners: [
          { port: 80, tls: false },
          { port: 443, tls: true },
        ],
      },
      {
        ...{ port: 1234, protocol: "TCP", nodePort: null, ...named },
        listeners: [{ port: 1234, tls: false }],
        unavailable: { reason: "no-endpoints", message: "Service default/web has no ready endpoint for port 1234." },
      },
      { port: 53, protocol: "UDP", nodePort: null, ...nowhere },
    ]);
    expect(one?.endpoints).toEqual({ known: 1, ready: 1, serving: 0, terminating: 0 });
    expect(one?.conditions.map(({ type }) => type)).toContain("postern.dev/UDPNotSupported");
    expect(inside.excludedNodes).toEqual([{ node: "node-c", why: "it is being deleted" }]);
    expect(inside.unconnectedNodes).toEqual(["node-b", "node-c"]);
    expect((await probe({ service: "default/absent" })).services).toEqual([]);
  });

  it("of hostnames no more than the asker may know", async () => {
    const shop = service("web", { hostnames: ["shop.example.com"] });
    const other = await createCluster("other", { hostnames: ["shop.example.com"] });
    await published("other", other, "1.1", snapshotOf(shop));
    await published("home", token, "1.1", snapshotOf(shop));
    const owner = (answer: Answer) =>
      answer.services[0]?.hostnames.find(({ hostname }) => hostname === "shop.example.com")?.owner;
    expect([owner(await probe()), owner(await probe({}, ADMIN))]).toEqual([null, "other"]);
  });

  it("of publishes: the last that was accepted and the last that was refused, by whom", async () => {
    const before = (await probe()).cluster;
    expect(before).toMatchObject({ name: "home", snapshot: null, lastAccepted: null, lastRefused: null });
    const put = async (generation: string, content: unknown, node: string) =>
      await call("PUT", "/api/v1/clusters/home/snapshot", {
        ...{ token, json: content },
        headers: { "postern-generation": generation, "postern-node": node },
      });
    expect((await put("3.5", snapshotOf(service("web")), "node-a")).status).toBe(200);
    expect((await put("2.1", snapshotOf(service("api")), "node-b")).status).toBe(409);
    const { cluster } = await probe();
    const { tokens } = await (await call("GET", "/api/v1/clusters/home/tokens", { token })).json<{
      tokens: { id: string }[];
    }>();
    const by = { token: tokens[0]?.id };
    expect(cluster.lastAccepted).toMatchObject({ epoch: 3, sequence: 5, node: "node-a", ...by });
    expect(cluster.lastRefused).toMatchObject({ epoch: 2, sequence: 1, node: "node-b", reason: "superseded", ...by });
    expect(cluster.snapshot).toMatchObject({ epoch: 3, sequence: 5, services: 1, nodes: 2 });
    expect(cluster.snapshot?.acceptedAgoMs).toBeLessThan(60_000);
    // A header that is no name of a Node is not kept.
    expect((await put("3.6", snapshotOf(), 'no "name"')).status).toBe(200);
    expect((await probe()).cluster.lastAccepted).toMatchObject({ sequence: 6, node: null });
  });

  it("of its own copies: what the isolate has, beside what the objects have", async () => {
    const fresh = (await probe()).edge;
    expect(fresh).toMatchObject({ adminHost: "admin.test", domain: "edge.test", tls: true });
    expect(fresh.table).toEqual({ current: 0, here: null, checkedAgoMs: null });
    const { table } = await published("home", token, "1.1", snapshotOf(service("web")));
    nodes.push(await connectNode({ cluster: "home", token, name: "node-a" }, (stream) => stream.answer("hello")));
    const host = "web-default-home.edge.test";
    await (await exports.default.fetch(`http://${host}/`, { headers: byListener(host) })).text();
    const used = (await probe()).edge;
    expect(used.table).toMatchObject({ current: table, here: table });
    expect(used.table.checkedAgoMs).toBeLessThan(60_000);
    expect(used.directory.here).toBe(used.directory.current);
    await publish("home", token, "1.2", snapshotOf(service("web"), service("api")));
    const behind = (await probe()).edge;
    expect([behind.table.here, Number(behind.table.current) > table]).toEqual([table, true]);
  });

  it("is bounded: of 300 Services and 260 connections", { timeout: 300_000 }, async () => {
    const services = Array.from({ length: 300 }, (_, at) => service(`web-${String(at).padStart(3, "0")}`));
    const many = Array.from({ length: 260 }, (_, at) => ({ name: `node-${String(at).padStart(3, "0")}` }));
    await published("home", token, "1.1", { version: 1, nodes: many, services });
    await Promise.all(many.map(({ name }) => connect(name, wellBehaved)));
    const response = await call("POST", "/api/v1/clusters/home/probe", { token, json: {} });
    const text = await response.text();
    const answer = JSON.parse(text) as Answer;
    expect(answer.services).toHaveLength(200);
    expect(answer.servicesLeftOut).toBe(100);
    expect(answer.services[0]?.ports[0]).toMatchObject({ eligible: 260 });
    expect(answer.services[0]?.ports[0]?.nodes).toHaveLength(50);
    expect(outcomes(answer).filter((each) => each.endsWith(": ok"))).toHaveLength(260);
    expect(text.length).toBeLessThan(2 * 1024 * 1024);
    const found = await env.TUNNEL.getByName("home/0").probe({ question: {}, limitMs: PROBE_MS, most: 100 });
    expect([found.connections.length, found.leftOut]).toEqual([100, 160]);
  });
});
