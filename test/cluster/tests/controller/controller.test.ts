// The controller against a real API server, as the agent's own service account under the manifest's roles and admission
// policy: the cloud LoadBalancer contract as far as it is finalizer, status and conditions.
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { FINALIZER } from "../../../../agent/controller/status.ts";
import { hostnameOf, service, until } from "./services.ts";
import { Stage } from "./stage.ts";

const stage = Stage.ofFile({ askAgainMs: 1_000 });
const { server, services, edge } = stage;

describe("a Service's life", () => {
  it("is marked, published, given its address, and let go, in two small patches and one more", async () => {
    await stage.serve("life");
    expect(await services.finalizers("life")).toEqual([FINALIZER]);
    expect(await services.conditions("life")).toEqual({ "postern.dev/Programmed": "True Programmed" });
    const { uid } = (await services.get("life")).metadata;
    const programmed = { type: "postern.dev/Programmed", lastTransitionTime: expect.any(String) };
    const [mark, write] = [
      {
        metadata: { uid, finalizers: [FINALIZER] },
        status: { conditions: [{ ...programmed, status: "False", reason: "Pending", message: expect.any(String) }] },
      },
      {
        metadata: { uid },
        status: {
          conditions: [{ ...programmed, status: "True", reason: "Programmed", message: expect.any(String) }],
          loadBalancer: { ingress: [{ hostname: hostnameOf("life") }] },
        },
      },
    ];
    expect(stage.agent.patches("life").map(({ body }) => body)).toEqual([mark, write]);
    await server.delete(service("life"));
    await services.isGone("life");
    expect(edge.serves).not.toContain("default/life");
    expect(stage.agent.patches("life").slice(2)).toMatchObject([
      {
        body: {
          metadata: { uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER] },
          status: {
            conditions: [{ $patch: "delete", type: "postern.dev/Programmed" }],
            loadBalancer: { ingress: null },
          },
        },
      },
    ]);
  });

  it("is never published without its finalizer, and never without it while the edge serves it", async () => {
    stage.agent.isCutOff = ({ path }) => path.includes("/services/order/status");
    await server.create(service("order"));
    // Time enough for a publish, if there were any.
    await until(() => expect(stage.agent.patches("order").length).toBeGreaterThan(3));
    expect(edge.puts.flatMap(({ services: published }) => published)).not.toContain("default/order");
    stage.agent.isCutOff = () => false;
    await services.isServed("order");
    edge.instead = () => 503;
    try {
      await server.delete(service("order"));
      await until(() => expect(edge.puts.at(-1)).toMatchObject({ status: 503 }));
      expect(await services.finalizers("order")).toEqual([FINALIZER]);
    } finally {
      edge.instead = () => undefined;
    }
    await services.isGone("order");
    expect(edge.serves).not.toContain("default/order");
  });

  it("goes after ten seconds where the edge cannot be asked", async () => {
    await stage.serve("lonely");
    edge.instead = () => 503;
    const began = performance.now();
    try {
      await server.delete(service("lonely"));
      await services.isGone("lonely");
    } finally {
      edge.instead = () => undefined;
    }
    const took = performance.now() - began;
    expect([took > 9_000, took < 15_000]).toEqual([true, true]);
    // Whoever has not reached the edge for ten seconds may try again half a minute later; the next test begins after that.
    await until(() => expect(edge.puts.at(-1)).toMatchObject({ status: 200 }), 40_000);
  });

  it("deleted and made anew at once, is another one, with the same address", async () => {
    await stage.serve("anew");
    const before = (await services.get("anew")).metadata.uid;
    await server.delete(service("anew"));
    await until(() => server.create(service("anew")));
    await services.isServed("anew");
    const after = await services.get("anew");
    expect(after.metadata).toMatchObject({ finalizers: [FINALIZER] });
    expect(after.metadata.uid).not.toBe(before);
    await server.delete(service("anew"));
    await services.isGone("anew");
  });

  it("is none of ours with another class, or without one", async () => {
    await server.create(service("foreign", { loadBalancerClass: "example.com/other" }));
    await server.create(service("classless", { loadBalancerClass: undefined }));
    await stage.serve("ours");
    for (const name of ["foreign", "classless"]) {
      expect(stage.agent.patches(name)).toEqual([]);
      expect(edge.serves).not.toContain(`default/${name}`);
      await server.delete(service(name));
      await services.isGone(name);
    }
  });

  it("leaves a finalizer and a status alone that somebody else has put there", async () => {
    await server.create(service("theirs", { loadBalancerClass: "example.com/other" }, { finalizers: [FINALIZER] }));
    await server.delete(service("theirs"));
    await stage.serve("after-theirs");
    expect(stage.agent.patches("theirs")).toEqual([]);
    await services.patch("theirs", { metadata: { finalizers: null } });
    await services.isGone("theirs");
  });
});

describe("what the status says", () => {
  it("names per port what does not work, and Kubernetes' own condition for mixed protocols", async () => {
    const ports = [
      { name: "web", port: 80, protocol: "TCP" },
      { name: "dns", port: 53, protocol: "UDP" },
      { name: "odd", port: 9999, protocol: "TCP" },
    ];
    await server.create(service("mixed", { ports }));
    await until(async () =>
      expect((await services.get("mixed")).status.loadBalancer.ingress).toEqual([
        {
          hostname: hostnameOf("mixed"),
          ports: [
            { port: 53, protocol: "UDP", error: "postern.dev/UDPNotSupported" },
            { port: 80, protocol: "TCP" },
            { port: 9999, protocol: "TCP", error: "postern.dev/PortNotOffered" },
          ],
        },
      ]),
    );
    expect(await services.conditions("mixed")).toMatchObject({
      LoadBalancerPortsError: "True LoadBalancerMixedProtocolNotSupported",
      "postern.dev/UDPNotSupported": "True UDPNotSupported",
      "postern.dev/PortNotOffered": "True PortNotOffered",
    });
    await services.patch("mixed", { spec: { ports: [ports[0]] } });
    await until(async () =>
      expect((await services.get("mixed")).status.loadBalancer.ingress).toEqual([{ hostname: hostnameOf("mixed") }]),
    );
    expect(await services.conditions("mixed")).not.toHaveProperty("LoadBalancerPortsError");
  });

  it("is written, too, where a hostname of one's own is no name for a status", async () => {
    const annotations = { "postern.dev/hostname": "10.0.0.1, *.x.test, a_b.test, UPPER.test" };
    await server.create(service("names", {}, { annotations }));
    await until(async () => expect(await services.hostnames("names")).toEqual([hostnameOf("names"), "upper.test"]));
    expect(await services.conditions("names")).toMatchObject({ "postern.dev/AnnotationIgnored": "True BadValue" });
  });

  it("is written for a Service of 100 ports with the longest name there is", async () => {
    const name = "n".repeat(63);
    const ports = Array.from({ length: 100 }, (_, index) => ({
      name: `p${index}`,
      port: index === 0 ? 80 : 3000 + index,
      protocol: index % 2 === 0 ? "TCP" : "UDP",
    }));
    await server.create(service(name, { ports }));
    await until(async () => expect(await services.hostnames(name)).toHaveLength(1));
    const [ingress] = (await services.get(name)).status.loadBalancer.ingress ?? [];
    expect(ingress?.hostname).toMatch(/^n+-home-[0-9a-f]{8}\.edge\.test$/);
    expect(ingress?.ports).toHaveLength(100);
    expect(ingress?.ports?.filter((port) => !("error" in port))).toEqual([{ port: 80, protocol: "TCP" }]);
    await server.delete(service(name));
    await services.isGone(name);
  });

  it("learns that another cluster has given up a hostname, and asks only while one is refused", async () => {
    edge.owned.add("wanted.test");
    await stage.serve("wants", {}, { annotations: { "postern.dev/hostname": "wanted.test" } });
    expect(await services.conditions("wants")).toMatchObject({
      "postern.dev/HostnameConflict": "True HostnameConflict",
    });
    edge.owned.delete("wanted.test");
    await until(async () => expect(await services.hostnames("wants")).toEqual([hostnameOf("wants"), "wanted.test"]));
    expect(await services.conditions("wants")).toEqual({ "postern.dev/Programmed": "True Programmed" });
    const puts = edge.puts.length;
    await pause(1_500);
    expect(edge.puts.length).toBe(puts);
  });

  it("is in conditions alone for headless Services and ExternalNames", async () => {
    const exposed = { annotations: { "postern.dev/expose": "true" } };
    const ports = [{ port: 80 }];
    await server.create(
      service("headless", { type: "ClusterIP", clusterIP: "None", loadBalancerClass: undefined, ports }, exposed),
    );
    await server.create(
      service(
        "external",
        { type: "ExternalName", externalName: "a.example.com", loadBalancerClass: undefined, ports: undefined },
        exposed,
      ),
    );
    for (const name of ["headless", "external"]) {
      await until(async () =>
        expect(await services.conditions(name)).toMatchObject({ "postern.dev/Programmed": "True Programmed" }),
      );
      expect(
        (await services.get(name)).status.conditions?.find(({ type }) => type === "postern.dev/Programmed")?.message,
      ).toContain(hostnameOf(name));
      expect(await services.finalizers(name)).toEqual([]);
      expect(stage.agent.patches(name)).toHaveLength(1);
      await services.patch(name, { metadata: { annotations: { "postern.dev/expose": null } } });
      await until(async () => expect(await services.conditions(name)).toEqual({}));
      await server.delete(service(name));
      await services.isGone(name);
    }
  });
});
