// Transport direct in one isolate: scripted fetches, a set clock, tables that come and go. What is counted is seen by where
// requests go.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Direct, type DirectOutcome, type DirectRequest } from "../../../src/edge/direct/direct.ts";
import { dialRules } from "../../../src/edge/routing/dial.ts";
import { index, type Match } from "../../../src/edge/routing/match.ts";
import type { Route, RoutingTable } from "../../../src/edge/routing/table.ts";
import type { Failed } from "../../../src/edge/forward/transport.ts";
import type { DirectTry } from "../../../src/edge/direct/passing.ts";
import { Clock, settled } from "../forward/clock.ts";

const HOST = "web.edge.test";
const dial = dialRules({ ADMIN_HOST: "admin.test", LISTENER_PORTS: "any" });

/** Nodes n0, n1, …, each at an address of its own. */
function table(generation: number, nodes: readonly number[], more: Partial<Route> = {}): RoutingTable {
  return {
    version: 1,
    cluster: "home",
    generation,
    nodes: nodes.map((n) => ({ name: `n${n}`, address: `10.0.0.${n}` })),
    routes: [
      {
        service: "default/web",
        port: 80,
        transport: "direct",
        nodePort: 30080,
        algorithm: "round-robin",
        affinity: false,
        sourceRanges: [],
        nodes: nodes.map((_, node) => ({ node, weight: 1, preferred: true })),
        ...more,
      },
    ],
    listeners: [{ hostname: HOST, port: 80, tls: false, route: 0 }],
  };
}

interface Pending extends DirectTry {
  readonly node: number;
  answer(): void;
  fail(): void;
}

class Isolate {
  readonly clock = new Clock();
  /** Tries without an outcome, in the order in which they came. */
  readonly open: Pending[] = [];
  /** Nodes asked, in order. */
  readonly asked: number[] = [];
  readonly direct: Direct;
  /** What a node does at once; undefined: the test does it. */
  act: (node: number) => "answer" | "fail" | undefined = () => undefined;
  #cluster = {};
  #table: RoutingTable;
  #match: Match;

  constructor(first: RoutingTable) {
    this.direct = new Direct({
      exchange: (attempt) => this.#exchange(attempt),
      random: () => 0,
      now: this.clock.now,
      later: this.clock.later,
    });
    this.#table = first;
    this.#match = matchOf(first);
  }

  use(next: RoutingTable, cluster = this.#cluster): void {
    this.#table = next;
    this.#match = matchOf(next);
    this.#cluster = cluster;
  }

  fetch(request = new Request(`http://${HOST}/`), more: Partial<DirectRequest> = {}): Promise<DirectOutcome> {
    return this.direct.fetch(request, {
      match: this.#match,
      table: this.#table,
      probes: { version: 0, unhealthy: [] },
      trace: undefined,
      trusted: false,
      cluster: this.#cluster,
      dial,
      client: "192.0.2.1",
      scheme: "http",
      forwarderSecret: undefined,
      target: new URL(request.url).pathname,
      again: false,
      sightings: 3,
      lastResort: true,
      ...more,
    });
  }

  /** Asks, and lets what answers at once answer. */
  async ask(request?: Request, more?: Partial<DirectRequest>): Promise<number | string> {
    const outcome = await this.fetch(request, more);
    if (typeof outcome === "string") return outcome;
    return outcome instanceof Response ? Number(outcome.headers.get("node")) : outcome.reason;
  }

  #exchange(attempt: DirectTry): Promise<Response | Failed> {
    const node = Number(/10\.0\.0\.(\d+):/.exec(attempt.url)?.[1]);
    this.asked.push(node);
    return new Promise((resolve) => {
      const done = (outcome: Response | Failed): void => {
        const at = this.open.findIndex((each) => each === pending);
        if (at >= 0) this.open.splice(at, 1);
        resolve(outcome);
      };
      const pending: Pending = {
        ...attempt,
        node,
        answer: () => done(new Response("", { headers: { node: String(node) } })),
        fail: () => done({ ok: false, sent: "maybe", reason: "endpoint-broke", detail: "scripted" }),
      };
      this.open.push(pending);
      const act = this.act(node);
      if (act !== undefined) pending[act]();
    });
  }
}

function matchOf(of: RoutingTable): Match {
  const found = index(of).http.get(HOST);
  if (found === undefined) throw new Error("no such listener");
  return found;
}

const answering = (first: RoutingTable): Isolate => {
  const isolate = new Isolate(first);
  isolate.act = () => "answer";
  return isolate;
};
const post = (headers: Record<string, string> = {}): Request =>
  new Request(`http://${HOST}/`, { method: "POST", body: "data", headers });

describe("a new generation of the table", () => {
  test("does not start the round anew", async () => {
    const isolate = answering(table(1, [1, 2, 3]));
    for (let generation = 2; generation < 6; generation++) {
      await isolate.ask();
      isolate.use(table(generation, [1, 2, 3]));
    }
    expect(isolate.asked).toEqual([1, 2, 3, 1]);
  });

  test("keeps what is in flight: least-request goes where less is", async () => {
    const least = { algorithm: "least-request" as const };
    const isolate = new Isolate(table(1, [1, 2], least));
    // Of two equal ones random() = 0 draws the first.
    void isolate.fetch();
    await settled();
    expect(isolate.asked).toEqual([1]);
    isolate.use(table(2, [1, 2], least));
    void isolate.fetch();
    await settled();
    expect(isolate.asked).toEqual([1, 2]);
    for (const each of isolate.open.slice()) each.answer();
    await settled();
    isolate.act = () => "answer";
    isolate.use(table(3, [1, 2], least));
    expect([await isolate.ask(), await isolate.ask()]).toEqual([1, 1]);
  });

  test("drops routes and nodes that went", async () => {
    const isolate = answering(table(1, [1, 2, 3]));
    await isolate.ask();
    isolate.use(table(2, [1, 2, 3], { service: "default/other" }));
    await isolate.ask();
    isolate.use(table(3, [1, 2, 3]));
    await isolate.ask();
    expect(isolate.asked).toEqual([1, 1, 1]);
  });
});

describe("retries", () => {
  test("of one cluster do not spend another's budget", async () => {
    const isolate = new Isolate(table(1, [1, 2]));
    isolate.act = () => "fail";
    // More than any floor of a budget: from then on this cluster gets one try a request.
    for (let i = 0; i < 1_500; i++) await isolate.ask();
    isolate.asked.length = 0;
    await isolate.ask();
    expect(isolate.asked).toHaveLength(1);
    isolate.use(table(1, [1, 2]), {});
    isolate.asked.length = 0;
    await isolate.ask();
    expect(isolate.asked).toHaveLength(2);
  });

  test.each([
    ["GET", new Request(`http://${HOST}/`), [1, 2, 3]],
    ["POST", post(), [1]],
    [
      "POST with an Idempotency-Key and a small body",
      post({ "idempotency-key": "1", "content-length": "4" }),
      [1, 2, 3],
    ],
    ["POST with an Idempotency-Key and a body of unknown length", post({ "idempotency-key": "1" }), [1]],
    [
      "PUT with a small body",
      new Request(`http://${HOST}/`, { method: "PUT", body: "x", headers: { "content-length": "1" } }),
      [1, 2, 3],
    ],
  ])("%s that fails everywhere goes to %j", async (_, request, expected) => {
    const isolate = new Isolate(table(1, [1, 2, 3, 4]));
    isolate.act = () => "fail";
    expect(await isolate.ask(request)).toBe("endpoint-broke");
    expect(isolate.asked).toEqual(expected);
  });

  test("a repeat of the listener proxy is sent once, and hedged never", async () => {
    const isolate = new Isolate(table(1, [1, 2, 3]));
    isolate.act = (node) => (node === 1 ? "fail" : undefined);
    const again = { again: true };
    expect(await isolate.ask(undefined, again)).toBe("endpoint-broke");
    const slow = isolate.ask(undefined, again);
    await isolate.clock.pass(5_000);
    expect(isolate.asked).toEqual([1, 2]);
    isolate.open[0]?.answer();
    expect(await slow).toBe(2);
  });

  test("what other clusters have left is the cap", async () => {
    const isolate = new Isolate(table(1, [1, 2, 3]));
    isolate.act = () => "fail";
    expect(await isolate.fetch(undefined, { sightings: 1 })).toMatchObject({ sightings: 1 });
    expect(await isolate.fetch(undefined, { sightings: 2 })).toMatchObject({ sightings: 2 });
  });
});

describe("a slow node", () => {
  test("is no sick node: long polls of a quiet isolate go to two nodes, and eject none", async () => {
    const isolate = new Isolate(table(1, [1, 2, 3, 4]));
    for (let poll = 0; poll < 20; poll++) {
      const before = isolate.asked.length;
      const asked = isolate.ask();
      await isolate.clock.pass(30_000);
      expect(isolate.asked.length - before).toBe(2);
      // The first answers first: it was asked a second before.
      isolate.open[0]?.answer();
      await asked;
      isolate.open[0]?.answer();
      await settled();
    }
    isolate.asked.length = 0;
    isolate.act = () => "answer";
    for (let i = 0; i < 4; i++) await isolate.ask();
    expect(new Set(isolate.asked).size).toBe(4);
  });

  test.each(["PUT", "DELETE", "OPTIONS", "POST"])(
    "%s is not sent to a second node beside the first",
    async (method) => {
      const isolate = new Isolate(table(1, [1, 2]));
      const headers = { "idempotency-key": "1", "content-length": "1" };
      void isolate.ask(new Request(`http://${HOST}/`, { method, headers, body: "x" }));
      await isolate.clock.pass(60_000);
      expect(isolate.asked).toEqual([1]);
    },
  );

  test("a WebSocket's handshake is not sent to a second node beside the first", async () => {
    const isolate = new Isolate(table(1, [1, 2]));
    void isolate.ask(new Request(`http://${HOST}/`, { headers: { upgrade: "websocket" } }));
    await isolate.clock.pass(60_000);
    expect(isolate.asked).toEqual([1]);
  });

  test("that was silent while another answered comes after the others for ten seconds", async () => {
    const isolate = new Isolate(table(1, [1, 2, 3]));
    isolate.act = (node) => (node === 1 ? undefined : "answer");
    const first = isolate.ask();
    await isolate.clock.pass(1_000);
    expect(await first).toBe(2);
    isolate.asked.length = 0;
    for (let i = 0; i < 6; i++) await isolate.ask();
    expect(isolate.asked).not.toContain(1);
    await isolate.clock.pass(10_000);
    isolate.act = () => "answer";
    isolate.asked.length = 0;
    for (let i = 0; i < 3; i++) await isolate.ask();
    expect(isolate.asked).toContain(1);
  });
});

describe("nodes that probes found unhealthy", () => {
  const unhealthy = (...nodes: number[]) => ({
    version: 1,
    unhealthy: nodes.map((node) => ({ node: `n${node}`, reason: "x" })),
  });

  test("are asked where nothing else is left, and only as the last resort", async () => {
    const isolate = answering(table(1, [1, 2]));
    expect(await isolate.ask(undefined, { probes: unhealthy(1) })).toBe(2);
    expect(await isolate.ask(undefined, { probes: unhealthy(1, 2) })).toBeTypeOf("number");
    isolate.asked.length = 0;
    const left = { probes: unhealthy(1, 2), lastResort: false };
    expect(await isolate.ask(undefined, left)).toBe("none-available");
    expect(isolate.asked).toEqual([]);
  });
});

describe("what a fetch would refuse or change goes by tunnel, and blames nobody", () => {
  const withBody = (method: string): Request =>
    // Node.js refuses what workerd hands over.
    Object.defineProperty(new Request(`http://${HOST}/`, { method }), "body", { value: new ReadableStream() });

  test.each(["GET", "HEAD"])("%s with a body", async (method) => {
    const isolate = answering(table(1, [1]));
    expect(await isolate.ask(withBody(method))).toBe("by-tunnel");
    expect(isolate.asked).toEqual([]);
  });

  test.each([
    "/a/../b",
    "/a/./b",
    "/..",
    "/a/%2e%2e/b",
    "/a/.%2E/b",
    "/a\\b",
    "/x?it's",
    "/x^",
    "/x{y}",
    "/x y",
    '/x?"',
    "/x<",
    "/x`",
    "/grüße",
    "/gr\xc3\xb6",
    "/x#y",
    "/x\ty",
    "*",
    "x.test:443",
    "",
  ])("target %j", async (target) => {
    const isolate = answering(table(1, [1]));
    expect(await isolate.ask(undefined, { target })).toBe("by-tunnel");
    expect(isolate.asked).toEqual([]);
  });

  test.each([
    "/",
    "/x?a=1&b[]=2",
    "//double//x",
    "/.well-known/x",
    "/...",
    "/a/..b/..;c",
    "/x?/../y",
    "/x?a=^{}|",
    "/%zz%",
    "/%E5%A4%A9",
    "/~!$&()*+,;=:@?x?y",
    "/it's",
  ])("target %s is passed on as it is", async (target) => {
    const isolate = new Isolate(table(1, [1]));
    const asked = isolate.ask(undefined, { target });
    await settled();
    expect(isolate.open[0]?.url).toBe(`http://10.0.0.1:30080${target}`);
    isolate.open[0]?.answer();
    await asked;
  });

  test("a node whose address may not be dialled is not, whatever the table says", async () => {
    const bad = { ...table(1, [1]), nodes: [{ name: "n1", address: "127.0.0.1" }] };
    const isolate = answering(bad);
    expect(await isolate.ask()).toBe("by-tunnel");
    isolate.use(table(2, [1], { nodePort: 19_700 }));
    expect(await isolate.ask()).toBe("by-tunnel");
    expect(isolate.asked).toEqual([]);
  });
});

test("whatever happens, every place is given back", async () => {
  const step = fc.record({
    do: fc.constantFrom("ask", "ask", "answer", "fail", "wait", "table"),
    which: fc.nat(9),
    method: fc.constantFrom("GET", "PUT", "POST"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const least = { algorithm: "least-request" as const };
      const isolate = new Isolate(table(1, [0, 1, 2], least));
      let generation = 1;
      const answers: Promise<unknown>[] = [];
      for (const { do: what, which, method } of steps) {
        if (what === "ask") answers.push(isolate.ask(new Request(`http://${HOST}/`, { method })));
        else if (what === "wait") await isolate.clock.pass(which * 300);
        else if (what === "table") isolate.use(table(++generation, [0, 1, 2].slice(which % 2), least));
        else isolate.open[which % Math.max(1, isolate.open.length)]?.[what]();
        await settled();
      }
      isolate.act = () => "answer";
      for (const each of isolate.open.slice()) each.answer();
      await Promise.all(answers);
      await settled();
      for (const each of isolate.open.slice()) each.answer();
      await settled();
      // Nothing in flight, nobody silent or ejected any more: of equals the first is drawn each time.
      await isolate.clock.pass(1_000_000);
      isolate.use(table(++generation, [0, 1, 2], least));
      for (const expected of [0, 0, 0]) expect(await isolate.ask()).toBe(expected);
      const [held] = [isolate.fetch(), isolate.fetch()];
      await held;
    }),
    { numRuns: 200 },
  );
});
