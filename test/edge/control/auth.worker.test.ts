// Who may do what: every route, asked by everybody. A cluster's token touches that cluster alone, and cannot tell a foreign
// cluster from one that does not exist.
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { control } from "../../../src/edge/control/app.ts";
import {
  ADMIN,
  type Call,
  type Problem,
  call,
  createCluster,
  published,
  service,
  snapshotOf,
  forgetAll,
} from "../worker/edge.ts";

afterEach(forgetAll);

const at = "/api/v1/clusters";
const snapshot: Call = { json: snapshotOf(), headers: { "postern-generation": "1.1" } };
const members: Call = { json: { members: [{ cluster: "home" }] } };

/** [method, path, request, nobody, admin, the cluster's own token, another cluster's token] */
const matrix: readonly (readonly [string, string, Call, number, number, number, number])[] = [
  ["GET", "/healthz", {}, 200, 200, 200, 200],
  ["GET", "/openapi.json", {}, 200, 200, 200, 200],
  ["GET", "/nothing", {}, 404, 404, 404, 404],
  ["GET", at, {}, 401, 200, 403, 403],
  ["POST", at, { json: { name: "new" } }, 401, 201, 403, 403],
  ["GET", `${at}/home`, {}, 401, 200, 200, 403],
  ["GET", `${at}/home/table`, {}, 401, 200, 200, 403],
  ["GET", `${at}/home/nodes`, {}, 401, 200, 200, 403],
  ["GET", `${at}/home/endpoints`, {}, 401, 200, 200, 403],
  ["GET", `${at}/home/conditions`, {}, 401, 200, 200, 403],
  ["POST", `${at}/home/epoch`, {}, 401, 200, 200, 403],
  ["PUT", `${at}/home/snapshot`, snapshot, 401, 200, 200, 403],
  ["GET", `${at}/home/tunnel/0`, { headers: { upgrade: "websocket" } }, 401, 403, 101, 403],
  ["POST", `${at}/home/probe`, {}, 401, 200, 200, 403],
  ["POST", `${at}/home/token`, {}, 401, 200, 200, 403],
  ["GET", `${at}/home/tokens`, {}, 401, 200, 200, 403],
  ["DELETE", `${at}/home/tokens/00000000`, {}, 401, 404, 404, 403],
  ["POST", `${at}/home/install-code`, {}, 401, 201, 201, 403],
  ["GET", `/install/psi_home_${"A".repeat(43)}.yaml`, {}, 400, 400, 400, 400],
  ["DELETE", `${at}/home`, {}, 401, 204, 403, 403],
  ["GET", `${at}/absent`, {}, 401, 404, 403, 403],
  ["GET", `${at}/absent/table`, {}, 401, 404, 403, 403],
  ["PUT", `${at}/absent/snapshot`, snapshot, 401, 404, 403, 403],
  ["POST", `${at}/absent/token`, {}, 401, 404, 403, 403],
  ["GET", "/api/v1/hostnames/web-default-home.edge.test", {}, 401, 200, 200, 404],
  ["PUT", "/api/v1/hostnames/web-default-home.edge.test", members, 401, 200, 200, 403],
  ["GET", "/api/v1/hostnames/absent.edge.test", {}, 401, 404, 404, 404],
  ["PUT", "/api/v1/hostnames/absent.edge.test", members, 401, 404, 403, 403],
];

describe.each(matrix)("%s %s", (method, path, request, ...expected) => {
  it.each(["nobody", "admin", "own", "other"].map((who, index) => [who, expected[index]] as const))(
    "%s: %i",
    async (who, status) => {
      const own = await createCluster("home");
      const other = await createCluster("other");
      await published("home", own, "1.0", snapshotOf(service("web")));
      const token = { nobody: undefined, admin: ADMIN, own, other }[who];
      const response = await call(method, path, { ...request, ...(token !== undefined && { token }) });
      expect(response.status).toBe(status);
      if (response.webSocket) {
        response.webSocket.accept();
        response.webSocket.close(1000);
        return;
      }
      expect(response.headers.get("cache-control")).toBe("no-store");
      if (status === 401) expect(response.headers.get("www-authenticate")).toBe('Bearer realm="postern"');
      if (response.status >= 400) {
        expect(response.headers.get("content-type")).toBe("application/problem+json");
        const problem = await response.json<Problem>();
        expect(problem.reason).toMatch(/^[a-z-]+$/);
        expect(problem.requestId).toBe(response.headers.get("x-postern-request-id"));
        if (token !== undefined) expect(JSON.stringify(problem)).not.toContain(token);
      } else await response.text();
    },
  );
});

describe("a foreign cluster and one that does not exist", () => {
  it("look the same to a cluster's token", async () => {
    const token = await createCluster("home");
    await createCluster("other");
    const ask = async (name: string) => {
      const response = await call("GET", `${at}/${name}`, { token });
      const { requestId: _, ...problem } = await response.json<Problem>();
      return { status: response.status, problem };
    };
    expect(await ask("other")).toEqual(await ask("absent"));
  });
});

describe("tokens that are none", () => {
  it.each([
    ["none", undefined],
    ["another scheme", "Basic dXNlcjpwYXNz"],
    ["empty", "Bearer "],
    ["a guess at the admin's", "Bearer test-admin-tokem"],
    ["a cluster's with another secret", `Bearer pst_home_${"A".repeat(43)}`],
    ["a cluster's of an absent cluster", `Bearer pst_absent_${"A".repeat(43)}`],
    ["two", "Bearer a b"],
  ])("%s: 401", async (_, authorization) => {
    await createCluster("home");
    const response = await call("GET", `${at}/home`, { headers: authorization === undefined ? {} : { authorization } });
    expect(response.status).toBe(401);
    await response.text();
  });

  it("without an admin setting, the admin's request says what to set", async () => {
    const request = new Request(`http://admin.test${at}`, { headers: { authorization: `Bearer ${ADMIN}` } });
    const ctx = { waitUntil() {}, passThroughOnException() {} } as unknown as ExecutionContext;
    const response = await control.fetch(request, { ...env, ADMIN_TOKEN_SHA256: "" }, ctx);
    expect(response.status).toBe(401);
    const problem = await response.json<Problem>();
    expect(problem).toMatchObject({ reason: "no-admin", detail: expect.stringContaining("ADMIN_TOKEN_SHA256") });
  });
});
