// The publisher against a real HTTP server that answers as scripted.
import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { outcomeOf } from "../../../agent/publish/client.ts";
import { type Publisher, startPublisher, type Term } from "../../../agent/publish/push.ts";
import { ControlClient } from "../../../src/shared/control/client.ts";
import type { Snapshot } from "../../../src/shared/model/snapshot.ts";

interface Call {
  readonly line: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  readonly at: number;
}
type Reply = readonly [status: number, body?: object, headers?: Record<string, string>];

const snapshot = (name: string): Snapshot => ({ version: 1, nodes: [{ name }], services: [] });
const accepted: Reply = [200, { generation: { epoch: 1, sequence: 1 }, table: 1, changed: true, services: {} }];
const superseded: Reply = [409, { reason: "superseded", detail: "snapshot 1.1 is superseded by 2.1" }];

describe("publisher", () => {
  let server: Server;
  let calls: Call[];
  /** Answers to PUTs, in order; then all are accepted. */
  let replies: Reply[];
  let epochs: number;
  let publisher: Publisher;
  let start: (term?: Term) => Publisher;
  let token: string;
  let jitter: () => number;
  let logged: { level: number; msg: string }[];
  let onResult: () => unknown;

  beforeEach(async () => {
    [calls, replies, epochs, logged, token, jitter] = [[], [], 0, [], "pst_home_0123456789", () => 0];
    onResult = () => undefined;
    server = createServer((request, response) => void answer(request, response));
    const answer = async (request: IncomingMessage, response: ServerResponse) => {
      const raw = await buffer(request);
      const body = raw.length > 0 ? JSON.parse(gunzipSync(raw).toString()) : undefined;
      calls.push({ line: `${request.method} ${request.url}`, headers: request.headers, body, at: performance.now() });
      const [status, reply, headers] =
        request.method === "POST" ? ([200, { epoch: ++epochs }, {}] as const) : (replies.shift() ?? accepted);
      response.writeHead(status, headers).end(JSON.stringify(reply ?? {}));
    };
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as { port: number };
    const log = pino({ level: "info" }, { write: (line: string) => logged.push(JSON.parse(line)) });
    start = (term) =>
      startPublisher({
        edge: new URL(`http://127.0.0.1:${port}/base`),
        cluster: "home",
        token: () => token,
        log,
        random: () => jitter(),
        onResult: () => void onResult(),
        ...(term === undefined ? {} : { term }),
      });
    publisher = start();
  });
  afterEach(async () => {
    await publisher.stop();
    server.closeAllConnections();
    server.close();
    // Whatever happened, no secret in a log.
    expect(JSON.stringify(logged)).not.toContain("0123456789");
  });
  /** Of the n-th put: the name of its node, and when it came. */
  const nameIn = (n: number) => (puts()[n]?.body as Snapshot | undefined)?.nodes[0]?.name;
  const gap = (n: number) => (puts()[n]?.at ?? 0) - (puts()[n - 1]?.at ?? 0);
  const puts = () => calls.filter(({ line }) => line.startsWith("PUT"));
  const putCount = (count: number) =>
    vi.waitFor(() => expect(puts()).toHaveLength(count), { timeout: 8_000, interval: 5 });

  it("claims an epoch, then puts the snapshot as the API wants it", async () => {
    publisher.offer(snapshot("a"));
    await putCount(1);
    expect(calls.map(({ line }) => line)).toEqual([
      "POST /base/api/v1/clusters/home/epoch",
      "PUT /base/api/v1/clusters/home/snapshot",
    ]);
    expect(puts()[0]).toMatchObject({
      headers: {
        authorization: "Bearer pst_home_0123456789",
        "content-encoding": "gzip",
        "content-type": "application/json",
        "postern-generation": "1.1",
      },
      body: snapshot("a"),
    });
  });

  it("sends the first change at once and the last of a burst half a second later, nothing between", async () => {
    const begun = performance.now();
    publisher.offer(snapshot("a"));
    await putCount(1);
    for (const name of ["b", "c", "d"]) publisher.offer(snapshot(name));
    await putCount(2);
    expect(
      puts().map(({ body, headers }) => [(body as Snapshot).nodes[0]?.name, headers["postern-generation"]]),
    ).toEqual([
      ["a", "1.1"],
      ["d", "1.2"],
    ]);
    // Counted from the offer: the first put may arrive late, which is no reason to wait longer. A timer may be early by 1 ms.
    expect((puts()[1]?.at ?? 0) - begun).toBeGreaterThan(498);
  });

  it.each([0, 1, 2, 3, 4, 5])("sends what is offered %i turns after the edge took what was before", async (turns) => {
    onResult = async () => {
      onResult = () => undefined;
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      publisher.offer(snapshot("b"));
    };
    publisher.offer(snapshot("a"));
    await putCount(2);
    expect(nameIn(1)).toBe("b");
  });

  it("does not send the same content twice", async () => {
    publisher.offer(snapshot("a"));
    await putCount(1);
    publisher.offer(snapshot("a"));
    publisher.offer(snapshot("b"));
    await putCount(2);
    expect(nameIn(1)).toBe("b");
  });

  it("tries on where the edge fails, with the newest content, and says so once", async () => {
    replies.push([503, {}], [429, {}, { "retry-after": "0" }], [500, {}]);
    publisher.offer(snapshot("a"));
    await putCount(1);
    publisher.offer(snapshot("b"));
    await putCount(4);
    expect(nameIn(3)).toBe("b");
    expect(logged.filter(({ level }) => level >= 40).map(({ msg }) => msg)).toEqual([
      "snapshot not published, trying on: HTTP 503",
    ]);
  });

  it("does not take another server's 200 for success", async () => {
    replies.push([200, { hello: "world" }]);
    publisher.offer(snapshot("a"));
    await putCount(2);
    expect(logged.find(({ level }) => level >= 40)?.msg).toMatch(/answered, but not as a Postern edge does/);
  });

  it("names the field where the edge refuses the content, and waits for other content", async () => {
    replies.push([
      400,
      { reason: "invalid-snapshot", detail: "services[0] (default/web).ports: too many", remedy: "fewer" },
    ]);
    publisher.offer(snapshot("a"));
    await putCount(1);
    publisher.offer(snapshot("b"));
    await putCount(2);
    expect(logged.find(({ level }) => level >= 50)?.msg).toBe(
      "the edge refused the snapshot and keeps serving the last good one: HTTP 400 invalid-snapshot: services[0] (default/web).ports: too many; fewer",
    );
  });

  it("stops where the token is refused, until there is another", async () => {
    replies.push([401, { reason: "unknown-token" }]);
    publisher.offer(snapshot("a"));
    await putCount(1);
    // The same token is not tried again, however often its file is looked at.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(puts()).toHaveLength(1);
    token = "pst_home_new_0123456789";
    await putCount(2);
    expect(puts()[1]?.headers.authorization).toBe("Bearer pst_home_new_0123456789");
    expect(logged.filter(({ level }) => level >= 40)).toHaveLength(1);
  }, 10_000);

  it("claims a newer epoch where another agent's content holds after the grace", async () => {
    replies.push(superseded, superseded);
    publisher.offer(snapshot("a"));
    await putCount(3);
    expect(puts().map(({ headers }) => headers["postern-generation"])).toEqual(["1.1", "1.2", "2.1"]);
    expect(gap(1)).toBeGreaterThan(2_900);
  }, 10_000);

  it("of a leader claims a newer epoch at once, and makes it known before it is used", async () => {
    const raised: number[] = [];
    epochs = 8;
    publisher = start({
      epoch: 3,
      holds: () => true,
      raise: async (epoch) => {
        expect(puts()).toHaveLength(1);
        raised.push(epoch);
        return true;
      },
    });
    replies.push(superseded);
    publisher.offer(snapshot("a"));
    await putCount(2);
    expect(puts().map(({ headers }) => headers["postern-generation"])).toEqual(["3.1", "9.1"]);
    expect(raised).toEqual([9]);
  });

  it("of a leader that is none any more publishes nothing in a claimed epoch", async () => {
    publisher = start({ epoch: 3, holds: () => false, raise: async () => false });
    replies.push(superseded);
    publisher.offer(snapshot("a"));
    await vi.waitFor(() => expect(epochs).toBeGreaterThan(1), { timeout: 8_000 });
    expect(puts()).toHaveLength(1);
  });

  it("repeats itself after a reconnect, but gives way to newer content", async () => {
    publisher.offer(snapshot("a"));
    await putCount(1);
    await vi.waitFor(() => expect(logged.some(({ msg }) => msg === "snapshot published")).toBe(true));
    replies.push(superseded);
    publisher.repeat();
    await putCount(2);
    publisher.offer(snapshot("b"));
    await putCount(3);
    expect(epochs).toBe(1);
  });

  it("goes at once when the edge is back, however long it was away", async () => {
    replies.push(...Array.from({ length: 7 }, (): Reply => [500]), accepted);
    jitter = () => (puts().length < 7 ? 0 : 1);
    publisher.offer(snapshot("a"));
    await putCount(7);
    // Now it waits for 30 s.
    const waiting = vi.waitFor(() => expect(puts()).toHaveLength(8), { timeout: 8_000, interval: 5 });
    const repeating = setInterval(() => publisher.repeat(), 50);
    await waiting.finally(() => clearInterval(repeating));
  });
});

describe("outcomeOf", () => {
  it.each([
    [301, "{}", { kind: "refused", why: "HTTP 301: a redirect. Give --edge the final URL" }],
    [401, "{}", { kind: "unauthorised" }],
    [403, "not json", { kind: "unauthorised", why: "HTTP 403" }],
    [404, '{"reason":"no-such-cluster"}', { kind: "refused", why: "HTTP 404 no-such-cluster" }],
    [408, "{}", { kind: "unreachable" }],
    [409, '{"reason":"superseded"}', { kind: "superseded" }],
    [409, '{"reason":"something-else"}', { kind: "refused" }],
    [
      413,
      '{"reason":"body-too-large","field":"body"}',
      { kind: "refused", why: "HTTP 413 body-too-large: field body" },
    ],
    [503, "{}", { kind: "unreachable", afterMs: 2000 }],
    [200, "{}", { kind: "unreachable", why: "edge.test answered, but not as a Postern edge does" }],
  ])("HTTP %i %s", async (status, text, outcome) => {
    const target = { edge: new URL("http://edge.test"), token: () => "secret" };
    const answer = await new ControlClient(target, async () => ({ status, text, header: () => "2" })).claimEpoch(
      "home",
    );
    expect(answer.ok ? answer : outcomeOf(answer)).toMatchObject(outcome);
  });
});
