// What every answer of the API has: an id that no client chose, and that it arrives though its request is still being sent.
import { exports } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { control } from "../../../src/edge/control/app.ts";
import { env } from "cloudflare:workers";
import { ADMIN, byAdminPort, byListener, call, createCluster, forgetAll, type Problem } from "../worker/edge.ts";

afterEach(forgetAll);

describe("the request's id", () => {
  const ray = { "cf-ray": "chosen-by-the-client" };

  it("is not the client's, by the API nor by a tenant's listener", async () => {
    const admin = await call("GET", "/api/v1/clusters", { headers: ray });
    const tenant = await exports.default.fetch("http://nothing.edge.test/", {
      headers: { ...byListener("nothing.edge.test"), ...ray },
    });
    const stranger = await exports.default.fetch("http://nothing.edge.test/", { headers: ray });
    for (const response of [admin, tenant, stranger]) {
      const { requestId } = await response.json<Problem>();
      expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
      expect(response.headers.get("x-postern-request-id")).toBe(requestId);
    }
    expect([admin.status, tenant.status, stranger.status]).toEqual([401, 404, 403]);
  });

  it("is the platform's on Cloudflare, where there is no listener proxy", async () => {
    const { FORWARDER_SECRET: _, ...cloudflare } = env;
    const ctx = { waitUntil() {}, passThroughOnException() {} } as unknown as ExecutionContext;
    const response = await control.fetch(new Request("https://admin.test/nothing", { headers: ray }), cloudflare, ctx);
    expect(response.headers.get("x-postern-request-id")).toBe("chosen-by-the-client");
    await response.text();
  });
});

describe("a body that is refused", () => {
  let token: string;
  beforeEach(async () => {
    token = await createCluster("home");
  });
  const kib = new Uint8Array(1024).fill(0x20);

  /** [what, method, path, token, KiB, status] */
  it.each<readonly [string, string, string, string | undefined, number, number]>([
    ["too large", "POST", "/api/v1/clusters", ADMIN, 70, 413],
    ["without a token", "POST", "/api/v1/clusters", undefined, 70, 401],
    ["with a wrong one", "PUT", "/api/v1/clusters/home/snapshot", `pst_home_${"A".repeat(43)}`, 3_000, 401],
    ["at no path", "POST", "/nothing", undefined, 70, 404],
    ["too large a snapshot", "PUT", "/api/v1/clusters/home/snapshot", "own", 8_200, 413],
    ["a snapshot without a generation", "PUT", "/api/v1/clusters/home/snapshot?", "own", 500, 400],
  ])("is read out, so that the answer is seen: %s", async (_, method, path, who, size, status) => {
    let left = size;
    const { readable, writable } = new FixedLengthStream(size * 1024);
    const sent = (async () => {
      const writer = writable.getWriter();
      for (; left > 0; left--) await writer.write(kib);
      await writer.close();
    })();
    const response = await exports.default.fetch(`http://admin.test${path}`, {
      method,
      body: readable,
      headers: {
        ...byAdminPort,
        "content-type": "application/json",
        "content-length": String(size * 1024),
        ...(path.endsWith("?") ? {} : { "postern-generation": "1.1" }),
        ...(who !== undefined && { authorization: `Bearer ${who === "own" ? token : who}` }),
      },
    });
    expect(response.status).toBe(status);
    await response.text();
    await sent;
    expect(left).toBe(0);
  });

  it("that never ends is given up", async () => {
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 64;
        controller.enqueue(new Uint8Array(64 * 1024));
      },
    });
    const response = await exports.default.fetch("http://admin.test/nothing", {
      method: "POST",
      body,
      headers: byAdminPort,
    });
    expect(response.status).toBe(404);
    await response.text();
    expect(sent).toBeLessThan(16 * 1024);
  });
});

describe("the whole state of one cluster", () => {
  it("is asked for by few at once", async () => {
    const token = await createCluster("home");
    const other = await createCluster("other");
    const statuses = await Promise.all(
      Array.from({ length: 30 }, async () => {
        const response = await call("GET", "/api/v1/clusters/home/endpoints", { token });
        await response.text();
        return response.status;
      }),
    );
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(6);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
    for (const [name, who] of [
      ["home", token],
      ["other", other],
    ] as const)
      expect((await call("GET", `/api/v1/clusters/${name}/endpoints`, { token: who })).status).toBe(200);
  });
});
