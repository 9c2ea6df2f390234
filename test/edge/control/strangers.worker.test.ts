// Who has no valid secret: creates nothing, whatever names it makes up, and is slowed down by its address, without locking out
// those who share that address and have one.
import { listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ADMIN, call, createCluster, forgetAll, type Problem } from "../worker/edge.ts";

let now = Date.now();
let token: string;
beforeEach(async () => {
  // Every source has its whole bucket again.
  now += 3_600_000;
  vi.spyOn(Date, "now").mockImplementation(() => now);
  token = await createCluster("home");
});
afterEach(async () => {
  vi.restoreAllMocks();
  await forgetAll();
});

const BURST = 20;
const secret = "A".repeat(43);
const objects = async (): Promise<number> => {
  const namespaces = [env.GATEWAY, env.CLUSTER, env.TUNNEL] as unknown as DurableObjectNamespace[];
  const ids = await Promise.all(namespaces.map(async (namespace) => await listDurableObjectIds(namespace)));
  return ids.flat().length;
};
const from = (client: string) => ({ "x-postern-client": client });
const show = async (client: string, shown: string): Promise<number> => {
  const response = await call("GET", "/api/v1/clusters/home", { token: shown, headers: from(client) });
  await response.body?.cancel();
  return response.status;
};
const redeem = async (client: string, code: string): Promise<Response> =>
  await call("GET", `/install/${code}.yaml`, { headers: { ...from(client), "x-postern-proto": "https" } });
const exhaust = async (client: string): Promise<void> => {
  for (let wrong = 0; wrong < BURST; wrong++) expect(await show(client, `pst_home_${secret}`)).toBe(401);
  expect(await show(client, `pst_home_${secret}`)).toBe(429);
};

describe("a stranger's request", () => {
  it.each<readonly [string, (at: number) => Promise<unknown>]>([
    ["tokens of made-up clusters", (at) => show(`192.0.2.${at}`, `pst_x${at}_${secret}`)],
    ["tokens of clusters with endless names", (at) => show(`192.0.2.${at}`, `pst_${"x".repeat(40 + at)}_${secret}`)],
    ["wrong tokens of a cluster that there is", (at) => show(`192.0.2.${at}`, `pst_home_${secret}`)],
    ["install codes of made-up clusters", async (at) => (await redeem(`192.0.2.${at}`, `psi_x${at}_${secret}`)).text()],
    [
      "dials to made-up clusters",
      async (at) =>
        (
          await call("GET", `/api/v1/clusters/x${at}/tunnel/0`, {
            token: `pst_x${at}_${secret}`,
            headers: { ...from(`192.0.2.${at}`), upgrade: "websocket" },
          })
        ).text(),
    ],
    [
      "the admin's, for clusters that there are not",
      async (at) => (await call("GET", `/api/v1/clusters/x${at}/table`, { token: ADMIN })).text(),
    ],
    [
      "a cluster's token for another's",
      async (at) => (await call("GET", `/api/v1/clusters/x${at}/table`, { token })).text(),
    ],
  ])("creates no object: %s", async (_, ask) => {
    await show("198.51.100.1", token);
    const before = await objects();
    for (let at = 0; at < 30; at++) await ask(at);
    expect(await objects()).toBe(before);
  });
});

describe("wrong secrets from one address", () => {
  it("are judged twenty times, then once a second; others are not concerned", async () => {
    await exhaust("192.0.2.1");
    expect(await show("192.0.2.2", `pst_home_${secret}`)).toBe(401);
    now += 1_000;
    expect([await show("192.0.2.1", "no-token"), await show("192.0.2.1", "no-token")]).toEqual([401, 429]);
  });

  it("are told to wait", async () => {
    await exhaust("192.0.2.1");
    const response = await call("GET", "/api/v1/clusters", { token: "wrong", headers: from("192.0.2.1") });
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await response.json<Problem>()).toMatchObject({ reason: "too-many-attempts" });
  });

  it("are counted though they come all at once, and by install codes as well", async () => {
    const tries = Array.from({ length: 30 }, async (_, at) =>
      at % 2 === 0 ? show("192.0.2.1", `pst_home_${secret}`) : (await redeem("192.0.2.1", `psi_home_${secret}`)).status,
    );
    expect((await Promise.all(tries)).filter((status) => status === 429)).toHaveLength(10);
  });

  it("never keep the admin's token waiting, nor a cluster's that was seen accepted", async () => {
    expect(await show("192.0.2.1", token)).toBe(200);
    await exhaust("192.0.2.1");
    expect(await show("192.0.2.1", ADMIN)).toBe(200);
    expect(await show("192.0.2.1", token)).toBe(200);
  });

  it("keep a token waiting that is new here, until its turn", async () => {
    await exhaust("192.0.2.1");
    const other = await createCluster("other");
    const ask = async (): Promise<number> =>
      (await call("GET", "/api/v1/clusters/other", { token: other, headers: from("192.0.2.1") })).status;
    expect(await ask()).toBe(429);
    now += 1_000;
    expect([await ask(), await ask()]).toEqual([200, 200]);
  });

  it("do not use up an install code, nor does a good one count", async () => {
    const made = await call("POST", "/api/v1/clusters/home/install-code", { token });
    const code = /psi_home_[\w-]+/.exec((await made.json<{ url: string }>()).url)?.[0] ?? "";
    await exhaust("192.0.2.1");
    expect((await redeem("192.0.2.1", code)).status).toBe(429);
    for (let use = 0; use < 5; use++) expect((await redeem("192.0.2.2", code)).status).toBe(200);
    await exhaust("192.0.2.2");
  });

  it("a token that was accepted once and is withdrawn counts again", async () => {
    expect(await show("192.0.2.1", token)).toBe(200);
    await (await call("POST", "/api/v1/clusters/home/token", { token })).text();
    expect(await show("192.0.2.1", token)).toBe(401);
    await exhaust("192.0.2.1").catch(() => undefined);
    expect(await show("192.0.2.1", token)).toBe(429);
  });
});
