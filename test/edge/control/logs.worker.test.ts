// GET …/logs inside the real runtime: real requests through the Worker and a TunnelObject, read as a client of the API reads them.
import { exports } from "cloudflare:workers";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type LogLine, logLineSchema, type LogRecord } from "../../../src/shared/control/access-log.ts";
import { Reset } from "../../../src/shared/wire/messages.ts";
import {
  ADMIN,
  byListener,
  call,
  createCluster,
  forgetAll,
  type Problem,
  published,
  service,
  snapshotOf,
} from "../worker/edge.ts";
import { type Backend, connectNode, type TestNode } from "../worker/node.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
let tests = 0;
let cluster: string;
let token: string;
let nodes: TestNode[];
let readers: Reader[];

beforeEach(async () => {
  cluster = `home-${++tests}`;
  nodes = [];
  readers = [];
  token = await createCluster(cluster);
});
afterEach(async () => {
  for (const reader of readers) await reader.stop();
  for (const node of nodes) node.socket.close();
  vi.restoreAllMocks();
});
// Not after each: an isolate believes no directory that is older than its own. So each test has a cluster of its own.
afterAll(forgetAll);

/** Somebody who reads the log. */
class Reader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  /** The next line; undefined: the log has ended. */
  async line(): Promise<LogLine | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = logLineSchema.parse(JSON.parse(this.#text.slice(0, end)));
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  async request(): Promise<LogRecord> {
    for (;;) {
      const line = await this.line();
      if (line === undefined) throw new Error("the log has ended");
      if (line.kind === "request") return line.request;
    }
  }

  async stop(): Promise<void> {
    await this.#reader.cancel().catch(() => undefined);
  }
}

async function read(query = "", by = token): Promise<Reader> {
  const response = await call("GET", `/api/v1/clusters/${cluster}/logs${query}`, { token: by });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/x-ndjson"]);
  const reader = new Reader(response.body as ReadableStream<Uint8Array>);
  readers.push(reader);
  expect(await reader.line()).toEqual({ kind: "alive" });
  return reader;
}

const hostOf = (name: string): string => `${name}-default-${cluster}.edge.test`;

async function ask(name: string, path = "/", init: RequestInit = {}): Promise<number> {
  const headers = { ...byListener(hostOf(name), "203.0.113.9"), ...(init.headers as Record<string, string>) };
  const response = await exports.default.fetch(`http://${hostOf(name)}${path}`, { ...init, headers });
  expect([...response.headers.keys()].filter((each) => each === "x-postern-tries")).toEqual([]);
  await response.text();
  return response.status;
}

/** A name that was missed a moment ago is not looked up again at once. */
const served = async (name: string): Promise<void> =>
  await vi.waitFor(async () => expect(await ask(name)).not.toBe(404), { timeout: 5_000, interval: 100 });

async function connect(name: string, backend: Backend): Promise<void> {
  nodes.push(await connectNode({ cluster, token, name }, backend));
}

describe("a request by tunnel", () => {
  it("is a line: who asked what, which nodes were asked in turn, and which endpoint answered when", async () => {
    await published(cluster, token, "1.1", snapshotOf(service("web", { algorithm: "round-robin" })));
    const traced: (true | undefined)[] = [];
    const backend =
      (fails: boolean): Backend =>
      (stream) => {
        traced.push(stream.head.traced);
        if (fails) stream.fail(Reset.NOT_SENT);
        else stream.answer("hi", { by: { endpoint: "10.0.0.1:8080", sentAfterMs: 1, answeredAfterMs: 2 } });
      };
    await connect("node-a", backend(true));
    await connect("node-b", backend(false));
    await served("web");
    traced.length = 0;
    const reader = await read();
    const headers = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, "user-agent": "test/1" };
    // Round-robin begins at either node; over two requests both begin.
    await ask("web", "/a/b?token=secret", { headers, method: "DELETE" });
    await ask("web", "/a/b?token=secret", { headers, method: "DELETE" });
    const [first, second] = [await reader.request(), await reader.request()];
    expect(traced).toEqual([true, true, true]);
    const tries = [first.tries, second.tries].sort((a, b) => a.length - b.length);
    const answered = {
      ...{ node: "node-b", afterMs: expect.any(Number), ms: expect.any(Number), outcome: "200" },
      ...{ endpoint: "10.0.0.1:8080", sentAfterMs: 1, answeredAfterMs: 2 },
    };
    expect(tries[0]).toEqual([answered]);
    expect(tries[1]).toEqual([
      { node: "node-a", afterMs: expect.any(Number), ms: expect.any(Number), outcome: "no-endpoints" },
      answered,
    ]);
    expect(first).toMatchObject({
      client: "203.0.113.9",
      scheme: "http",
      hostname: hostOf("web"),
      port: 80,
      method: "DELETE",
      path: "/a/b",
      status: 200,
      reason: null,
      service: "default/web",
      transport: "tunnel",
      trace: TRACE,
      userAgent: "test/1",
    });
    expect(JSON.stringify(first)).not.toContain("secret");
  });

  it("that nobody reads about costs the node nothing", async () => {
    await published(cluster, token, "1.1", snapshotOf(service("web")));
    const traced: unknown[] = [];
    await connect("node-a", (stream) => {
      traced.push("traced" in stream.head);
      stream.answer("hi");
    });
    await served("web");
    expect(traced).toEqual([false]);
  });

  it("that the edge refuses is a line with the reason, also where no node was asked", async () => {
    const refusing = service("closed", { sourceRanges: ["10.0.0.0/8"] });
    const empty = service("empty", { endpoints: [] });
    await published(cluster, token, "1.1", snapshotOf(service("web"), refusing, empty));
    await connect("node-a", (stream) => stream.fail(Reset.BROKE));
    // The isolate's tables have to be there before the log is read.
    await served("closed");
    const reader = await read();
    const statuses = [await ask("closed"), await ask("empty"), await ask("web")];
    const lines = [await reader.request(), await reader.request(), await reader.request()];
    expect(lines.map(({ status, reason, service: of, tries }) => [of, status, reason, tries.length])).toEqual([
      ["default/closed", 403, "source-refused", 0],
      ["default/empty", 503, "no-endpoints", 0],
      ["default/web", 502, "endpoint-broke", 1],
    ]);
    expect(statuses).toEqual([403, 503, 502]);
  });
});

it("a request by direct is a line as well, with the nodes that were asked", async () => {
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => new Response("hi", { status: 201 }));
  await published(cluster, token, "1.1", snapshotOf(service("web", { transport: "direct" })));
  await served("web");
  const reader = await read();
  await ask("web");
  const { status, transport, tries } = await reader.request();
  expect([status, transport]).toEqual([201, "direct"]);
  expect(tries).toEqual([{ node: "node-a", afterMs: expect.any(Number), ms: expect.any(Number), outcome: "201" }]);
});

it("each of two clusters has what it did itself, and nothing of the other's nodes", async () => {
  const host = `shop-${tests}.example.com`;
  const spare = `spare-${tests}`;
  const shop = service("shop", { hostnames: [host] });
  const owner = await createCluster(`${cluster}-owner`, { hostnames: [host] });
  const second = await createCluster(spare, { hostnames: [host] });
  await published(`${cluster}-owner`, owner, "1.1", snapshotOf(shop));
  await published(spare, second, "1.1", snapshotOf(shop));
  const members = [`${cluster}-owner`, spare].map((name, priority) => ({ cluster: name, priority, weight: 1 }));
  expect((await call("PUT", `/api/v1/hostnames/${host}`, { token: owner, json: { members } })).status).toBe(200);
  const dial = { token: owner, cluster: `${cluster}-owner`, name: "node-a" };
  nodes.push(await connectNode(dial, (stream) => stream.fail(Reset.NOT_SENT)));
  nodes.push(await connectNode({ token: second, cluster: spare, name: "node-b" }, (stream) => stream.answer("hi")));
  const askShop = async (): Promise<number> => {
    const response = await exports.default.fetch(`http://${host}/`, { headers: byListener(host) });
    await response.text();
    return response.status;
  };
  await vi.waitFor(async () => expect(await askShop()).toBe(200), { timeout: 20_000, interval: 100 });
  cluster = `${cluster}-owner`;
  const first = await read("", owner);
  cluster = spare;
  const other = await read("", second);
  expect(await askShop()).toBe(200);
  const seen = [await first.request(), await other.request()].map(({ status, tries }) => [
    status,
    ...tries.map(({ node, outcome }) => `${node} ${outcome}`),
  ]);
  expect(seen).toEqual([
    [503, "node-a no-endpoints"],
    [200, "node-b 200"],
  ]);
});

describe("filters", () => {
  it("leave out what does not fit", async () => {
    await published(cluster, token, "1.1", snapshotOf(service("web"), service("other")));
    await connect("node-a", (stream) => stream.answer());
    await served("web");
    const reader = await read("?service=default%2Fother&method=post");
    await ask("web", "/", { method: "POST", body: "x" });
    await ask("other");
    await ask("other", "/wanted", { method: "POST", body: "x" });
    expect(await reader.line()).toMatchObject({ kind: "request", request: { path: "/wanted" } });
  });

  it.each([
    ["?status=600", "query.status"],
    ["?status=ok", "query.status"],
    ["?service=web", "query.service"],
    ["?trace=abc", "query.trace"],
    ["?colour=red", "query.colour"],
  ])("%s is refused, with the field's name", async (query, field) => {
    const response = await call("GET", `/api/v1/clusters/${cluster}/logs${query}`, { token });
    expect(response.status).toBe(400);
    expect(await response.json<Problem>()).toMatchObject({ reason: "invalid-request", field });
  });
});

describe("who may read", () => {
  it("the admin and the owner; not an agent, not another cluster, nobody without a token", async () => {
    const other = await createCluster(`other-${tests}`);
    const code = await call("POST", `/api/v1/clusters/${cluster}/install-code`, { token, json: {} });
    const { url } = await code.json<{ url: string }>();
    const manifest = await call("GET", new URL(url).pathname, { headers: { "x-postern-proto": "https" } });
    const [agent = ""] = /pst_[\w-]+/.exec(await manifest.text()) ?? [];
    const statuses: number[] = [];
    for (const by of [agent, other, undefined]) {
      const response = await call("GET", `/api/v1/clusters/${cluster}/logs`, by === undefined ? {} : { token: by });
      statuses.push(response.status);
      await response.text();
    }
    expect(statuses).toEqual([403, 403, 401]);
    await read("", ADMIN);
  });

  it("eight at once, and a ninth when one has gone", async () => {
    for (let i = 0; i < 8; i++) await read();
    const ninth = await call("GET", `/api/v1/clusters/${cluster}/logs`, { token });
    expect([ninth.status, (await ninth.json<Problem>()).reason]).toEqual([429, "too-many-readers"]);
    await readers.pop()?.stop();
    // That one has gone is seen when it is written to: at the next beat, or the one after.
    const soon = { timeout: 15_000, interval: 500 };
    await vi.waitFor(async () => {
      const response = await call("GET", `/api/v1/clusters/${cluster}/logs`, { token });
      if (response.status !== 200) await response.text();
      expect(response.status).toBe(200);
      readers.push(new Reader(response.body as ReadableStream<Uint8Array>));
    }, soon);
  });

  it("the log ends with its cluster", async () => {
    const reader = await read();
    expect((await call("DELETE", `/api/v1/clusters/${cluster}`, { token: ADMIN })).status).toBe(204);
    for (let line = await reader.line(); line !== undefined; line = await reader.line())
      expect(line.kind).toBe("alive");
  });
});
