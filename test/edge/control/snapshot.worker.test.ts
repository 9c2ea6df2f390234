// Publishing: generations fence, equal content changes nothing, sizes are limited while the body streams, and whatever is refused
// leaves the last good state serving.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SNAPSHOT_MAX_BYTES, type Snapshot } from "../../../src/shared/model/snapshot.ts";
import {
  type Problem,
  call,
  createCluster,
  gzip,
  gzipOf,
  noise,
  publish,
  published,
  service,
  snapshotOf,
  forgetAll,
} from "../worker/edge.ts";

let token: string;
beforeEach(async () => {
  token = await createCluster("home");
});
afterEach(forgetAll);

const put = async (body: BodyInit, headers: Record<string, string> = {}) =>
  await call("PUT", "/api/v1/clusters/home/snapshot", {
    token,
    body,
    headers: { "postern-generation": "1.1", "content-type": "application/json", ...headers },
  });

const generation = async (): Promise<number> =>
  (await (await call("GET", "/api/v1/clusters/home/table", { token })).json<{ generation: number }>()).generation;

describe("a snapshot", () => {
  it("becomes a table, hostnames and endpoints", async () => {
    const result = await published("home", token, "1.0", snapshotOf(service("web")));
    expect(result).toMatchObject({
      generation: { epoch: 1, sequence: 0 },
      changed: true,
      services: { "default/web": { hostnames: ["web-default-home.edge.test"] } },
    });
    const table = await (await call("GET", "/api/v1/clusters/home/table", { token })).json();
    expect(table).toMatchObject({
      cluster: "home",
      generation: result.table,
      listeners: expect.arrayContaining([
        expect.objectContaining({ hostname: "web-default-home.edge.test", port: 80 }),
      ]),
    });
    expect(await (await call("GET", "/api/v1/clusters/home/endpoints", { token })).json()).toEqual({
      endpoints: [{ ...service("web").endpoints[0], service: "default/web" }],
    });
    expect(await (await call("GET", "/api/v1/clusters/home/nodes", { token })).json()).toMatchObject({
      nodes: [
        { node: "node-a", known: true, directAddress: "127.0.0.1", tunnel: [] },
        { node: "node-b", known: true, tunnel: [] },
      ],
      silentShards: [],
    });
  });

  it("comes back as 304 where the caller has it", async () => {
    await published("home", token, "1.0", snapshotOf(service("web")));
    const first = await call("GET", "/api/v1/clusters/home/table", { token });
    await first.text();
    const etag = first.headers.get("etag") ?? "";
    const headers = { "if-none-match": etag };
    expect((await call("GET", "/api/v1/clusters/home/table", { token, headers })).status).toBe(304);
    await published("home", token, "1.1", snapshotOf());
    const changed = await call("GET", "/api/v1/clusters/home/table", { token, headers });
    expect(changed.status).toBe(200);
    await changed.text();
  });
});

describe("generations", () => {
  const one = snapshotOf(service("one"));
  const two = snapshotOf(service("two"));

  // [stored, published, content, status, changed]
  it.each<readonly [string, string, Snapshot, number, boolean | undefined]>([
    ["2.5", "2.6", two, 200, true],
    ["2.5", "3.0", two, 200, true],
    ["2.5", "2.5", two, 409, undefined],
    ["2.5", "2.4", two, 409, undefined],
    ["2.5", "1.9", two, 409, undefined],
    ["2.5", "2.6", one, 200, false],
    ["2.5", "2.5", one, 200, false],
    ["2.5", "1.9", one, 200, false],
  ])("stored %s, published %s: the answer", async (stored, next, content, status, changed) => {
    await published("home", token, stored, one);
    const before = await generation();
    const response = await publish("home", token, next, content);
    expect(response.status).toBe(status);
    const answer = await response.json<Problem & { changed?: boolean }>();
    expect(answer.changed).toBe(changed);
    if (status === 409) expect(answer).toMatchObject({ reason: "superseded", detail: expect.stringContaining(stored) });
    expect((await generation()) > before).toBe(changed === true);
  });

  it("an old leader is fenced off by a new one that says the same", async () => {
    await published("home", token, "1.7", one);
    expect(await published("home", token, "2.0", one)).toMatchObject({ generation: { epoch: 2, sequence: 0 } });
    expect((await publish("home", token, "1.8", two)).status).toBe(409);
    expect((await published("home", token, "1.8", one)).generation).toEqual({ epoch: 2, sequence: 0 });
  });

  it("a granted epoch is above all that were granted or used", async () => {
    const grant = async () =>
      (await (await call("POST", "/api/v1/clusters/home/epoch", { token })).json<{ epoch: number }>()).epoch;
    expect([await grant(), await grant()]).toEqual([1, 2]);
    await published("home", token, "9.0", one);
    expect(await grant()).toBe(10);
    // The grant alone fences nobody off: its holder may never publish.
    await published("home", token, "9.1", two);
  });

  it("the table's generation stays where only what it does not hold changed", async () => {
    await published("home", token, "1.0", one);
    const before = await generation();
    const condition = {
      type: "postern.dev/Note",
      status: "True" as const,
      reason: "Test",
      message: "said by the agent",
    };
    const result = await published("home", token, "1.1", snapshotOf(service("one", { conditions: [condition] })));
    expect(result).toMatchObject({ changed: true, table: before });
    const { services } = await (await call("GET", "/api/v1/clusters/home/conditions", { token })).json<{
      services: Record<string, unknown[]>;
    }>();
    expect(services["default/one"]).toContainEqual(condition);
  });

  it("two publications at once are one after the other", async () => {
    const answers = await Promise.all(
      [0, 1, 2].map(async (n) => (await publish("home", token, `1.${n}`, snapshotOf(service(`web-${n}`)))).status),
    );
    expect(answers.every((status) => status === 200 || status === 409)).toBe(true);
    const result = await published("home", token, "1.9", snapshotOf(service("web-2")));
    expect(Object.keys(result.services)).toEqual(["default/web-2"]);
  });
});

describe("a bad snapshot", () => {
  const web = service("web");
  it.each<readonly [string, unknown, string]>([
    ["another version", { ...snapshotOf(), version: 2 }, "version"],
    ["no nodes", { version: 1, services: [] }, "nodes"],
    [
      "a port out of range",
      snapshotOf(service("a"), { ...web, ports: [{ name: "http", port: 70_000, protocol: "TCP" }] }),
      "services[1] (default/web).ports[0].port",
    ],
    [
      "an unknown algorithm",
      snapshotOf({ ...web, algorithm: "fastest" as never }),
      "services[0] (default/web).algorithm",
    ],
    ["a wildcard", snapshotOf({ ...web, hostnames: ["*.x.test"] }), "services[0] (default/web).hostnames[0]"],
    ["a weight that is text", { ...snapshotOf(), nodes: [{ name: "n", weight: "1" }] }, "nodes[0] (n).weight"],
    ["a Service twice", snapshotOf(web, web), "service default/web is listed twice"],
    ["a node twice", { ...snapshotOf(), nodes: [{ name: "n" }, { name: "n" }] }, "node n is listed twice"],
    ["null", null, "snapshot"],
  ])("%s is named, and the last good one keeps serving", async (_, snapshot, detail) => {
    await published("home", token, "1.0", snapshotOf(web));
    const before = await generation();
    const response = await publish("home", token, "1.1", snapshot);
    expect(response.status).toBe(400);
    expect(await response.json<Problem>()).toMatchObject({
      reason: "invalid-snapshot",
      detail: expect.stringContaining(detail),
    });
    expect(await generation()).toBe(before);
    await published("home", token, "1.1", snapshotOf(web, service("second")));
  });

  it("that is no JSON says so", async () => {
    const response = await put("{ nonsense");
    expect(response.status).toBe(400);
    expect(await response.json<Problem>()).toMatchObject({ reason: "invalid-json" });
  });
});

describe("a bomb", () => {
  it("of one cluster is refused at once, and does not keep another one's requests waiting", async () => {
    const other = await createCluster("other");
    const empties = `{"endpoints":[${"{},".repeat(9_999)}{}]}`;
    const bomb = `{"version":1,"nodes":[],"services":[${`${empties},`.repeat(264)}${empties}]}`;
    const body = await gzip(bomb);
    expect(body.length).toBeLessThan(20_000);
    const bombing = { over: false };
    const answer = put(body, { "content-encoding": "gzip" }).finally(() => {
      bombing.over = true;
    });
    let longest = 0;
    for (let asked = 0; asked < 1_000 && !bombing.over; asked++) {
      const begun = performance.now();
      await (await call("GET", "/api/v1/clusters/other", { token: other })).text();
      longest = Math.max(longest, performance.now() - begun);
      // Requests of this very process leave workerd's timers no turn; those of real clients do.
      await scheduler.wait(5);
    }
    const response = await answer;
    expect([response.status, (await response.json<Problem>()).reason]).toEqual([413, "snapshot-too-large"]);
    // It was a minute and more, and then the process ended.
    expect(longest).toBeLessThan(5_000);
  });
});

describe("the body", () => {
  const text = JSON.stringify(snapshotOf(service("web")));

  it("may be gzip", async () => {
    expect((await put(await gzip(text), { "content-encoding": "gzip" })).status).toBe(200);
  });

  it("keeps every character, across chunks of storage", async () => {
    // Three bytes a character, so that some chunk is cut within one.
    const message = "€".repeat(4000);
    const conditions = Array.from({ length: 32 }, (_, n) => ({
      type: `T${n}`,
      status: "True" as const,
      reason: "R",
      message,
    }));
    const services = Array.from({ length: 8 }, (_, n) => service(`web-${n}`, { conditions }));
    await published("home", token, "1.0", snapshotOf(...services));
    expect(await published("home", token, "1.0", snapshotOf(...services))).toMatchObject({ changed: false });
    const answer = await (await call("GET", "/api/v1/clusters/home/conditions", { token })).json<{
      services: Record<string, { message: string }[]>;
    }>();
    expect(answer.services["default/web-7"]).toContainEqual(conditions[31]);
  });

  it.each([
    ["plain text that claims to be gzip", async () => new TextEncoder().encode(text)],
    ["gzip that breaks off", async () => (await gzip(text)).slice(0, 60)],
    [
      "gzip with a wrong checksum",
      async () => (await gzip(text)).map((byte, at, all) => (at === all.length - 8 ? ~byte : byte)),
    ],
    ["nothing", async () => new Uint8Array()],
  ])("%s: 400", async (_, make) => {
    const response = await put(await make(), { "content-encoding": "gzip" });
    expect({ status: response.status, reason: (await response.json<Problem>()).reason }).toEqual({
      status: 400,
      reason: "invalid-gzip",
    });
  });

  it("that is not UTF-8: 400", async () => {
    const response = await put(new Uint8Array([0x7b, 0xff, 0xfe]));
    expect({ status: response.status, problem: await response.json() }).toMatchObject({
      status: 400,
      problem: { reason: "invalid-json" },
    });
  });

  it("one byte too many: 413", async () => {
    const fits = await put(" ".repeat(SNAPSHOT_MAX_BYTES - text.length) + text);
    expect(fits.status).toBe(200);
    await fits.text();
    const over = await put(" ".repeat(SNAPSHOT_MAX_BYTES - text.length + 1) + text, { "postern-generation": "1.2" });
    expect({ status: over.status, reason: (await over.json<Problem>()).reason }).toEqual({
      status: 413,
      reason: "snapshot-too-large",
    });
  });

  it.each<readonly [string, number, () => Uint8Array, string]>([
    ["a small archive that unpacks to much", 64, () => new Uint8Array(64 * 1024), "snapshot-too-large"],
    ["a large archive", 4, noise, "body-too-large"],
  ])("%s: 413", async (_, mebibytes, piece, reason) => {
    const response = await put(await gzipOf(mebibytes, piece), { "content-encoding": "gzip" });
    expect({ status: response.status, reason: (await response.json<Problem>()).reason }).toEqual({
      status: 413,
      reason,
    });
  });
});
