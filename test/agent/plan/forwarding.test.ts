// Observed → one node's plan.
import { describe, expect, it } from "vitest";
import { buildPlan, externalNames, type PlanOptions } from "../../../agent/plan/forwarding.ts";
import { endpoint, node, service, slice, type Written } from "../source/objects.ts";
import { observe } from "./observe.ts";

const options: PlanOptions = {
  defaultClass: false,
  allowExternalName: ["lan"],
  clusterDomain: "cluster.local",
  resolved: new Map(),
};
const build = (objects: readonly Written[], at = "n1", more: Partial<PlanOptions> = {}) =>
  buildPlan(observe(...objects), at, { ...options, ...more });
const pods = slice("web", [endpoint("10.0.1.1", "n1"), endpoint("10.0.2.1", "n2")]);
const expose = (more: object = {}) => ({ annotations: { "postern.dev/expose": "true", ...more } });
const external = (name: string, spec: object = {}) => ({
  type: "ExternalName",
  externalName: name,
  clusterIP: null,
  ports: [],
  ...spec,
});
const addresses = (plan: ReturnType<typeof build>, side: "external" | "internal", service = 0) =>
  plan.services[service]?.ports[0]?.[side].map(({ address }) => address);

describe("plan", () => {
  it("has all that an executor needs", () => {
    const spec = {
      clusterIPs: ["10.96.0.1", "fd00::1"],
      ports: [{ port: 80, nodePort: 30080 }],
      sessionAffinity: "ClientIP",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
      loadBalancerSourceRanges: ["10.0.0.0/8"],
      healthCheckNodePort: 31000,
    };
    const annotations = { "postern.dev/endpoint-algorithm": "wrr" };
    const strong = node("n2", { annotations: { "postern.dev/weight": "5" } });
    const first = {
      key: "10.0.1.1",
      address: "10.0.1.1",
      port: 8080,
      node: "n1",
      local: true,
      weight: 1,
      terminating: false,
    };
    const second = {
      key: "10.0.2.1",
      address: "10.0.2.1",
      port: 8080,
      node: "n2",
      local: false,
      weight: 5,
      terminating: false,
    };
    expect(build([service("web", spec, { annotations }), pods, node("n1"), strong])).toEqual({
      node: "n1",
      services: [
        {
          key: "default/web",
          kind: "LoadBalancer",
          exposed: true,
          clusterIPs: ["10.96.0.1", "fd00::1"],
          algorithm: "wrr",
          affinitySeconds: 60,
          sourceRanges: ["10.0.0.0/8"],
          healthCheckNodePort: 31000,
          ports: [
            {
              name: "",
              protocol: "TCP",
              port: 80,
              nodePort: 30080,
              external: [first, second],
              internal: [first, second],
            },
          ],
        },
      ],
    });
  });

  it("has every Service with pods, and says which are exposed", () => {
    const plan = build([
      service("a", { type: "ClusterIP" }),
      service("b", { type: "NodePort" }),
      service("c"),
      service("d", { type: "ClusterIP", clusterIP: "None" }),
      service("e", external("x.lan")),
      service("f", { type: "ClusterIP", clusterIP: "None" }, expose()),
      service("g", external("x.lan"), expose()),
    ]);
    expect(plan.services.map(({ key, kind, exposed }) => `${key} ${kind} ${exposed}`)).toEqual([
      "default/a ClusterIP false",
      "default/b NodePort false",
      "default/c LoadBalancer true",
      "default/d Headless false",
      "default/f Headless true",
      "default/g ExternalName true",
    ]);
  });

  it("applies the external policy to external traffic and the internal to internal", () => {
    const web = (spec: object) => build([service("web", spec), pods]);
    expect(addresses(web({ externalTrafficPolicy: "Local" }), "external")).toEqual(["10.0.1.1"]);
    expect(addresses(web({ externalTrafficPolicy: "Local" }), "internal")).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(addresses(web({ internalTrafficPolicy: "Local" }), "external")).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(addresses(web({ internalTrafficPolicy: "Local" }), "internal")).toEqual(["10.0.1.1"]);
  });

  it("knows the node's zone from its Node", () => {
    const hints = (zone: string) => ({ hints: { forZones: [{ name: zone }] } });
    const hinted = slice("web", [
      endpoint("10.0.1.1", "n1", {}, hints("a")),
      endpoint("10.0.2.1", "n2", {}, hints("b")),
    ]);
    const at = (zone: string) => node("n1", { labels: { "topology.kubernetes.io/zone": zone } });
    expect(addresses(build([service("web"), hinted, at("b")]), "external")).toEqual(["10.0.2.1"]);
    expect(addresses(build([service("web"), hinted, at("c")]), "external")).toEqual(["10.0.1.1", "10.0.2.1"]);
  });

  it("has one family outside and both inside", () => {
    const pod = { targetRef: { uid: "p" } };
    const v6 = slice("web", [endpoint("fd00::1", "n1", {}, pod)], { addressType: "IPv6" }, "web-6");
    const plan = build([service("web"), slice("web", [endpoint("10.0.1.1", "n1", {}, pod)]), v6]);
    expect(addresses(plan, "external")).toEqual(["10.0.1.1"]);
    expect(addresses(plan, "internal")).toEqual(["10.0.1.1", "fd00::1"]);
  });

  it.each<[string, Written[], string | undefined]>([
    ["an endpoint", [service("web"), pods], undefined],
    ["no pods", [service("web")], "the service has no pods"],
    [
      "no port",
      [service("web"), slice("web", [endpoint("10.0.1.1")], { ports: [] })],
      "no pod of the service has port 80",
    ],
    [
      "none ready",
      [service("web"), slice("web", [endpoint("10.0.1.1", "n1", { ready: false, serving: false })])],
      "no pod of the service is ready",
    ],
    [
      "none here",
      [service("web", { externalTrafficPolicy: "Local" }), slice("web", [endpoint("10.0.2.1", "n2")])],
      "no pod of the service on this node is ready, and its traffic policy is Local",
    ],
  ])("says to a stranger why it refuses: %s", (_what, objects, expected) => {
    expect(build(objects).services[0]?.ports[0]?.refusal).toBe(expected);
  });

  it("marks endpoints that are used only because nothing better is left", () => {
    const leaving = slice("web", [endpoint("10.0.1.1", "n1", { ready: false, serving: true, terminating: true })]);
    expect(build([service("web"), leaving]).services[0]?.ports[0]?.external[0]?.terminating).toBe(true);
  });

  it("does not depend on the order of objects", () => {
    const objects = [service("web"), service("shop"), pods, node("n1")];
    expect(build(objects.toReversed())).toEqual(build(objects));
  });
});

describe("ExternalName", () => {
  const nas = (name: string, allow: readonly string[], resolved: readonly string[], ...others: readonly Written[]) =>
    addresses(
      build([service("nas", external(name), expose()), ...others], "n1", {
        allowExternalName: allow,
        resolved: new Map([[name, resolved]]),
      }),
      "external",
    );
  const nodeAt = (address: string) => node("n9", {}, { status: { addresses: [{ type: "InternalIP", address }] } });

  it.each<[string, readonly string[], readonly string[], readonly string[]]>([
    ["a listed suffix", ["lan"], ["192.168.1.9"], ["192.168.1.9"]],
    ["a listed name", ["nas.lan"], ["192.168.1.9"], ["192.168.1.9"]],
    ["a public address", ["lan"], ["203.0.113.9", "8.8.8.8"], ["8.8.8.8"]],
    ["a suffix is whole labels", ["as.lan"], ["192.168.1.9"], []],
    ["nothing listed", [], ["192.168.1.9"], []],
    ["another suffix", ["home"], ["192.168.1.9"], []],
    ["a listed range, whatever the name", ["192.168.1.0/24"], ["192.168.1.9", "192.168.2.9"], ["192.168.1.9"]],
    ["loopback", ["lan"], ["127.0.0.1", "::1", "::ffff:127.0.0.1"], []],
    ["loopback, listed", ["lan", "127.0.0.0/8"], ["127.0.0.1"], ["127.0.0.1"]],
    ["link-local", ["lan"], ["169.254.169.254", "fe80::1"], []],
    ["unspecified, multicast, broadcast", ["lan"], ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"], []],
    ["no address at all", ["lan"], ["nas"], []],
  ])("%s", (_what, allow, resolved, expected) => {
    expect(nas("nas.lan", allow, resolved)).toEqual(expected);
  });

  it.each<[string, string, Written]>([
    ["a node", "192.168.1.2", nodeAt("192.168.1.2")],
    ["a node by another spelling", "::ffff:192.168.1.2", nodeAt("192.168.1.2")],
    ["a pod", "10.0.1.1", pods],
    ["a Service", "10.96.0.7", service("web", { clusterIP: "10.96.0.7" })],
    ["the API server", "192.168.1.3", slice("kubernetes", [endpoint("192.168.1.3")])],
  ])("never %s, unless its address is listed", (_what, address, other) => {
    expect(nas("nas.lan", ["lan"], [address], other)).toEqual([]);
    expect(nas("nas.lan", ["lan", "0.0.0.0/0"], [address], other)).toEqual([address]);
  });

  it("goes to the port that is offered", () => {
    const ports = { "postern.dev/ports": "80:5000" };
    const plan = build([service("nas", external("nas.lan"), expose(ports))], "n1", {
      resolved: new Map([["nas.lan", ["192.168.1.9"]]]),
    });
    expect(plan.services[0]).toMatchObject({
      externalName: "nas.lan",
      ports: [{ port: 80, external: [{ port: 5000 }] }],
    });
  });

  it("refuses in words that tell a stranger nothing", () => {
    const plan = build([service("nas", external("nas.lan"), expose())]);
    expect(plan.services[0]?.ports[0]?.refusal).toBe("the name behind the service has no address that may be used");
  });

  it("takes a name inside the cluster from what is observed, where the operator lists it", () => {
    const inside = (name: string, allow: readonly string[]) =>
      addresses(
        build([service("in", external(name), expose()), service("web"), pods], "n1", { allowExternalName: allow }),
        "external",
      );
    expect(inside("web.default.svc.cluster.local", ["svc.cluster.local"])).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(inside("web.default.svc", ["web.default.svc"])).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(inside("web.default.svc.cluster.local", ["lan"])).toEqual([]);
    expect(inside("gone.default.svc.cluster.local", ["svc.cluster.local"])).toEqual([]);
    expect(inside("web.default.svc.example.com", ["svc.cluster.local"])).toEqual([]);
  });

  it("asks DNS only for names that it may use", () => {
    const observed = observe(
      service("a", external("nas.lan"), expose()),
      service("b", external("nas.lan"), expose()),
      service("c", external("printer.lan")),
      service("d", external("web.default.svc.cluster.local"), expose()),
      service("e", external("example.com"), expose()),
    );
    expect(externalNames(observed, options)).toEqual(["nas.lan"]);
    expect(externalNames(observed, { ...options, allowExternalName: ["10.0.0.0/8"] })).toEqual([
      "example.com",
      "nas.lan",
    ]);
  });
});
