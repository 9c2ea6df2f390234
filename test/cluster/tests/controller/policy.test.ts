// What the agent's own account may do to a Service, asked of a real API server under the manifest's roles and admission policy:
// all that a stolen token could use is refused, and all that the status writer sends is taken.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type KubeApi, STRATEGIC_MERGE } from "../../../../agent/kube/api.ts";
import { FINALIZER } from "../../../../agent/controller/status.ts";
import { ApiServer } from "../../harness/api-server.ts";
import { pathOf, service, Services, until } from "./services.ts";

const server = new ApiServer();
const services = new Services(server);
const now = "2026-01-31T12:00:00Z";
const condition = (type: string) => ({ type, status: "True", reason: "Test", message: "", lastTransitionTime: now });
const programmed = condition("postern.dev/Programmed");
const foreign = condition("example.com/Checked");
const other = "example.com/keep";
let agent: KubeApi;
const asAgent = async (body: object, name = "web") =>
  await agent.call("PATCH", `${pathOf(name)}/status`, { body, contentType: STRATEGIC_MERGE });
const classless = { loadBalancerClass: null };
const ip = { ip: "192.0.2.1", ipMode: "VIP" };
const mark = { metadata: { finalizers: [FINALIZER] }, status: { conditions: [programmed] } };
const set = (defaultClass: string) => server.configure({ POSTERN_DEFAULT_CLASS: defaultClass });

beforeAll(async () => {
  await server.start();
  agent = server.api("agent");
  await server.create(
    service("web", {}, { labels: { app: "web" }, annotations: { note: "one" }, finalizers: [other] }),
  );
  await services.overwrite("web", { status: { conditions: [foreign] } }, "somebody");
}, 600_000);
afterAll(() => server.stop());

describe("refused", () => {
  beforeEach(() => services.overwrite("web", { metadata: { finalizers: [FINALIZER] } }, "cloud"));
  const addresses = (...ingress: object[]) => ({ status: { loadBalancer: { ingress } } });
  it.each([
    ["a label", { metadata: { labels: { app: "evil" } } }, "labels"],
    ["an annotation", { metadata: { annotations: { note: null } } }, "labels"],
    [
      "another owner",
      { metadata: { ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: "a", uid: "b" }] } },
      "owners",
    ],
    ["another finalizer", { metadata: { finalizers: ["example.com/more"] } }, "finalizer"],
    ["somebody else's finalizer taken", { metadata: { "$deleteFromPrimitiveList/finalizers": [other] } }, "finalizer"],
    [
      "the finalizer of what is not ours",
      { metadata: { "$deleteFromPrimitiveList/finalizers": [FINALIZER] } },
      "Programmed",
    ],
    ["an IP address", addresses({ ip: "192.0.2.1" }), "host names only"],
    ["an IP address beside a name", addresses({ hostname: "a.test", ip: "192.0.2.1" }), "host names only"],
    ["a foreign condition", { status: { conditions: [condition("example.com/Other")] } }, "conditions"],
    ["a foreign condition changed", { status: { conditions: [{ ...foreign, reason: "Evil" }] } }, "conditions"],
    ["a foreign condition taken", { status: { conditions: [{ $patch: "delete", type: foreign.type }] } }, "conditions"],
  ])("%s", async (_what, body, why) => {
    const answer = await asAgent(body);
    expect(answer).toMatchObject({ kind: "status", status: 422, reason: "Invalid" });
    expect(answer.kind === "status" && answer.message).toContain(why);
  });

  it.each([
    ["the Service itself", "PATCH", pathOf("web"), { spec: { externalIPs: ["192.0.2.1"] } }],
    ["a whole status", "PUT", `${pathOf("web")}/status`, {}],
    ["its deletion", "DELETE", pathOf("web"), undefined],
    ["a Secret", "GET", "/api/v1/namespaces/postern-system/secrets/postern-agent", undefined],
    ["another Lease", "GET", "/apis/coordination.k8s.io/v1/namespaces/postern-system/leases/other", undefined],
    [
      "a Lease elsewhere",
      "GET",
      "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/postern-leader",
      undefined,
    ],
    ["the list of Events", "GET", "/api/v1/namespaces/default/events", undefined],
  ] as const)("%s, by role", async (_what, method, path, body) => {
    const answer = await agent.call(method, path, body === undefined ? {} : { body, contentType: STRATEGIC_MERGE });
    expect(answer).toMatchObject({ kind: "status", status: 403 });
  });

  it("a patch meant for another Service of this name", async () => {
    const answer = await asAgent({ metadata: { uid: "00000000-0000-0000-0000-000000000000" } });
    expect(answer).toMatchObject({ kind: "status", status: 422, reason: "Invalid" });
    expect(answer.kind === "status" && answer.message).toContain("metadata.uid: Invalid value");
  });
});

it("taken: mark, address with ports, and release, beside what others have there", async () => {
  const { uid } = (await services.get("web")).metadata;
  const ingress = [{ hostname: "a.test", ports: [{ port: 80, protocol: "TCP", error: "postern.dev/PortNotOffered" }] }];
  const steps = [
    { metadata: { uid, finalizers: [FINALIZER] }, status: { conditions: [programmed] } },
    { metadata: { uid }, status: { conditions: [condition("LoadBalancerPortsError")], loadBalancer: { ingress } } },
    {
      metadata: { uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER] },
      status: {
        conditions: [programmed.type, "LoadBalancerPortsError"].map((type) => ({ $patch: "delete", type })),
        loadBalancer: { ingress: null },
      },
    },
  ];
  for (const body of steps) expect(await asAgent(body)).toMatchObject({ kind: "ok" });
  const after = await services.get("web");
  expect(after.metadata.finalizers).toEqual([other]);
  expect(after.status).toEqual({ loadBalancer: {}, conditions: [foreign] });
});

describe("Services without a class", () => {
  services.freeAfterFailure("web");

  const refusal = "without a class only where POSTERN_DEFAULT_CLASS";
  const addresses = (...ingress: object[]) => ({ status: { loadBalancer: { ingress } } });
  const refused = async (body: object, name: string, why: string) => {
    const answer = await asAgent(body, name);
    expect(answer).toMatchObject({ kind: "status", status: 422, reason: "Invalid" });
    expect(answer.kind === "status" && answer.message).toContain(why);
  };

  it("are nobody's business but with the agents' own setting", async () => {
    await set("false");
    await server.create(service("loose", classless));
    let tries = 0;
    // A setting is heeded a moment after it was written.
    await until(() => refused(addresses({ hostname: `a${tries++}.test` }), "loose", refusal));
    await refused(mark, "loose", refusal);
    await set("true");
    await until(async () => expect(await asAgent(mark, "loose")).toMatchObject({ kind: "ok" }));
  });

  it("keep what another controller gave them, marked or not", async () => {
    const why = "may not take away";
    await server.create(service("shared", classless));
    await services.overwrite("shared", addresses(ip), "metallb");
    await refused(addresses({ hostname: "a.test" }), "shared", why);
    expect(await asAgent(mark, "shared")).toMatchObject({ kind: "ok" });
    await refused(addresses({ hostname: "a.test" }), "shared", why);
    expect(await asAgent(addresses({ hostname: "a.test" }, ip), "shared")).toMatchObject({ kind: "ok" });
    expect(await asAgent(addresses(ip), "shared")).toMatchObject({ kind: "ok" });
  });

  it("of another class are refused, with postern.dev/expose, too", async () => {
    const metadata = { annotations: { "postern.dev/expose": "true" } };
    await server.create(service("theirs", { loadBalancerClass: "example.com/other" }, metadata));
    await refused(addresses({ hostname: "a.test" }), "theirs", "of its own class");
    await refused(mark, "theirs", "of its own class");
  });
});
