// What of a Service is dialled, and what never is, whatever the edge asks for.
import { describe, expect, it } from "vitest";
import { Backends } from "../../../agent/endpoints/endpoints.ts";
import { exposedAs } from "../../../agent/plan/eligible.ts";
import { serviceReport } from "../../../agent/probe/service-report.ts";
import { serviceReportSchema } from "../../../src/shared/model/node-report.ts";
import { plan, planEndpoint, planPort, planService } from "../dataplane/plans.ts";
import { observe } from "../plan/observe.ts";
import { endpoint, node, service, slice } from "../source/objects.ts";

const rules = { defaultClass: false, allowExternalName: [], clusterDomain: "cluster.local" };
const ports = [
  { name: "http", port: 80, targetPort: 8080, nodePort: 30080 },
  { name: "admin", port: 9000, targetPort: 9090 },
];
const observed = observe(
  node("n1", {}, { status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] } }),
  service("web", { ports }),
  service("internal", { type: "ClusterIP", loadBalancerClass: undefined }),
  slice("web", [endpoint("10.0.0.1", "n1"), endpoint("10.0.0.2", "n2")]),
);

function stage(backends: Backends) {
  const dialled: string[] = [];
  const report = async (asked: string, from: typeof observed | undefined = observed) => {
    const facts = {
      ...{ service: asked, node: "n1", observed: from, ports: backends.lookUp(asked) },
      isExposed: (each: Parameters<typeof exposedAs>[0]) => exposedAs(each, rules) !== undefined,
    };
    const told = await serviceReport(facts, async (address, port) => {
      dialled.push(`${address}:${port}`);
      return { result: "connected", ms: 1 };
    });
    expect(serviceReportSchema.parse(told)).toEqual(told);
    return told;
  };
  return { dialled, report };
}

const web = (addresses: readonly string[]) =>
  planService("default/web", [
    planPort(addresses.map((address) => planEndpoint(address, 8080))),
    planPort([], { port: 9000 }),
  ]);

describe("a Service's report", () => {
  it("dials its endpoints, and NodePorts at the node's own address and loopback", async () => {
    const backends = new Backends();
    backends.update(plan(web(["10.0.0.1", "10.0.0.2"])));
    const { report, dialled } = stage(backends);
    const dial = { result: "connected", ms: 1 };
    expect(await report("default/web")).toEqual({
      ...{ service: "default/web", state: "planned", portsLeftOut: 0 },
      ports: [
        {
          port: 80,
          endpoints: [
            { address: "10.0.0.1", port: 8080, local: true, terminating: false, dial },
            { address: "10.0.0.2", port: 8080, local: false, terminating: false, dial },
          ],
          endpointsLeftOut: 0,
          nodePorts: [
            { address: "192.0.2.1", nodePort: 30080, dial },
            { address: "127.0.0.1", nodePort: 30080, dial },
          ],
        },
        {
          port: 9000,
          refusal: "no pod of the service is ready",
          ...{ endpoints: [], endpointsLeftOut: 0, nodePorts: [] },
        },
      ],
    });
    expect(dialled.sort()).toEqual(["10.0.0.1:8080", "10.0.0.2:8080", "127.0.0.1:30080", "192.0.2.1:30080"]);
  });

  it("dials nothing of a Service that is not exposed, or that nobody knows", async () => {
    const backends = new Backends();
    const hidden = planService("default/internal", [planPort([planEndpoint("10.0.0.9", 80)])], { exposed: false });
    backends.update(plan(web(["10.0.0.1"]), hidden));
    const { report, dialled } = stage(backends);
    const states = [];
    for (const asked of ["default/internal", "default/absent", "10.0.0.1:80", ""])
      states.push((await report(asked)).state);
    states.push((await report("default/web")).state);
    expect(states).toEqual(["not-exposed", "unknown", "unknown", "unknown", "planned"]);
    // Whatever the live side has: what the cluster does not expose is not looked at.
    const [port] = backends.lookUp("default/web");
    const asked = { service: "default/internal", node: "n1", observed, isExposed: () => false };
    const told = await serviceReport({ ...asked, ports: port === undefined ? [] : [port] }, () => {
      throw new Error("dialled");
    });
    expect(told.ports).toEqual([]);
    expect(dialled.filter((each) => !each.startsWith("10.0.0.1:") && !each.endsWith(":30080"))).toEqual([]);
  });

  it("dials 16 endpoints at most, those first that fail while they serve, and counts the rest", async () => {
    const addresses = Array.from({ length: 40 }, (_, at) => `10.0.1.${at}`);
    const backends = new Backends();
    backends.update(plan(planService("default/web", [planPort(addresses.map((each) => planEndpoint(each, 8080)))])));
    const broken = [...(backends.find("default/web", 80)?.order("", 0) ?? [])].find(
      (each) => each.address === "10.0.1.39",
    );
    for (let failure = 0; failure < 3; failure++) broken?.failed("refused");
    const { report, dialled } = stage(backends);
    const [port] = (await report("default/web")).ports;
    expect([port?.endpoints.length, port?.endpointsLeftOut]).toEqual([16, 24]);
    expect(port?.endpoints[0]?.address).toBe("10.0.1.39");
    expect(dialled).toHaveLength(18);
  });

  it("is bounded where a Service has more ports than fit", async () => {
    const many = Array.from({ length: 40 }, (_, at) => ({ name: `p${at}`, port: 1 + at, nodePort: 30_000 + at }));
    const large = observe(...[node("n1"), service("web", { ports: many })]);
    const backends = new Backends();
    const each = many.map(({ port }) =>
      planPort([planEndpoint("10.0.0.1", 8080), planEndpoint("10.0.0.2", 8080)], { port }),
    );
    backends.update(plan(planService("default/web", each)));
    const { report, dialled } = stage(backends);
    const told = await report("default/web", large);
    expect([told.ports.length, told.portsLeftOut]).toEqual([16, 24]);
    expect(dialled).toHaveLength(32);
  });
});
