// The one client against the real API: both are made of the same shapes, and here they meet.
import { env, exports } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import * as answers from "../../../src/shared/control/answers.ts";
import { ControlClient, orThrow, type Send } from "../../../src/shared/control/client.ts";
import { ADMIN, byAdminPort, call, forgetAll, gzip, service, snapshotOf } from "../worker/edge.ts";

afterEach(forgetAll);

const send: Send = async ({ method, url, headers, body }) => {
  const response = await exports.default.fetch(url.href, { method, headers: { ...byAdminPort, ...headers }, body });
  return {
    status: response.status,
    header: (name) => response.headers.get(name) ?? undefined,
    text: await response.text(),
  };
};
const as = (token: string) =>
  new ControlClient({ edge: new URL(`http://${env.ADMIN_HOST}`), token: () => token }, send);

it("makes a cluster, publishes, and reads what came of it", async () => {
  const admin = as(ADMIN);
  const { token, cluster } = orThrow(
    await admin.createCluster({ name: "home", hostnames: ["*.example.com"], shards: 2 }),
  );
  expect(orThrow(await admin.clusters()).clusters).toEqual([cluster]);
  expect(cluster).toMatchObject({ name: "home", hostnames: ["*.example.com"], shards: 2 });
  const code = orThrow(await admin.createInstallCode("home", { options: { "default-class": "true" } }));
  expect(code.command).toBe(`kubectl apply -f ${code.url}`);

  const owner = as(token);
  expect(orThrow(await owner.table("home"))).toMatchObject({ generation: 0, listeners: [] });
  const { epoch } = orThrow(await owner.claimEpoch("home"));
  const snapshot = snapshotOf(service("web"), service("none", { endpoints: [] }));
  const result = orThrow(await owner.putSnapshot("home", { epoch, sequence: 1 }, await gzip(JSON.stringify(snapshot))));
  expect(result).toMatchObject({ generation: { epoch, sequence: 1 }, changed: true });

  const table = orThrow(await owner.table("home"));
  expect(table?.generation).toBe(result.table);
  const plain = table?.listeners.filter(({ tls }) => !tls);
  expect(plain?.map(({ hostname, port }) => `${hostname}:${port}`)).toEqual([
    "none-default-home.edge.test:80",
    "web-default-home.edge.test:80",
  ]);
  const reasons = plain?.map(({ route }) => table?.routes[route]?.unavailable?.reason);
  expect(reasons).toEqual(["no-endpoints", undefined]);
  expect(orThrow(await owner.table("home", result.table))).toBeUndefined();
  expect(orThrow(await owner.nodes("home")).nodes).toMatchObject(snapshot.nodes.map(({ name }) => ({ node: name })));
});

it("administers: tokens, hostnames, conditions, versions, and the end of a cluster", async () => {
  const admin = as(ADMIN);
  const { token } = orThrow(await admin.createCluster({ name: "home" }));
  const owner = as(token);
  const { epoch } = orThrow(await owner.claimEpoch("home"));
  const text = JSON.stringify(snapshotOf(service("web")));
  orThrow(await owner.putSnapshot("home", { epoch, sequence: 1 }, await gzip(text)));
  expect(Object.keys(orThrow(await owner.conditions("home")).services)).toEqual(["default/web"]);
  // test/vitest.config.ts has what stands in for an agent.
  const agent = { version: "1.2.3", sha256: "d4f0bc5a29de06b510f9aa428f1eedba926012b591fef7a518e776a7c9bd1824" };
  expect(orThrow(await owner.version())).toEqual({ software: expect.stringMatching(/^postern-edge \d/), agent });

  orThrow(await admin.createCluster({ name: "spare" }));
  const hostname = "web-default-home.edge.test";
  expect(orThrow(await owner.hostname(hostname))).toMatchObject({ owner: "home", members: [{ cluster: "home" }] });
  const members = [{ cluster: "home" }, { cluster: "spare", priority: 1, weight: 5 }];
  const entry = orThrow(await admin.setMembers(hostname, { members }));
  expect(entry.members).toEqual([
    { cluster: "home", priority: 0, weight: 1 },
    { cluster: "spare", priority: 1, weight: 5 },
  ]);

  const [first] = orThrow(await owner.tokens("home")).tokens;
  const { token: second } = orThrow(await admin.rotateToken("home", first?.id));
  expect(await owner.cluster("home")).toMatchObject({ ok: false, status: 401 });
  const { token: third } = orThrow(await as(second).rotateToken("home"));
  expect(orThrow(await as(third).cluster("home")).cluster.name).toBe("home");
  const [last] = orThrow(await admin.tokens("home")).tokens;
  expect(await admin.revokeToken("home", last?.id ?? "")).toMatchObject({ ok: true });
  expect(await as(third).cluster("home")).toMatchObject({ ok: false, status: 401 });

  expect(await admin.deleteCluster("home")).toMatchObject({ ok: true });
  expect(await admin.cluster("home")).toMatchObject({ ok: false, status: 404, reason: "no-such-cluster" });
});

it("says in words what the API refuses", async () => {
  expect(await as("wrong").clusters()).toMatchObject({
    ok: false,
    status: 401,
    why: expect.stringMatching(/^HTTP 401 \S/),
  });
  const admin = as(ADMIN);
  expect(await admin.createCluster({ name: "No" })).toMatchObject({
    status: 400,
    reason: "invalid-request",
    why: expect.stringMatching(/^HTTP 400 invalid-request: body\.name: must be a DNS label .*; field body\.name$/),
  });
  await admin.createCluster({ name: "home" });
  expect(await admin.createCluster({ name: "home" })).toMatchObject({ ok: false, status: 409 });
});

/** Those that no call of the client reads yet. */
it.each([
  ["clusters/home", answers.clusterAnswerSchema],
  ["clusters/home/tokens", answers.tokensSchema],
  ["clusters/home/endpoints", answers.endpointsSchema],
  ["clusters/home/conditions", answers.conditionsSchema],
  ["hostnames/web-default-home.edge.test", answers.directoryEntrySchema],
])("GET %s is as its schema says, with every field of it", async (path, schema) => {
  const admin = as(ADMIN);
  await admin.createCluster({ name: "home" });
  await admin.putSnapshot("home", { epoch: 1, sequence: 1 }, await gzip(JSON.stringify(snapshotOf(service("web")))));
  const said = await (await call("GET", `/api/v1/${path}`, { token: ADMIN })).json();
  expect(schema.parse(said)).toEqual(said);
});
