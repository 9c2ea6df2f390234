// What users of a cloud LoadBalancer rely on, about a Service itself: class, finalizer, status, ports, source ranges, affinity,
// changes of mind. Nodes and endpoints are contract-nodes.test.ts'.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bringUp } from "../../harness/cluster.ts";
import { ask, eventsOf, hostOf, outcome, servers, statusOf, troubles } from "../../tools/exposed.ts";
import { underLoad } from "../../tools/load.ts";
import { outside } from "../../harness/places.ts";
import { until } from "../../harness/processes.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

let test: TestNamespace;
let names: string[];
const patience = { timeout: 60_000, interval: 200 };
const FINALIZER = "service.kubernetes.io/load-balancer-cleanup";

beforeAll(async () => {
  test = await TestNamespace.create();
  await test.deployWeb({ replicas: 3 });
  names = (await test.pods()).map(({ name }) => name).sort();
});
afterAll(async () => test[Symbol.asyncDispose]());

const http = { port: 80, targetPort: 8080 };
const balancer = (name: string, spec: object = {}, annotations: object = {}): object => ({
  ...webService(name, { type: "LoadBalancer", ports: [http], ...spec }),
  metadata: { name, annotations },
});
const patch = (name: string, spec: object): Promise<string> =>
  test.kubectl("patch", `service/${name}`, "-p", JSON.stringify({ spec }));
const becomes = (name: string, expected: string, options = {}): Promise<void> =>
  expect.poll(() => outcome(hostOf(test, name), options), patience).toBe(expected);
const conditions = async (name: string) => (await statusOf(test, name)).conditions;

describe("class", () => {
  it("ours, and none (with --default-class), are served; another's is not touched", async () => {
    await test.apply(
      balancer("ours", { loadBalancerClass: "postern.dev/edge" }),
      balancer("classless"),
      balancer("foreign", { loadBalancerClass: "example.com/other" }),
    );
    for (const name of ["ours", "classless"]) {
      await becomes(name, "200");
      await expect
        .poll(() => statusOf(test, name), patience)
        .toMatchObject({ hostnames: [hostOf(test, name)], finalizers: [FINALIZER] });
    }
    expect(await outcome(hostOf(test, "foreign"))).toBe("404 no-such-listener");
    const foreign = await statusOf(test, "foreign");
    expect(foreign).toMatchObject({ ingress: [], finalizers: [] });
    expect([...foreign.conditions]).toEqual([]);
    expect(await eventsOf(test, "foreign")).toEqual([]);
  });
});

describe("mind changed", () => {
  beforeAll(async () => {
    await test.apply(balancer("moody"));
    await until("moody is served", async () => (await outcome(hostOf(test, "moody"))) === "200");
  });

  it("LoadBalancer, ClusterIP, LoadBalancer of our class: clean in between, the same address afterwards", async () => {
    for (const loadBalancerClass of ["postern.dev/edge", null]) {
      await patch("moody", { type: "ClusterIP" });
      await becomes("moody", "404 no-such-listener");
      await expect.poll(() => statusOf(test, "moody"), patience).toMatchObject({ finalizers: [], ingress: [] });
      expect([...(await conditions("moody"))]).toEqual([]);
      await patch("moody", { type: "LoadBalancer", loadBalancerClass });
      await becomes("moody", "200");
      const again = { hostnames: [hostOf(test, "moody")], finalizers: [FINALIZER] };
      await expect.poll(() => statusOf(test, "moody"), patience).toMatchObject(again);
    }
  });

  it("a change of NodePort, of a port's name, of labels loses no request", async () => {
    const report = await underLoad({ host: hostOf(test, "moody") }, async () => {
      const before = await test.field("service/moody", ".spec.ports[0].nodePort");
      await test.kubectl("label", "service/moody", "touched=yes");
      await patch("moody", { ports: [{ ...http, name: "http", nodePort: 0 }] });
      await patch("moody", { ports: [{ ...http, name: "web", nodePort: before === "31999" ? 31_998 : 31_999 }] });
      await new Promise((resolve) => setTimeout(resolve, 2_000));
    });
    expect(report).toMatchObject({ failed: 0, failures: [] });
  });

  it("scaled to nothing it refuses and says when to come back; scaled up it serves", async () => {
    await test.kubectl("scale", "deployment/web", "--replicas=0");
    await becomes("moody", "503 no-endpoints");
    expect((await ask(hostOf(test, "moody")))[0]?.body).toContain("no-endpoints");
    expect((await statusOf(test, "moody")).hostnames).toEqual([hostOf(test, "moody")]);
    await test.deployWeb({ replicas: 3 });
    await becomes("moody", "200");
    names = (await test.pods()).map(({ name }) => name).sort();
    await expect.poll(() => servers(hostOf(test, "moody")), patience).toEqual(names);
    await expect.poll(() => troubles(test, "moody"), patience).toEqual([]);
  });

  it("deleted it goes at once, made again it has the same address", async () => {
    await test.kubectl("delete", "service/moody", "--timeout=20s");
    await becomes("moody", "404 no-such-listener");
    await test.apply(balancer("moody"));
    await becomes("moody", "200");
    await expect.poll(() => statusOf(test, "moody"), patience).toMatchObject({ hostnames: [hostOf(test, "moody")] });
  });

  it("a name of its own that the edge has not granted: said, with the remedy, and the default name goes on", async () => {
    const own = `shop.${test.name}.example`;
    await test.kubectl("annotate", "service/moody", `postern.dev/hostname=${own}`);
    await expect.poll(() => troubles(test, "moody"), patience).toEqual(["HostnameNotAllowed"]);
    expect((await conditions("moody")).get("HostnameNotAllowed")?.message).toContain("the edge's admin lists it");
    expect((await statusOf(test, "moody")).hostnames).toEqual([hostOf(test, "moody")]);
    expect(await outcome(own)).toBe("404 no-such-listener");
    await test.kubectl("annotate", "service/moody", "postern.dev/hostname-");
    await expect.poll(() => troubles(test, "moody"), patience).toEqual([]);
    await becomes("moody", "200");
  });
});

describe("source ranges", () => {
  const friend = { client: outside.address };

  it("let in who is listed, and are changed live", async () => {
    await test.apply(balancer("guarded", { loadBalancerSourceRanges: [`${outside.address}/32`] }));
    await becomes("guarded", "200", friend);
    await becomes("guarded", "403 source-refused");
    await patch("guarded", { loadBalancerSourceRanges: ["10.90.0.1/32"] });
    await becomes("guarded", "403 source-refused", friend);
    await becomes("guarded", "200");
    await patch("guarded", { loadBalancerSourceRanges: null });
    await becomes("guarded", "200", friend);
  });

  it("of the annotation count where the field says nothing", async () => {
    const range = `service.beta.kubernetes.io/load-balancer-source-ranges=${outside.address}/32`;
    await test.kubectl("annotate", "service/guarded", range);
    await becomes("guarded", "403 source-refused");
    await patch("guarded", { loadBalancerSourceRanges: ["10.90.0.1/32"] });
    await becomes("guarded", "403 source-refused", friend);
    await becomes("guarded", "200");
  });

  it("make transport direct impossible: they hold all the same", async () => {
    await test.kubectl("annotate", "service/guarded", "postern.dev/transport=direct");
    await expect.poll(() => troubles(test, "guarded"), patience).toEqual(["DirectNotPossible"]);
    expect(await outcome(hostOf(test, "guarded"), friend)).toBe("403 source-refused");
    expect(await outcome(hostOf(test, "guarded"))).toBe("200");
  });
});

describe("sessionAffinity: ClientIP", () => {
  it("keeps each client at one pod, whichever node it comes through; switched live", async () => {
    await test.apply(balancer("sticky"));
    const host = hostOf(test, "sticky");
    await expect.poll(() => servers(host), patience).toEqual(names);
    await patch("sticky", { sessionAffinity: "ClientIP" });
    const clients = [{}, { client: outside.address }];
    for (const client of clients) {
      await expect.poll(() => servers(host, { ...client, parallel: true }), patience).toHaveLength(1);
      const [before] = await servers(host, client);
      expect(await servers(host, { ...client, parallel: true })).toEqual([before]);
    }
    await patch("sticky", { sessionAffinity: "None" });
    await expect.poll(() => servers(host), patience).toEqual(names);
  });
});

describe("ports", () => {
  it("without NodePorts it is served by tunnel", async () => {
    const direct = { "postern.dev/transport": "direct" };
    await test.apply(balancer("portless", { allocateLoadBalancerNodePorts: false }, direct));
    await becomes("portless", "200");
    expect(await test.field("service/portless", ".spec.ports[0].nodePort")).toBe("");
    await expect.poll(() => troubles(test, "portless"), patience).toEqual(["DirectNotPossible"]);
    expect((await conditions("portless")).get("DirectNotPossible")?.message).toContain("allocateLoadBalancerNodePorts");
  });

  it("of mixed protocols: TCP is served, the others are refused by name, as Kubernetes has it", async () => {
    const dns = { name: "dns", port: 53, protocol: "UDP" };
    await test.apply(balancer("mixed", { ports: [{ ...http, name: "http" }, dns] }));
    await becomes("mixed", "200");
    await expect.poll(() => troubles(test, "mixed"), patience).toEqual(["LoadBalancerPortsError", "UDPNotSupported"]);
    const { ingress, conditions: found } = await statusOf(test, "mixed");
    expect(found.get("LoadBalancerPortsError")?.reason).toBe("LoadBalancerMixedProtocolNotSupported");
    expect(new Map(ingress[0]?.ports.map(({ port, error }) => [port, error]))).toEqual(
      new Map([
        [80, undefined],
        [53, "postern.dev/UDPNotSupported"],
      ]),
    );
    await patch("mixed", { ports: [{ $patch: "delete", port: 53, protocol: "UDP" }] });
    await expect.poll(() => troubles(test, "mixed"), patience).toEqual([]);
    expect((await statusOf(test, "mixed")).ingress[0]?.ports).toEqual([]);
  });

  it("of UDP alone: nothing is served, and Programmed says so", async () => {
    await test.apply(balancer("datagrams", { ports: [{ name: "dns", port: 53, protocol: "UDP" }] }));
    const expected = { status: "False", reason: "NoTCPPort" };
    await expect.poll(async () => (await conditions("datagrams")).get("Programmed"), patience).toMatchObject(expected);
    expect(await statusOf(test, "datagrams")).toMatchObject({ ingress: [], finalizers: [FINALIZER] });
  });

  it("are opened and closed with the Service", async () => {
    const port = { port: 8099 };
    await test.apply(balancer("late", { ports: [http, { name: "late", targetPort: 8080, ...port }].map(named) }));
    await becomes("late", "200", port);
    await patch("late", { ports: [{ $patch: "delete", ...port }] });
    await becomes("late", "0", port);
    await becomes("late", "200");
  });
});

/** Several ports must be named. */
const named = (port: object): object => ({ name: "http", ...port });

describe("an edge that resets", () => {
  afterAll(() => bringUp(() => {}));

  it("answers refusals with a closed connection, and serves what is to be served", async () => {
    await test.apply(balancer("empty", { selector: { app: "nobody" } }));
    await becomes("empty", "503 no-endpoints");
    await bringUp(() => {}, { refuse: "reset" });
    await becomes("moody", "200");
    for (const name of ["empty", "unheard-of"]) expect(await outcome(hostOf(test, name))).toBe("0");
    expect(await outcome(hostOf(test, "guarded"), { client: outside.address })).toBe("0");
  });
});
