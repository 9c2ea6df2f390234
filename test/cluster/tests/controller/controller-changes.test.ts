// The controller against a real API server while Services change, by their owners and by other controllers: nothing is stuck,
// nothing is written twice, and nobody is fought for ever.
import { describe, expect, it } from "vitest";
import { FINALIZER } from "../../../../agent/controller/status.ts";
import { endpoint, slice } from "../../../agent/source/objects.ts";
import { hostnameOf, pathOf, service, until } from "./services.ts";
import { Stage } from "./stage.ts";

const stage = Stage.ofFile();
const { server, services, edge } = stage;

describe("changes", () => {
  it.each([
    ["ClusterIP", { type: "ClusterIP", loadBalancerClass: null }],
    ["NodePort", { type: "NodePort", loadBalancerClass: null }],
    [
      "ExternalName",
      {
        type: "ExternalName",
        externalName: "a.example.com",
        loadBalancerClass: null,
        clusterIP: null,
        clusterIPs: null,
      },
    ],
  ])("of type to %s takes finalizer, address and conditions away, and back again", async (type, spec) => {
    const name = `type-${type.toLowerCase()}`;
    await stage.serve(name);
    await services.patch(name, { spec });
    await until(async () => expect(await services.finalizers(name)).toEqual([]));
    expect(await services.conditions(name)).toEqual({});
    expect(await services.hostnames(name)).toEqual([]);
    expect(edge.serves).not.toContain(`default/${name}`);
    const back = { type: "LoadBalancer", loadBalancerClass: "postern.dev/edge", externalName: null };
    await services.patch(name, { spec: back });
    await services.isServed(name);
    expect(await services.finalizers(name)).toEqual([FINALIZER]);
    await server.delete(service(name));
    await services.isGone(name);
  });

  it("to an exposed ExternalName keep what the edge says, without a finalizer", async () => {
    await stage.serve("moved", {}, { annotations: { "postern.dev/expose": "true" } });
    const spec = {
      type: "ExternalName",
      externalName: "a.example.com",
      loadBalancerClass: null,
      clusterIP: null,
      clusterIPs: null,
    };
    await services.patch("moved", { spec });
    await until(async () => expect(await services.finalizers("moved")).toEqual([]));
    await until(async () =>
      expect(await services.conditions("moved")).toMatchObject({ "postern.dev/Programmed": "True Programmed" }),
    );
    await server.delete(service("moved"));
    await services.isGone("moved");
  });

  it("back and forth while syncing end as the last one says, with nothing stuck", async () => {
    const names = Array.from({ length: 10 }, (_, index) => `flip-${index}`);
    await Promise.all(names.map((name) => server.create(service(name))));
    for (let round = 0; round < 6; round++) {
      const spec =
        round % 2 === 0
          ? { type: "ClusterIP", loadBalancerClass: null }
          : { type: "LoadBalancer", loadBalancerClass: "postern.dev/edge" };
      const before = stage.agent.requests.length;
      await Promise.all(names.map((name) => services.patch(name, { spec })));
      // Some see the change before, some after they were marked or written.
      await until(() => expect(stage.agent.requests.length).toBeGreaterThan(before));
    }
    for (const name of names) await services.isServed(name);
    await Promise.all(
      names.map((name) => services.patch(name, { spec: { type: "ClusterIP", loadBalancerClass: null } })),
    );
    await Promise.all(names.map((name) => until(async () => expect(await services.finalizers(name)).toEqual([]))));
    for (const name of names) expect(await services.conditions(name)).toEqual({});
    await Promise.all(names.map((name) => server.delete(service(name))));
    for (const name of names) await services.isGone(name);
  });

  it("of ports, labels, policy and annotations keep the address, and cost a patch only where a word changes", async () => {
    await stage.serve("mutable");
    const before = stage.agent.patches("mutable").length;
    await services.patch("mutable", { metadata: { labels: { a: "b" } }, spec: { externalTrafficPolicy: "Local" } });
    await services.patch("mutable", { metadata: { annotations: { "postern.dev/algorithm": "round-robin" } } });
    await services.patch("mutable", { spec: { ports: [{ port: 8080, targetPort: 8080 }] } });
    await until(async () => {
      const message = (await services.get("mutable")).status.conditions?.[0]?.message;
      expect(message).toBe(`Served at ${hostnameOf("mutable")} on ports 443, 8080.`);
    });
    expect(await services.hostnames("mutable")).toEqual([hostnameOf("mutable")]);
    expect(stage.agent.patches("mutable").length - before).toBe(1);
  });

  it("of pods cost no request", async () => {
    await stage.serve("busy");
    const before = stage.agent.requests.length;
    for (let index = 2; index < 30; index++) {
      await server.apply(
        slice("busy", [
          endpoint("10.0.0.1", "n1", { ready: true }),
          endpoint(`10.0.1.${index}`, "n1", { ready: true }),
        ]),
      );
    }
    await until(() => expect(edge.endpoints("default/busy")).toContain("10.0.1.29"));
    expect(stage.agent.requests.slice(before).filter(({ path }) => !path.includes("/leases/"))).toEqual([]);
  });
});

describe("another controller that writes the same status", () => {
  const theirs = { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } } };
  const isContested = (name: string, by: string) =>
    until(async () => {
      const found = (await services.get(name)).status.conditions?.find(
        ({ type }) => type === "postern.dev/AnotherStatusWriter",
      );
      expect(found).toMatchObject({ status: "True", reason: "StatusOverwritten" });
      expect(found?.message).toContain(`${by} overwrites the status`);
    });

  it("is named, and what it writes is restored, later each time", async () => {
    await stage.serve("contested");
    const writes = () => stage.agent.patches("contested").length;
    const began = performance.now();
    const before = writes();
    // As k3s' ServiceLB: whenever it sees something else, it writes what it wants.
    let wrote = 0;
    while (performance.now() - began < 8_000) {
      if ((await services.hostnames("contested"))[0] !== undefined) {
        await services.overwrite("contested", theirs, "k3s");
        wrote++;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // At once, then after 1, 2 and 4 s.
    expect(writes() - before).toBeLessThanOrEqual(4);
    expect(wrote).toBeGreaterThanOrEqual(3);
    await isContested("contested", "k3s");
    await until(async () => expect(await services.hostnames("contested")).toEqual([hostnameOf("contested")]), 30_000);
  });

  it("may strip the finalizer: it is put back, later each time, and the Service goes in the end", async () => {
    await stage.serve("stripped");
    const before = stage.agent.patches("stripped").length;
    const began = performance.now();
    let stripped = 0;
    while (performance.now() - began < 5_000) {
      if ((await services.finalizers("stripped")).length > 0) {
        await services.patch("stripped", { metadata: { finalizers: null } });
        stripped++;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(stage.agent.patches("stripped").length - before).toBeLessThanOrEqual(3);
    expect(stripped).toBeGreaterThanOrEqual(2);
    expect(edge.serves).toContain("default/stripped");
    await isContested("stripped", "Another controller");
    await server.delete(service("stripped"));
    await services.isGone("stripped");
    await until(() => expect(edge.serves).not.toContain("default/stripped"));
  });

  it("may clear the whole status, conditions included: it is ours again after a moment", async () => {
    await stage.serve("cleared");
    const whole = (await services.get("cleared")) as object;
    const body = { ...whole, status: { loadBalancer: {} } };
    await server.ask("PUT", `${pathOf("cleared")}/status`, { body });
    await services.isServed("cleared");
    expect(await services.conditions("cleared")).toMatchObject({ "postern.dev/Programmed": "True Programmed" });
    expect(await services.finalizers("cleared")).toEqual([FINALIZER]);
  });
});
