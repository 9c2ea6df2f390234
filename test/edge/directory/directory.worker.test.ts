// Hostnames between clusters: who gets a name, who gets it next, and who serves it. Each story is told three times: with the
// objects left alone, evicted, and aborted after every step.
import { abortAllDurableObjects, evictAllDurableObjects } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ADMIN, call, createCluster, published, service, snapshotOf, forgetAll } from "../worker/edge.ts";

const shop = "shop.example.com";
const gateway = () => env.GATEWAY.get(env.GATEWAY.idFromName("gateway"));
const withShop = snapshotOf(service("web", { hostnames: [shop] }));

async function hostnames(cluster: string): Promise<string[]> {
  const { table } = await env.CLUSTER.get(env.CLUSTER.idFromName(cluster)).table();
  return [...new Set(table?.listeners.map((listener) => listener.hostname))].toSorted((a, b) => a.localeCompare(b));
}

/** Waits for the alarm's errands: nothing tells when they are done but their result. */
const serves = async (cluster: string, ...names: string[]): Promise<void> =>
  await vi.waitFor(async () => expect(await hostnames(cluster)).toEqual(names), { timeout: 5000, interval: 20 });

const setMembers = async (token: string, members: unknown): Promise<number> => {
  const response = await call("PUT", `/api/v1/hostnames/${shop}`, { token, json: { members } });
  await response.text();
  return response.status;
};

afterEach(forgetAll);

describe.each([
  ["left alone", async () => undefined],
  ["evicted", async () => await evictAllDurableObjects()],
  ["aborted", async () => await abortAllDurableObjects()],
])("objects %s between steps:", (_, between) => {
  let home: string;
  let office: string;
  beforeEach(async () => {
    home = await createCluster("home", { hostnames: [shop] });
    office = await createCluster("office", { hostnames: ["*.example.com"] });
    await between();
  });

  it("the first cluster to claim a name has it, the next gets it when it is free", async () => {
    await published("home", home, "1.1", withShop);
    await between();
    const second = await published("office", office, "1.1", withShop);
    expect(second.services["default/web"]?.hostnames).toEqual(["web-default-office.edge.test"]);
    expect(second.services["default/web"]?.conditions).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining(shop) }),
    );
    await between();
    expect(await gateway().getHostname(shop)).toMatchObject({ owner: "home", members: [{ cluster: "home" }] });

    await published("home", home, "1.2", snapshotOf(service("web")));
    await between();
    await serves("office", shop, "web-default-office.edge.test");
    expect(await gateway().getHostname(shop)).toMatchObject({ owner: "office" });
    await serves("home", "web-default-home.edge.test");
  });

  it("a default name that is taken makes way for its hashed form, for good", async () => {
    const branch = await createCluster("branch", { hostnames: ["web-default-home.edge.test"] });
    await published("branch", branch, "1.1", snapshotOf(service("x", { hostnames: ["web-default-home.edge.test"] })));
    await between();
    const { services } = await published("home", home, "1.1", withShop);
    const [hashed] = services["default/web"]?.hostnames ?? [];
    expect(hashed).toMatch(/^web-default-home-[0-9a-f]{8}\.edge\.test$/);
    expect(services["default/web"]?.hostnames).toEqual([hashed, shop]);
    expect(await gateway().getHostname(hashed ?? "")).toMatchObject({ owner: "home" });
    await published("branch", branch, "1.2", snapshotOf());
    await between();
    const later = await published("home", home, "1.2", snapshotOf(service("web"), service("other")));
    expect(later.services["default/web"]?.hostnames).toEqual([hashed]);
    expect(await gateway().getHostname("web-default-home.edge.test")).toBeUndefined();
  });

  it("a deleted cluster's names go to who wants them, and its state is gone", async () => {
    await published("home", home, "1.1", withShop);
    await published("office", office, "1.1", withShop);
    await between();
    expect((await call("DELETE", "/api/v1/clusters/home", { token: ADMIN })).status).toBe(204);
    await between();
    await serves("office", shop, "web-default-office.edge.test");
    expect(await gateway().getCluster("home")).toBeUndefined();
    expect(await hostnames("home")).toEqual([]);
    expect((await call("GET", "/api/v1/clusters/home", { token: home })).status).toBe(401);

    const again = await createCluster("home", { hostnames: [shop] });
    await between();
    expect((await call("GET", "/api/v1/clusters/home", { token: home })).status).toBe(401);
    await published("home", again, "1.1", withShop);
    await serves("home", "web-default-home.edge.test");
  });

  it("the owner lists another cluster, which then serves the name, until it is taken off", async () => {
    await published("home", home, "1.1", withShop);
    await published("office", office, "1.1", withShop);
    expect(await setMembers(office, [{ cluster: "office" }])).toBe(403);
    await between();
    expect(await setMembers(home, [{ cluster: "home" }, { cluster: "office", priority: 1, weight: 5 }])).toBe(200);
    await between();
    await serves("office", shop, "web-default-office.edge.test");
    expect((await gateway().getHostname(shop))?.members).toEqual([
      { cluster: "home", priority: 0, weight: 1 },
      { cluster: "office", priority: 1, weight: 5 },
    ]);
    expect((await call("GET", `/api/v1/hostnames/${shop}`, { token: office })).status).toBe(200);

    // What was listed stays while the owner's own Service is away: that is what failover is for.
    await published("home", home, "1.2", snapshotOf());
    await between();
    await serves("office", shop, "web-default-office.edge.test");
    expect(await gateway().getHostname(shop)).toMatchObject({ owner: "home" });
    await published("home", home, "1.3", withShop);

    expect(await setMembers(home, [{ cluster: "home" }])).toBe(200);
    await between();
    await serves("office", "web-default-office.edge.test");
  });

  it("an entry that nobody claims is given up when the owner alone is listed", async () => {
    await published("home", home, "1.1", withShop);
    await published("office", office, "1.1", withShop);
    expect(await setMembers(ADMIN, [{ cluster: "office" }])).toBe(200);
    await published("home", home, "1.2", snapshotOf());
    await between();
    expect(await setMembers(ADMIN, [{ cluster: "home" }])).toBe(200);
    await between();
    // Office has served it all along: whose it is says when the errand is done.
    const owned = async () => expect(await gateway().getHostname(shop)).toMatchObject({ owner: "office" });
    await vi.waitFor(owned, { timeout: 5000, interval: 20 });
    await serves("office", shop, "web-default-office.edge.test");
  });

  it("a deleted member leaves the list; the last one leaves it to the owner", async () => {
    await published("home", home, "1.1", withShop);
    expect(await setMembers(home, [{ cluster: "office" }])).toBe(200);
    await between();
    await (await call("DELETE", "/api/v1/clusters/office", { token: ADMIN })).text();
    await between();
    expect((await gateway().getHostname(shop))?.members).toEqual([{ cluster: "home", priority: 0, weight: 1 }]);
  });
});

describe("the directory", () => {
  it("has a version that rises with every change, and is sent only where it changed", async () => {
    const home = await createCluster("home", { hostnames: [shop], shards: 2 });
    const first = await gateway().directory();
    expect(first).toMatchObject({ entries: [], shards: { home: 2 } });
    expect(await gateway().directory(first.version)).toEqual({ version: first.version });
    await published("home", home, "1.1", withShop);
    const second = await gateway().directory(first.version);
    expect(second.version).toBeGreaterThan(first.version);
    expect(second.entries?.map(({ hostname }) => hostname)).toEqual([shop, "web-default-home.edge.test"]);
    // Nothing that it holds changed.
    await published("home", home, "1.2", snapshotOf(service("web", { hostnames: [shop], algorithm: "round-robin" })));
    expect(await gateway().directory(second.version)).toEqual({ version: second.version });
  });

  it("refuses the admin members that do not exist, and names them", async () => {
    const home = await createCluster("home", { hostnames: [shop] });
    await published("home", home, "1.1", withShop);
    const json = { members: [{ cluster: "home" }, { cluster: "nowhere" }] };
    const response = await call("PUT", `/api/v1/hostnames/${shop}`, { token: ADMIN, json });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      reason: "no-such-member",
      detail: expect.stringContaining("nowhere"),
    });
  });

  it("tells a cluster's token nothing of which members exist, and gives those that do not to nobody", async () => {
    const home = await createCluster("home", { hostnames: [shop] });
    await createCluster("office");
    await published("home", home, "1.1", withShop);
    const members = (cluster: string) => [
      { cluster: "home", priority: 0, weight: 1 },
      { cluster, priority: 1, weight: 1 },
    ];
    for (const cluster of ["office", "nowhere"]) {
      const json = { members: members(cluster) };
      const response = await call("PUT", `/api/v1/hostnames/${shop}`, { token: home, json });
      expect({ status: response.status, ...(await response.json<object>()) }).toEqual({
        status: 200,
        hostname: shop,
        owner: "home",
        members: members(cluster),
      });
    }
    const served = async () =>
      (await gateway().directory()).entries
        ?.find(({ hostname }) => hostname === shop)
        ?.members.map((each) => each.cluster);
    expect(await served()).toEqual(["home"]);
    expect(await setMembers(home, [{ cluster: "nowhere" }])).toBe(200);
    expect(await served()).toEqual(["home"]);
    await createCluster("nowhere");
    expect(await served()).toEqual(["nowhere"]);
  });

  it("says the same of a name that another cluster has, has by default, or nobody has", async () => {
    const home = await createCluster("home", { hostnames: [shop] });
    const other = await createCluster("other");
    await published("home", home, "1.1", withShop);
    const said = async (hostname: string): Promise<string> => {
      const generation = `1.${++sequence}`;
      const { services } = await published(
        "other",
        other,
        generation,
        snapshotOf(service("x", { hostnames: [hostname] })),
      );
      const found = services["default/x"]?.conditions.filter(({ type }) => type.includes("Hostname"));
      return JSON.stringify(found).replaceAll(hostname, "NAME");
    };
    let sequence = 0;
    const taken = await said(shop);
    expect(taken).toContain("HostnameNotAllowed");
    expect(await said("web-default-home.edge.test")).toBe(taken);
    expect(await said("web-other-home.edge.test")).toBe(taken);
    expect(await said("free.example.com")).toBe(taken);
  });

  it("takes and gives back thousands of names at once", async () => {
    const home = await createCluster("home", { hostnames: ["*.example.com"] });
    const office = await createCluster("office", { hostnames: ["*.example.com"] });
    const many = (from: number) =>
      snapshotOf(
        ...Array.from({ length: 60 }, (_, at) =>
          service(`s${at}`, { hostnames: Array.from({ length: 50 }, (_, n) => `h${from + n}.s${at}.example.com`) }),
        ),
      );
    await published("home", home, "1.1", many(0));
    await published("office", office, "1.1", many(25));
    const owners = async (): Promise<Record<string, number>> => {
      const counts: Record<string, number> = {};
      for (const { hostname, owner } of (await gateway().directory()).entries ?? [])
        if (hostname.endsWith(".example.com")) counts[owner] = (counts[owner] ?? 0) + 1;
      return counts;
    };
    expect(await owners()).toEqual({ home: 3000, office: 1500 });
    await published("home", home, "1.2", snapshotOf(service("s0")));
    await vi.waitFor(async () => expect(await owners()).toEqual({ office: 3000 }), { timeout: 30_000, interval: 50 });
  });

  it("refuses a cluster that exists", async () => {
    await createCluster("home");
    const response = await call("POST", "/api/v1/clusters", { token: ADMIN, json: { name: "home" } });
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ reason: "cluster-exists" });
  });
});
