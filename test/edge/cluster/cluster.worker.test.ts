// ClusterObject: what survives, what is told to the TunnelObjects and repeated until they have heard it, and tokens that stop.
import {
  abortAllDurableObjects,
  evictAllDurableObjects,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ClusterObject } from "../../../src/edge/cluster/cluster-object.ts";
import { ClusterStore } from "../../../src/edge/cluster/store.ts";
import { COMPILE_VERSION } from "../../../src/edge/routing/compile.ts";
import type { Env } from "../../../src/edge/env.ts";
import { GatewayObject } from "../../../src/edge/directory/gateway-object.ts";
import { TunnelObject } from "../../../src/edge/tunnel/tunnel-object.ts";
import {
  ADMIN,
  type Problem,
  call,
  createCluster,
  publish,
  published,
  service,
  snapshotOf,
  forgetAll,
  byAdminPort,
} from "../worker/edge.ts";

const cluster = (name = "home") => env.CLUSTER.get(env.CLUSTER.idFromName(name));

afterEach(async () => {
  vi.restoreAllMocks();
  await forgetAll();
});

/** An agent's socket, and why it was closed. */
async function dial(
  token: string,
  shard = 0,
): Promise<{ socket: WebSocket; closed: Promise<{ code: number; reason: string }> }> {
  const response = await call("GET", `/api/v1/clusters/home/tunnel/${shard}`, {
    token,
    headers: { upgrade: "websocket" },
  });
  const socket = response.webSocket;
  if (socket === null || socket === undefined) throw new Error(`dial: ${response.status} ${await response.text()}`);
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason })),
  );
  socket.accept();
  return { socket, closed };
}

describe.each([
  ["evicted", async () => await evictAllDurableObjects()],
  ["aborted", async () => await abortAllDurableObjects()],
])("a cluster whose objects are %s", (_, lose) => {
  it("keeps token, snapshot, generation, table, conditions and granted epochs", async () => {
    const token = await createCluster("home");
    const { epoch } = await (await call("POST", "/api/v1/clusters/home/epoch", { token })).json<{ epoch: number }>();
    const result = await published("home", token, `${epoch}.1`, snapshotOf(service("web")));
    const before = [await cluster().table(), await cluster().endpoints(), await cluster().conditions()];
    await lose();
    expect([await cluster().table(), await cluster().endpoints(), await cluster().conditions()]).toEqual(before);
    expect(await published("home", token, `${epoch}.1`, snapshotOf(service("web")))).toEqual({
      ...result,
      changed: false,
    });
    expect((await publish("home", token, `${epoch}.1`, snapshotOf())).status).toBe(409);
    expect(await cluster().grantEpoch()).toEqual({ ok: true, epoch: epoch + 1 });
  });

  it.each<readonly [string, (store: ClusterStore) => void]>([
    ["the edge's settings are others than before", (store) => store.setSettings("others")],
    [
      "the edge is a version that compiles differently",
      (store) => {
        const [version, ...settings] = JSON.parse(store.settings() ?? "[]") as [number, ...unknown[]];
        expect(version).toBe(COMPILE_VERSION);
        store.setSettings(JSON.stringify([version - 1, ...settings]));
      },
    ],
  ])("compiles its table anew where %s", async (_, leave) => {
    const token = await createCluster("home");
    await published("home", token, "1.1", snapshotOf(service("web")));
    const listeners = async () => (await cluster().table()).table?.listeners;
    const before = await listeners();
    await runInDurableObject(cluster(), (_, { storage }) => {
      // As another edge has left it.
      const store = new ClusterStore(storage.sql);
      const empty = { version: 1, cluster: "home", nodes: [], routes: [], listeners: [] };
      store.setTable(JSON.stringify(empty), Date.now());
      leave(store);
    });
    await lose();
    await vi.waitFor(async () => expect(await listeners()).toEqual(before));
  });

  it("keeps a Service's default name, whoever else comes", async () => {
    const token = await createCluster("home");
    const [web, other] = [service("b", { namespace: "c-a" }), service("b-c", { namespace: "a" })];
    const first = await published("home", token, "1.1", snapshotOf(web));
    await lose();
    const second = await published("home", token, "1.2", snapshotOf(other, web));
    expect(second.services["c-a/b"]?.hostnames).toEqual(first.services["c-a/b"]?.hostnames);
    expect(second.services["a/b-c"]?.hostnames).not.toEqual(first.services["c-a/b"]?.hostnames);
  });
});

describe("a change of what the edge's owner lets transport direct dial", () => {
  const node = { name: "n1", directAddress: "10.0.0.1" };
  const web = service("web", {
    transport: "direct",
    ports: [{ name: "", port: 80, protocol: "TCP", nodePort: 30080 }],
    endpoints: [
      { key: "p", address: "10.1.0.1", node: "n1", ready: true, serving: true, terminating: false, ports: {} },
    ],
  });
  const { DIRECT_ADDRESSES: _any, ...strict } = env as Env;
  it.each<[string, Env, Env]>([
    ["NODE_PORTS", strict, { ...strict, NODE_PORTS: "31000-31999" }],
    // The node's address is the admin host's: only "any" lets it be dialled.
    ["DIRECT_ADDRESSES", { ...env, ADMIN_HOST: "10.0.0.1" }, { ...strict, ADMIN_HOST: "10.0.0.1" }],
  ])("reaches table and conditions without a new snapshot: %s", async (_name, before, after) => {
    const token = await createCluster("home");
    await published("home", token, "1.1", { version: 1, nodes: [node], services: [web] });
    /** What an object that starts with these settings comes to serve. */
    const comesToServe = async (settings: Env, expected: unknown) =>
      await runInDurableObject(cluster(), async (_object, state) => {
        const started = new ClusterObject(state, settings);
        await vi.waitFor(async () => {
          const route = (await started.table()).table?.routes[0];
          const { "default/web": said = [] } = await started.conditions();
          expect([route?.transport, said.some(({ reason }) => reason === "DirectNotPossible")]).toEqual(expected);
        });
      });
    await comesToServe(before, ["direct", false]);
    await comesToServe(after, ["tunnel", true]);
  });
});

describe("tables", () => {
  it("are pushed to dialled shards only, each generation once", async () => {
    const pushes: [string, number][] = [];
    vi.spyOn(TunnelObject.prototype, "setTable").mockImplementation(async function (this: TunnelObject, table) {
      pushes.push([table.cluster, table.generation]);
    });
    const token = await createCluster("home", { shards: 3 });
    const first = await published("home", token, "1.1", snapshotOf(service("web")));
    expect(pushes).toEqual([]);
    await cluster().dialled(1);
    await vi.waitFor(() => expect(pushes).toEqual([["home", first.table]]));
    await cluster().dialled(1);
    await cluster().dialled(9);
    const second = await published("home", token, "1.2", snapshotOf(service("other")));
    // Not in the table: nothing to push.
    const conditions = [{ type: "Note", status: "True" as const, reason: "Test", message: "" }];
    await published("home", token, "1.3", snapshotOf(service("other", { conditions })));
    expect(pushes).toEqual([
      ["home", first.table],
      ["home", second.table],
    ]);
  });

  it("that a shard did not take are pushed again by the alarm, the newest only, though the object was lost", async () => {
    const token = await createCluster("home");
    await cluster().dialled(0);
    let broken = true;
    const taken: number[] = [];
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(TunnelObject.prototype, "setTable").mockImplementation(async (table) => {
      if (broken) throw new Error("not now");
      taken.push(table.generation);
    });
    await published("home", token, "1.1", snapshotOf(service("web")));
    const { table } = await published("home", token, "1.2", snapshotOf(service("other")));
    await evictAllDurableObjects();
    broken = false;
    await runDurableObjectAlarm(cluster());
    await vi.waitFor(() => expect(taken).toEqual([table]));
    // Nothing is left to do: no alarm is set.
    expect(await runDurableObjectAlarm(cluster())).toBe(false);
  });

  it("do not keep a publication waiting for a shard that never answers", async () => {
    const token = await createCluster("home");
    await cluster().dialled(0);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    vi.spyOn(TunnelObject.prototype, "setTable").mockImplementation(async () => await scheduler.wait(60_000));
    const started = Date.now();
    await published("home", token, "1.1", snapshotOf(service("web")));
    expect(Date.now() - started).toBeLessThan(4500);
  });

  it("of a cluster made anew have higher generations than those of the old one", async () => {
    const token = await createCluster("home");
    await published("home", token, "1.1", snapshotOf(service("web")));
    const { generation } = await cluster().table();
    await (await call("DELETE", "/api/v1/clusters/home", { token: ADMIN })).text();
    expect(await cluster().table()).toEqual({ generation: 0 });
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 1000);
    const again = await createCluster("home");
    expect((await published("home", again, "1.1", snapshotOf(service("web")))).table).toBeGreaterThan(generation);
  });
});

describe("a cluster made anew", () => {
  it("has higher generations, however often the old one published in its last second", async () => {
    const clock = vi.spyOn(Date, "now").mockReturnValue(1_800_000_000_000);
    const token = await createCluster("home");
    for (let n = 1; n <= 5; n++) await published("home", token, `1.${n}`, snapshotOf(service(`web-${n}`)));
    const { generation, probes } = await cluster().table();
    await (await call("DELETE", "/api/v1/clusters/home", { token: ADMIN })).text();
    clock.mockReturnValue(1_800_000_000_200);
    const again = await createCluster("home");
    const { table } = await published("home", again, "1.1", snapshotOf(service("web")));
    expect(table).toBeGreaterThan(generation);
    expect((await cluster().table()).probes?.version).not.toBe(probes?.version);
  });
});

describe("epochs", () => {
  const epoch = async (token: string, query = ""): Promise<Response> =>
    await call("POST", `/api/v1/clusters/home/epoch${query}`, { token });
  const granted = async (token: string, query = ""): Promise<number> =>
    (await (await epoch(token, query)).json<{ epoch: number }>()).epoch;

  it.each(["999999999999999.999999999999", "2147483648.0", "1500000.0"])(
    "that no leader can have reached fence nobody off: %s",
    async (generation) => {
      const token = await createCluster("home");
      const poison = await publish("home", token, generation, snapshotOf(service("evil")));
      expect(poison.status).toBe(409);
      expect(await poison.json<Problem>()).toMatchObject({ reason: "superseded" });
      await published("home", token, "1.1", snapshotOf(service("web")));
      expect(await granted(token)).toBe(2);
    },
  );

  it("as high as they can be are followed by a grant, which publishes", async () => {
    const token = await createCluster("home");
    await published("home", token, "1000000.999999999999", snapshotOf(service("evil")));
    expect((await publish("home", token, "37.1", snapshotOf(service("web")))).status).toBe(409);
    const next = await granted(token);
    expect(next).toBe(1_000_001);
    await published("home", token, `${next}.1`, snapshotOf(service("web")));
  });

  it("that are used up are started again by the admin alone; the last snapshot serves on", async () => {
    const token = await createCluster("home");
    await published("home", token, "1.1", snapshotOf(service("web")));
    await runInDurableObject(cluster(), (_, { storage }) => {
      // As the version before let anybody do.
      storage.sql.exec("UPDATE cluster SET epoch = 999999999999999, sequence = 1");
    });
    const before = await cluster().table();
    expect((await publish("home", token, "2.1", snapshotOf())).status).toBe(409);
    const refused = await epoch(token);
    expect([refused.status, (await refused.json<Problem>()).reason]).toEqual([409, "epochs-used-up"]);
    expect((await epoch(token, "?reset=true")).status).toBe(403);
    expect(await granted(ADMIN, "?reset=true")).toBe(1);
    expect(await cluster().table()).toEqual(before);
    await published("home", token, "2.1", snapshotOf(service("other")));
  });
});

describe("without the directory", () => {
  it("a publication is refused, and the last good state keeps serving", async () => {
    const token = await createCluster("home");
    await published("home", token, "1.1", snapshotOf(service("web")));
    const before = await cluster().table();
    vi.spyOn(GatewayObject.prototype, "claim").mockRejectedValue(new Error("gone"));
    const response = await publish("home", token, "1.2", snapshotOf(service("other")));
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("2");
    expect(await response.json<Problem>()).toMatchObject({ reason: "directory-unavailable" });
    expect(await cluster().table()).toEqual(before);
    vi.restoreAllMocks();
    await published("home", token, "1.2", snapshotOf(service("other")));
  });
});

describe("a token", () => {
  it("has its cluster in it", async () => {
    const token = await createCluster("home");
    expect(token).toMatch(/^pst_home_[A-Za-z0-9_-]{43}$/);
    expect(await cluster().verify(token)).toMatchObject({ ok: true, tokenId: expect.stringMatching(/^[0-9a-f]{8}$/) });
  });

  it("that is rotated stops at once, closes its sockets, and dials no more; the new one works", async () => {
    const old = await createCluster("home", { shards: 2 });
    const sockets = [await dial(old, 0), await dial(old, 1)];
    const rotated = await call("POST", "/api/v1/clusters/home/token", { token: old });
    const { token } = await rotated.json<{ token: string }>();
    for (const { closed } of sockets) expect(await closed).toMatchObject({ code: 4001 });
    expect((await call("GET", "/api/v1/clusters/home", { token: old })).status).toBe(401);
    await expect(dial(old)).rejects.toThrow("401");
    const { socket } = await dial(token);
    socket.close(1000);
  });

  it("that is rotated has its sockets closed by the alarm where a shard did not listen", async () => {
    const old = await createCluster("home");
    const { closed } = await dial(old);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const close = vi.spyOn(TunnelObject.prototype, "closeToken").mockRejectedValue(new Error("not now"));
    await (await call("POST", "/api/v1/clusters/home/token", { token: ADMIN })).text();
    expect(close).toHaveBeenCalled();
    close.mockRestore();
    await evictAllDurableObjects();
    await runDurableObjectAlarm(cluster());
    expect(await closed).toMatchObject({ code: 4001 });
  });

  it("that was withdrawn between a dial's check and its arrival has that socket closed a little later", async () => {
    await createCluster("home");
    await cluster().dialled(0);
    const close = vi.spyOn(TunnelObject.prototype, "closeToken");
    await (await call("POST", "/api/v1/clusters/home/token", { token: ADMIN })).text();
    expect(close).toHaveBeenCalledTimes(1);
    const tokenId = close.mock.calls[0]?.[0];
    const dialHeader = JSON.stringify({ cluster: "home", shard: 0, shards: 1, tokenId });
    const late = await env.TUNNEL.get(env.TUNNEL.idFromName("home/0")).fetch("http://admin.test/", {
      headers: { ...byAdminPort, upgrade: "websocket", "x-postern-dial": dialHeader },
    });
    const socket = late.webSocket;
    if (!socket) throw new Error(`dial: ${late.status}`);
    const closed = new Promise<number>((resolve) => socket.addEventListener("close", ({ code }) => resolve(code)));
    socket.accept();
    vi.spyOn(Date, "now").mockReturnValue(Date.now() + 10_000);
    await runDurableObjectAlarm(cluster());
    expect(await closed).toBe(4001);
  });

  it("of a cluster whose creation was interrupted is made by the admin's rotation", async () => {
    const gateway = env.GATEWAY.get(env.GATEWAY.idFromName("gateway"));
    await gateway.createCluster({ name: "half", hostnames: [], shards: 1 });
    const response = await call("POST", "/api/v1/clusters/half/token", { token: ADMIN });
    const { token } = await response.json<{ token: string }>();
    expect((await call("GET", "/api/v1/clusters/half", { token })).status).toBe(200);
  });
});

describe("tokens that rotate themselves without end", () => {
  it("are slowed down, and their sockets' list stays short", async () => {
    // What is closed once is closed again after ten seconds, which do not pass here.
    const now = Date.now();
    vi.spyOn(Date, "now").mockReturnValue(now);
    let token = await createCluster("home", { shards: 8 });
    for (let shard = 0; shard < 8; shard++) await cluster().dialled(shard);
    let status = 200;
    for (let n = 0; n <= 50 && status === 200; n++) {
      const response = await call("POST", "/api/v1/clusters/home/token", { token });
      status = response.status;
      if (status === 200) token = (await response.json<{ token: string }>()).token;
      else expect(await response.json<Problem>()).toMatchObject({ reason: "too-many-rotations" });
    }
    expect(status).toBe(429);
    expect((await call("GET", "/api/v1/clusters/home", { token })).status).toBe(200);
  });
});

describe("a deleted cluster", () => {
  it("closes its sockets", async () => {
    const { closed } = await dial(await createCluster("home"));
    await (await call("DELETE", "/api/v1/clusters/home", { token: ADMIN })).text();
    expect(await closed).toMatchObject({ code: 4001 });
  });

  it("is destroyed by the alarm where it could not be at once; until then its name is taken, its token dead", async () => {
    const token = await createCluster("home");
    await cluster().dialled(0);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    const close = vi.spyOn(TunnelObject.prototype, "closeToken").mockRejectedValue(new Error("not now"));
    expect((await call("DELETE", "/api/v1/clusters/home", { token: ADMIN })).status).toBe(204);
    expect((await call("GET", "/api/v1/clusters/home", { token })).status).toBe(401);
    const early = await call("POST", "/api/v1/clusters", { token: ADMIN, json: { name: "home" } });
    expect(early.status).toBe(503);
    expect(await early.json()).toMatchObject({ reason: "cluster-being-deleted" });
    close.mockRestore();
    await evictAllDurableObjects();
    await runDurableObjectAlarm(env.GATEWAY.get(env.GATEWAY.idFromName("gateway")));
    await vi.waitFor(async () => await createCluster("home"));
  });
});

describe("a dial", () => {
  it("tells the object who dials, whatever the outside says, and not the token", async () => {
    const token = await createCluster("home", { shards: 2 });
    const seen = vi.spyOn(TunnelObject.prototype, "fetch");
    const headers = { upgrade: "websocket", "x-postern-dial": '{"cluster":"other","tokenId":"x"}' };
    const response = await call("GET", "/api/v1/clusters/home/tunnel/1", { token, headers });
    expect(response.status).toBe(101);
    response.webSocket?.accept();
    response.webSocket?.close(1000);
    const request = seen.mock.calls[0]?.[0];
    expect(JSON.parse(request?.headers.get("x-postern-dial") ?? "")).toEqual({
      cluster: "home",
      shard: 1,
      shards: 2,
      tokenId: expect.stringMatching(/^[0-9a-f]{8}$/),
    });
    expect(request?.headers.get("authorization")).toBeNull();
  });

  it.each([
    ["a shard that is none", "2", "websocket", 404],
    ["a shard that is no number", "x", "websocket", 404],
    ["a shard written otherwise", "00", "websocket", 404],
    ["no upgrade", "0", undefined, 426],
  ])("%s is refused, and creates nothing", async (_, shard, upgrade, status) => {
    const token = await createCluster("home", { shards: 2 });
    const seen = vi.spyOn(TunnelObject.prototype, "fetch");
    const response = await call("GET", `/api/v1/clusters/home/tunnel/${shard}`, {
      token,
      headers: upgrade ? { upgrade } : {},
    });
    expect(response.status).toBe(status);
    await response.text();
    expect(seen).not.toHaveBeenCalled();
  });
});
