// One hostname, two clusters: who serves, and who takes over when one cannot, by both transports, with real requests through the
// Worker. Nodes of transport direct are scripted fetches, those of the tunnel real sockets. Each test has clusters of its own:
// what an isolate knows outlives a test.
import { evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { TunnelObject } from "../../../src/edge/tunnel/tunnel-object.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import { byListener, call, createCluster, forgetAll, published, service } from "../worker/edge.ts";
import { type Backend, connectNode, type TestNode } from "../worker/node.ts";

type Transport = "direct" | "tunnel";
type Act = "answer" | "fail";

let tests = 0;
let host: string;
let nodes: TestNode[];
/** Requests that backends saw: "one 10.1.0.1 GET" or "two tunnel POST data". */
let seen: string[];
/** What the nodes of a cluster do, by the second part of their address; probes fail with them where `dead`. */
let acts: Record<string, Act>;
let dead: Set<string>;

beforeEach(() => {
  tests++;
  host = `shop-${tests}.example.com`;
  nodes = [];
  seen = [];
  acts = {};
  dead = new Set();
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input, init);
    const { hostname } = new URL(request.url);
    const cluster = hostname.split(".")[1] ?? "";
    if (!request.headers.has("x-forwarded-host")) {
      if (dead.has(cluster)) throw new TypeError("scripted");
      return new Response("", { status: 404 });
    }
    seen.push([cluster, "direct", request.method, await request.text()].join(" ").trim());
    if (acts[cluster] === "fail") throw new TypeError("scripted");
    return new Response(cluster);
  });
});
afterEach(() => {
  for (const node of nodes) node.socket.close();
});
// Not after each: an isolate believes no directory that is older than its own.
afterAll(async () => {
  await forgetAll();
  vi.restoreAllMocks();
});

const clusterOf = (n: number): string => `c${tests}-${n}`;

interface Cluster {
  readonly transport: Transport;
  readonly count?: number;
  readonly priority?: number;
  readonly weight?: number;
  /** For a tunnel: absent, nobody is connected. */
  readonly backend?: Backend | undefined;
}

/** Clusters 1, 2, …: their nodes have addresses 10.<n>.0.<…>. Returns their tokens. */
async function deployed(...clusters: Cluster[]): Promise<string[]> {
  const tokens: string[] = [];
  for (const [i, { backend }] of clusters.entries()) {
    const n = i + 1;
    const token = await createCluster(clusterOf(n), { hostnames: [host] });
    tokens.push(token);
    if (backend !== undefined) nodes.push(await connectNode({ cluster: clusterOf(n), token, name: "n0" }, backend));
  }
  await publishAll(tokens, clusters, "1.1");
  const members = clusters.map(({ priority = 0, weight = 1 }, i) => ({ cluster: clusterOf(i + 1), priority, weight }));
  const answer = await call("PUT", `/api/v1/hostnames/${host}`, { token: tokens[0] ?? "", json: { members } });
  expect(answer.status).toBe(200);
  // A member's names are compiled once more, behind the answer.
  for (const i of clusters.keys())
    await vi.waitFor(async () => {
      const { table } = await env.CLUSTER.getByName(clusterOf(i + 1)).table();
      expect(table?.listeners.some(({ hostname }) => hostname === host)).toBe(true);
    });
  // Within a second of another test's look at the directory a miss is a miss.
  await vi.waitFor(async () => expect(await ask()).not.toContain("404"), { timeout: 10_000, interval: 100 });
  seen = [];
  return tokens;
}

async function publishAll(tokens: string[], clusters: readonly Cluster[], generation: string): Promise<void> {
  for (const [i, { transport, count = 1 }] of clusters.entries())
    await published(clusterOf(i + 1), tokens[i] ?? "", generation, {
      version: 1,
      nodes: Array.from({ length: count }, (_, node) => ({ name: `n${node}`, directAddress: `10.${i + 1}.0.${node}` })),
      services: [service("web", { transport, hostnames: [host], algorithm: "round-robin" })],
    });
}

const named =
  (n: number): Backend =>
  (stream) => {
    seen.push([n, "tunnel", stream.head.method, stream.text].join(" ").trim());
    stream.answer(String(n));
  };
const broken =
  (n: number): Backend =>
  (stream) => {
    seen.push([n, "tunnel", stream.head.method].join(" "));
    stream.fail(Reset.BROKE);
  };

interface Ask {
  readonly method?: string;
  readonly body?: BodyInit;
  readonly headers?: Record<string, string>;
}

async function ask({ headers, ...init }: Ask = {}): Promise<string> {
  const response = await exports.default.fetch(`http://${host}/`, {
    ...init,
    headers: { ...byListener(host), ...headers },
  });
  const text = await response.text();
  expect(response.headers.get("x-postern-unsent")).toBeNull();
  expect(response.headers.get("x-postern-generation")).toBeNull();
  return response.ok ? text : `${response.status} ${response.headers.get("x-postern-reason")}`;
}
const post = { method: "POST", body: "data" };

describe.each<Transport>(["direct", "tunnel"])("by %s", (transport) => {
  const backendOf = (n: number) => (transport === "tunnel" ? named(n) : undefined);

  test("priority decides first, and shares go by weight", async () => {
    await deployed(
      { transport, weight: 3, backend: backendOf(1) },
      { transport, weight: 1, backend: backendOf(2) },
      { transport, priority: 1, weight: 100, backend: backendOf(3) },
    );
    const answers: string[] = [];
    for (let i = 0; i < 200; i++) answers.push(await ask());
    const first = answers.filter((each) => each === "1").length;
    // 150 expected, standard deviation 6.
    expect(first).toBeGreaterThan(115);
    expect(first).toBeLessThan(185);
    expect(answers.filter((each) => each === "2")).toHaveLength(200 - first);
  });

  test("those that cannot serve are passed over in the order of their priorities, and come back in it", async () => {
    const able =
      (n: number): Backend =>
      (stream) =>
        acts[n] === "fail" ? stream.fail(Reset.NO_ENDPOINT) : named(n)(stream);
    const backend = (n: number) => (transport === "tunnel" ? able(n) : undefined);
    await deployed(
      { transport, priority: 2, backend: backend(1) },
      { transport, priority: 0, backend: backend(2) },
      { transport, priority: 1, backend: backend(3) },
    );
    expect(await ask()).toBe("2");
    acts = { "2": "fail" };
    expect(await ask()).toBe("3");
    acts = { "2": "fail", "3": "fail" };
    expect(await ask()).toBe("1");
    acts = {};
    expect(await ask()).toBe("2");
  });

  test("weight 0 serves where nobody else is left", async () => {
    await deployed({ transport, weight: 1, backend: undefined }, { transport, weight: 0, backend: backendOf(2) });
    acts["1"] = "fail";
    expect(await ask()).toBe("2");
  });
});

describe("a cluster whose nodes cannot be had", () => {
  test.each<[string, Transport, Transport]>([
    ["direct, and then direct", "direct", "direct"],
    ["direct, and then tunnel", "direct", "tunnel"],
    ["tunnel, and then direct", "tunnel", "direct"],
    ["tunnel, and then tunnel", "tunnel", "tunnel"],
  ])("%s: a GET is served by the next one", async (_, one, two) => {
    await deployed(
      { transport: one },
      { transport: two, priority: 1, backend: two === "tunnel" ? named(2) : undefined },
    );
    acts["1"] = "fail";
    expect(await ask()).toBe("2");
  });

  test("a POST goes on where none saw it, with its body", async () => {
    await deployed({ transport: "tunnel" }, { transport: "direct", priority: 1 });
    expect(await ask({ ...post, headers: { "content-length": "4" } })).toBe("2");
    expect(seen).toEqual(["2 direct POST data"]);
  });

  test("a POST that a node may have seen is not sent again", async () => {
    await deployed({ transport: "direct", count: 3 }, { transport: "direct", priority: 1 });
    acts["1"] = "fail";
    expect(await ask({ ...post, headers: { "content-length": "4" } })).toBe("502 endpoint-broke");
    expect(seen).toEqual(["1 direct POST data"]);
  });

  test("three nodes by direct, and one of the next cluster by tunnel, may see a GET: the last one as a repeat", async () => {
    await deployed({ transport: "direct", count: 5 }, { transport: "tunnel", priority: 1, backend: named(2) });
    acts["1"] = "fail";
    expect(await ask()).toBe("2");
    expect(seen).toEqual(["1 direct GET", "1 direct GET", "1 direct GET", "2 tunnel GET"]);
  });

  test("three nodes by direct may see a GET, other clusters included", async () => {
    await deployed({ transport: "direct", count: 2 }, { transport: "direct", count: 3, priority: 1 });
    acts = { "1": "fail", "2": "fail" };
    expect(await ask()).toBe("502 endpoint-broke");
    expect(seen).toEqual(["1 direct GET", "1 direct GET", "2 direct GET"]);
  });

  test("a repeat of the listener proxy is seen by one node alone", async () => {
    await deployed({ transport: "direct", count: 2 }, { transport: "direct", priority: 1 });
    acts["1"] = "fail";
    expect(await ask({ headers: { "x-postern-again": "1" } })).toBe("502 endpoint-broke");
    expect(seen).toEqual(["1 direct GET"]);
  });

  test("what a tunnel's agent saw broken is the answer", async () => {
    await deployed({ transport: "tunnel", backend: broken(1) }, { transport: "direct", priority: 1 });
    expect(await ask()).toBe("502 endpoint-broke");
    expect(seen.filter((each) => each.startsWith("2"))).toEqual([]);
  });
});

describe("a cluster whose nodes fail their probes", () => {
  const probed = async (...clusters: number[]): Promise<void> => {
    for (const n of clusters) {
      const cluster = env.CLUSTER.getByName(clusterOf(n));
      for (let i = 0; i < 2; i++) {
        // Who wakes probes at once.
        await evictDurableObject(cluster);
        await runDurableObjectAlarm(cluster);
      }
      expect((await cluster.table()).probes?.unhealthy).toHaveLength(1);
    }
  };

  test("gets nothing, not even a POST, while another one is well", async () => {
    await deployed({ transport: "direct" }, { transport: "direct", priority: 1 });
    dead.add("1");
    await probed(1);
    // The isolate hears of it within its five seconds.
    await vi.waitFor(async () => expect(await ask()).toBe("2"), { timeout: 10_000, interval: 200 });
    seen = [];
    expect(await ask({ ...post, headers: { "content-length": "4" } })).toBe("2");
    expect(seen).toEqual(["2 direct POST data"]);
    // A large body too: nobody has begun to read it.
    expect(await ask({ method: "POST", body: new Blob(["x".repeat(100_000)]).stream() })).toBe("2");
  });

  test("is the last resort where the others have nothing", async () => {
    const third: Cluster = { transport: "tunnel", priority: 2, backend: named(3) };
    await deployed({ transport: "direct" }, { transport: "direct", priority: 1 }, third);
    dead = new Set(["1", "2"]);
    await probed(1, 2);
    await vi.waitFor(async () => expect(await ask()).toBe("3"), { timeout: 10_000, interval: 200 });
    nodes[0]?.socket.close();
    seen = [];
    expect(await ask({ ...post, headers: { "content-length": "4" } })).toBe("1");
    expect(seen).toEqual(["1 direct POST data"]);
  });
});

describe("what a fetch would refuse or change", () => {
  test("goes by the cluster's tunnel, though its transport is direct", async () => {
    await deployed({ transport: "direct", backend: named(1) });
    const target = { "x-postern-target": "/a/../b" };
    expect(await ask({ headers: target })).toBe("1");
    expect(seen).toEqual(["1 tunnel GET"]);
    expect(nodes[0]?.streams[0]?.head.target).toBe("/a/../b");
  });

  test("is nobody's fault where no tunnel is there", async () => {
    await deployed({ transport: "direct" });
    expect(await ask({ headers: { "x-postern-target": "/a/../b" } })).toBe("503 no-available-node");
    expect(seen).toEqual([]);
    expect(await ask()).toBe("1");
  });
});

test("a POST in the moment of a new Service: a shard that is behind asks before it says no", async () => {
  const [token = ""] = await deployed({ transport: "tunnel", backend: named(1) });
  const nodesOf = [{ name: "n0" }];
  await published(clusterOf(1), token, "1.2", { version: 1, nodes: nodesOf, services: [] });
  // The next table does not reach it.
  const push = vi.spyOn(TunnelObject.prototype, "setTable").mockImplementationOnce(async () => {});
  const again = [service("web", { hostnames: [host] })];
  await published(clusterOf(1), token, "1.3", { version: 1, nodes: nodesOf, services: again });
  await vi.waitFor(() => expect(push).toHaveBeenCalled());
  // As long as the Worker's own table has it.
  expect(await ask({ method: "POST", body: new Blob(["streamed"]).stream() })).toBe("1");
  expect(seen).toHaveLength(1);
});
