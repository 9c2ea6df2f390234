// Which node gets a request, and what happens when it fails, inside the real runtime: two scripted nodes, real sockets.
import { env, exports } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Reset } from "../../../src/shared/wire/messages.ts";
import type { SnapshotService } from "../../../src/shared/model/snapshot.ts";
import { byListener, createCluster, forgetAll, published, service, snapshotOf } from "../worker/edge.ts";
import { type Backend, connectNode, type NodeOptions, silent, type TestNode } from "../worker/node.ts";

const HOST = "web-default-home.edge.test";
const shard = () => env.TUNNEL.get(env.TUNNEL.idFromName("home/0"));
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

const publishWeb = (more: Partial<SnapshotService> = {}) =>
  published("home", token, "1.1", snapshotOf(service("web", more)));

/** Answers with the node's own name. */
const named =
  (name: string): Backend =>
  (stream) =>
    stream.answer(name);
const resets =
  (code: Reset): Backend =>
  (stream) =>
    stream.fail(code);

async function connect(
  name: string,
  backend: Backend = named(name),
  more: Partial<NodeOptions> = {},
): Promise<TestNode> {
  const node = await connectNode({ cluster: "home", token, name, ...more }, backend);
  nodes.push(node);
  return node;
}

interface Ask {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

async function ask({ headers, ...init }: Ask = {}): Promise<string> {
  const response = await exports.default.fetch(`http://${HOST}/`, {
    ...init,
    headers: { ...byListener(HOST), ...headers },
  });
  const text = await response.text();
  return response.ok ? text : `${response.status} ${response.headers.get("x-postern-reason")}`;
}
const times = async (count: number, init: Ask = {}): Promise<string[]> => {
  const answers: string[] = [];
  for (let i = 0; i < count; i++) answers.push(await ask(init));
  return answers;
};
const post = { method: "POST", body: "data" };
const from = (n: number): Ask => ({
  headers: { "x-postern-client": `203.0.113.${n}` },
});

describe("a request that fails on a node", () => {
  test.each([
    { what: "never sent", code: Reset.NOT_SENT, get: "node-b", post: "node-b" },
    { what: "no endpoint there", code: Reset.NO_ENDPOINT, get: "node-b", post: "node-b" },
    { what: "not in that node's plan", code: Reset.REFUSED, get: "node-b", post: "node-b" },
    { what: "never dialled for overload", code: Reset.OVERLOADED, get: "node-b", post: "node-b" },
    // Its agent lives, and has repeated it where that may be: src/shared/http/repeat.ts leaves nothing to do here.
    { what: "may have been seen", code: Reset.BROKE, get: "502 endpoint-broke", post: "502 endpoint-broke" },
    { what: "timed out", code: Reset.TIMEOUT, get: "504 timeout", post: "504 timeout" },
    { what: "stalled", code: Reset.STALLED, get: "503 overloaded", post: "503 overloaded" },
    { what: "head too big", code: Reset.TOO_BIG, get: "502 bad-gateway-answer", post: "502 bad-gateway-answer" },
    { what: "no client could send it", code: Reset.UNSENDABLE, get: "400 bad-request", post: "400 bad-request" },
    // What only the edge may say.
    {
      what: "the client is gone, says the node",
      code: Reset.CANCELLED,
      get: "502 endpoint-broke",
      post: "502 endpoint-broke",
    },
  ])("$what: GET ends as $get, POST as $post", async ({ code, get, post: posted }) => {
    await publishWeb({ algorithm: "round-robin" });
    const bad = await connect("node-a", resets(code));
    await connect("node-b");
    const before = bad.streams.length;
    const gets = await times(4);
    expect(gets).toContain(get);
    expect(gets.every((each) => each === get || each === "node-b")).toBe(true);
    expect(new Set(gets).size).toBe(get === "node-b" ? 1 : 2);
    expect(bad.streams.length).toBeGreaterThan(before);
    const posts = await times(4, post);
    expect(posts).toContain(posted);
    expect(posts.every((each) => each === posted || each === "node-b")).toBe(true);
  });

  test("an Idempotency-Key makes a POST repeatable", async () => {
    await publishWeb({ algorithm: "round-robin" });
    const lost = await connect("node-a", (stream) => stream.node.leave());
    await connect("node-b");
    expect(await times(4, { ...post, headers: { "idempotency-key": "1" } })).toEqual(Array(4).fill("node-b"));
    expect(lost.streams).toHaveLength(1);
  });

  test("its body goes along, whole", async () => {
    await publishWeb({ algorithm: "round-robin" });
    await connect("node-a", resets(Reset.NOT_SENT));
    const good = await connect("node-b");
    await times(2, { method: "POST", body: "x".repeat(5000) });
    expect(good.streams.map((stream) => stream.bytes)).toEqual([5000, 5000]);
  });

  test("on every node: the reason of the last, and no node twice", async () => {
    await publishWeb();
    const a = await connect("node-a", resets(Reset.NO_ENDPOINT));
    const b = await connect("node-b", resets(Reset.NO_ENDPOINT));
    expect(await ask()).toBe("503 no-endpoints");
    expect([a.streams.length, b.streams.length]).toEqual([1, 1]);
  });
});

test("a request whose first node fails after the table was replaced goes on by the new one", async () => {
  await publishWeb({ algorithm: "round-robin" });
  const replaced = Promise.withResolvers<void>();
  const slow: Backend = (stream) => void replaced.promise.then(() => stream.fail(Reset.NO_ENDPOINT));
  const first = await connect("node-a", slow);
  const asked = ask();
  await first.until(() => first.streams.length === 1);
  await connect("node-b");
  await published("home", token, "1.2", snapshotOf(service("web", { algorithm: "least-request" })));
  replaced.resolve();
  expect(await asked).toBe("node-b");
});

describe("a node that goes", () => {
  test("the only one, with a GET in flight: it waits for the redial and is sent again; a POST is told", async () => {
    await publishWeb();
    const dying = await connect("node-a", silent);
    const got = ask();
    const posted = ask(post);
    await dying.until(() => dying.streams.length === 2);
    dying.socket.close(1001, "gone");
    expect(await posted).toBe("502 endpoint-broke");
    await connect("node-a", named("back"), { instance: "node-a-2", started: 2 });
    expect(await got).toBe("back");
  });

  test("socket closed with requests in flight: GETs move on, a POST is told", async () => {
    await publishWeb({ algorithm: "round-robin" });
    const dying = await connect("node-a", silent);
    await connect("node-b");
    const gets = Array.from({ length: 4 }, () => ask());
    const posts = Array.from({ length: 4 }, () => ask(post));
    await dying.until(() => dying.streams.length === 4);
    dying.socket.close(1001, "gone");
    expect(await Promise.all(gets)).toEqual(Array(4).fill("node-b"));
    expect((await Promise.all(posts)).filter((each) => each === "502 endpoint-broke")).toHaveLength(2);
  });

  test("frozen: PING, then GETs move on within two seconds; it is left alone until it is heard again", async () => {
    await publishWeb({ algorithm: "round-robin" });
    const frozen = await connect("node-a");
    await connect("node-b");
    frozen.frozen = true;
    const started = Date.now();
    expect(await times(2)).toEqual(["node-b", "node-b"]);
    expect(Date.now() - started).toBeLessThan(4_000);
    expect(await times(4)).toEqual(Array(4).fill("node-b"));
    const seen = (await shard().nodes()).find((each) => each.node === "node-a");
    expect(seen).toMatchObject({ available: false, reason: expect.stringContaining("silent") });
    frozen.thaw();
    frozen.session.report({ endpoints: [] });
    frozen.flush();
    for (let answers: string[] = []; !answers.includes("node-a"); ) answers = await times(2);
  });

  test("silent one after the other (a busy machine): the last that was asked is waited for", async () => {
    await publishWeb({ algorithm: "round-robin" });
    const nodes = { "node-a": await connect("node-a", silent), "node-b": await connect("node-b", silent) };
    const asked = ask();
    const has = (node: TestNode) => node.until(() => node.streams.length === 1);
    await Promise.race(Object.values(nodes).map(has));
    const isFirst = nodes["node-a"].streams.length === 1;
    const [first, second] = isFirst ? [nodes["node-a"], nodes["node-b"]] : [nodes["node-b"], nodes["node-a"]];
    first.frozen = true;
    await has(second);
    first.thaw();
    first.session.report({ endpoints: [] });
    first.flush();
    second.frozen = true;
    const name = isFirst ? "node-b" : "node-a";
    for (let available = true; available; ) {
      // Nothing tells that the edge has begun to suspect a node, so its object is asked until it has.
      await new Promise((resolve) => setTimeout(resolve, 50));
      available = (await shard().nodes()).find((each) => each.node === name)?.available ?? false;
    }
    second.thaw();
    second.streams[0]?.answer("late");
    expect(await asked).toBe("late");
  });

  test("a slow backend on a lively node is waited for", async () => {
    await publishWeb({ algorithm: "round-robin" });
    const release = Promise.withResolvers<void>();
    const slow = await connect("node-a", (stream) => void release.promise.then(() => stream.answer("slow")));
    const other = await connect("node-b", silent);
    const asked = [ask(), ask()];
    // The edge sends a second PING only where the first was answered in time: nobody is suspect.
    for (const node of [slow, other]) await node.until(() => node.pings >= 2);
    other.streams[0]?.answer("slower");
    release.resolve();
    expect((await Promise.all(asked)).sort()).toEqual(["slow", "slower"]);
    expect(other.streams).toHaveLength(1);
  });

  test("GoAway: nothing new goes there, what is open finishes", async () => {
    await publishWeb({ algorithm: "round-robin" });
    const leaving = await connect("node-a", silent);
    await connect("node-b");
    const open = [ask(), ask()];
    await leaving.until(() => leaving.streams.length === 1);
    leaving.session.goAway("upgrade", false);
    leaving.session.ping();
    leaving.flush();
    await leaving.event("pong");
    expect(await times(4)).toEqual(Array(4).fill("node-b"));
    leaving.streams[0]?.answer("finished");
    expect((await Promise.all(open)).sort()).toEqual(["finished", "node-b"]);
  });

  test("nobody connected: a request waits for the dial that comes, and says 503 where none comes", {
    timeout: 20_000,
  }, async () => {
    await publishWeb();
    const first = await connect("node-a");
    first.socket.close(1001, "deploy");
    await first.until(() => first.closed !== undefined);
    const waiting = ask();
    const refused = await Promise.race([waiting, connect("node-a", named("back"), { instance: "node-a-2" })]);
    expect(refused).not.toBeTypeOf("string");
    expect(await waiting).toBe("back");
    nodes.at(-1)?.socket.close();
    expect(await ask()).toBe("503 no-available-node");
  });
});

describe("several connections of one node", () => {
  test("the newest process gets new streams; the same process replaces its old socket", async () => {
    await publishWeb();
    await connect("node-a", named("new"), { instance: "two", started: 200 });
    const old = await connect("node-a", named("old"), { instance: "one", started: 100 });
    expect(await times(3)).toEqual(Array(3).fill("new"));
    await connect("node-a", named("old again"), { instance: "one", started: 100 });
    await old.until(() => old.closed !== undefined);
    expect(old.closed?.code).toBe(4002);
    expect(await times(3)).toEqual(Array(3).fill("new"));
  });

  test("at most four: the oldest goes", async () => {
    await publishWeb();
    const oldest = await connect("node-a", named("1"), { instance: "p1", started: 1 });
    for (const n of [2, 3, 4, 5]) await connect("node-a", named(String(n)), { instance: `p${n}`, started: n });
    await oldest.until(() => oldest.closed !== undefined);
    expect(await ask()).toBe("5");
  });
});

describe("which nodes", () => {
  test("externalTrafficPolicy Local: only those with an endpoint of their own", async () => {
    await publishWeb({ externalTrafficPolicy: "Local" });
    await connect("node-b");
    const waiting = ask();
    await connect("node-a");
    expect(await waiting).toBe("node-a");
    expect(await times(6)).toEqual(Array(6).fill("node-a"));
  });

  test("ClientIP affinity: one client, one node, whatever the algorithm; clients are spread", async () => {
    await publishWeb({ affinitySeconds: 60, algorithm: "round-robin" });
    await connect("node-a");
    await connect("node-b");
    const firsts: string[] = [];
    for (let n = 0; n < 16; n++) {
      const answers = await times(3, from(n));
      expect(new Set(answers).size).toBe(1);
      firsts.push(...answers.slice(0, 1));
    }
    expect(new Set(firsts)).toEqual(new Set(["node-a", "node-b"]));
  });

  test("ClientIP affinity begins and ends with the table that says so", async () => {
    await connect("node-a");
    await connect("node-b");
    const nodesAfter = async (generation: string, more: Partial<SnapshotService>): Promise<number> => {
      await published("home", token, generation, snapshotOf(service("web", { algorithm: "round-robin", ...more })));
      return new Set(await times(6, from(1))).size;
    };
    expect(await nodesAfter("1.1", {})).toBe(2);
    expect(await nodesAfter("1.2", { affinitySeconds: 60 })).toBe(1);
    expect(await nodesAfter("1.3", {})).toBe(2);
  });

  test("a node that fails requests in a row is ejected, and still used where it is the last", async () => {
    await publishWeb({ algorithm: "round-robin" });
    const bad = await connect("node-a", resets(Reset.BROKE));
    const good = await connect("node-b");
    await times(16);
    const failures = bad.streams.length;
    await times(10);
    expect(bad.streams.length).toBe(failures);
    good.socket.close();
    await good.until(() => good.closed !== undefined);
    expect(await ask()).toBe("502 endpoint-broke");
    expect(bad.streams.length).toBe(failures + 1);
  });
});
