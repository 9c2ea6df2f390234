// Observed → one node's plan.
import { describe, expect, it } from "vitest";
import { externalNames, type PlanOptions, refusedAddresses } from "../../../agent/plan/forwarding.ts";
import { endpoint, node, service, slice, type Written } from "../source/objects.ts";
import { buildPlan } from "./build-plan.ts";
import { observe } from "./observe.ts";

const options: PlanOptions = {
  defaultClass: false,
  allowExternalName: ["lan"],
  clusterDomain: "cluster.local",
  resolved: new Map(),
  forwards: "nodePorts",
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
const addresses = (plan: ReturnType<typeof build>) =>
  plan.services[0]?.ports[0]?.external.map(({ address }) => address);

describe("plan", () => {
  it("has all that an executor needs", () => {
    const spec = {
      ports: [{ port: 80, nodePort: 30080 }],
      sessionAffinity: "ClientIP",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
      loadBalancerSourceRanges: ["10.0.0.0/8"],
    };
    const annotations = { "postern.dev/endpoint-algorithm": "wrr" };
    const strong = node("n2", { annotations: { "postern.dev/weight": "5" } });
    const first = {
      key: "10.0.1.1",
      address: "10.0.1.1",
      port: 8080,
      weight: 1,
      terminating: false,
    };
    const second = {
      key: "10.0.2.1",
      address: "10.0.2.1",
      port: 8080,
      weight: 5,
      terminating: false,
    };
    expect(build([service("web", spec, { annotations }), pods, node("n1"), strong])).toEqual({
      node: "n1",
      services: [
        {
          key: "default/web",
          exposed: true,
          algorithm: "wrr",
          affinitySeconds: 60,
          sourceRanges: ["10.0.0.0/8"],
          ports: [
            {
              protocol: "TCP",
              port: 80,
              nodePort: 30080,
              external: [first, second],
            },
          ],
        },
      ],
    });
  });

  it.each([
    { forwards: "nodePorts" as const, listed: ["b false", "b6 false", "c true", "f true", "g true"] },
    { forwards: "nothing" as const, listed: ["c true", "f true", "g true"] },
  ])("has the exposed Services and, where NodePorts are opened, those that have one: $forwards", (each) => {
    const objects = [
      service("a", { type: "ClusterIP" }),
      service("b", { type: "NodePort", ports: [{ port: 80, nodePort: 30080 }] }),
      service("b0", { type: "NodePort", ports: [{ port: 80, nodePort: 0 }] }),
      service("b6", {
        loadBalancerClass: "other",
        ports: [
          { name: "a", port: 80 },
          { name: "b", port: 81, nodePort: 30081 },
        ],
      }),
      service("c"),
      service("d", { type: "ClusterIP", clusterIP: "None" }),
      service("e", external("x.lan")),
      service("f", { type: "ClusterIP", clusterIP: "None" }, expose()),
      service("g", external("x.lan"), expose()),
    ];
    const plan = build(objects, "n1", { forwards: each.forwards });
    expect(plan.services.map(({ key, exposed }) => `${key} ${exposed}`)).toEqual(
      each.listed.map((listed) => `default/${listed}`),
    );
  });

  it("applies the external policy to traffic from outside, and never the internal one", () => {
    const web = (spec: object) => build([service("web", spec), pods]);
    expect(addresses(web({ externalTrafficPolicy: "Local" }))).toEqual(["10.0.1.1"]);
    expect(addresses(web({ internalTrafficPolicy: "Local" }))).toEqual(["10.0.1.1", "10.0.2.1"]);
  });

  it("knows the node's zone from its Node", () => {
    const hints = (zone: string) => ({ hints: { forZones: [{ name: zone }] } });
    const hinted = slice("web", [
      endpoint("10.0.1.1", "n1", {}, hints("a")),
      endpoint("10.0.2.1", "n2", {}, hints("b")),
    ]);
    const at = (zone: string) => node("n1", { labels: { "topology.kubernetes.io/zone": zone } });
    expect(addresses(build([service("web"), hinted, at("b")]))).toEqual(["10.0.2.1"]);
    expect(addresses(build([service("web"), hinted, at("c")]))).toEqual(["10.0.1.1", "10.0.2.1"]);
  });

  it("has one family, the Service's first", () => {
    const pod = { targetRef: { uid: "p" } };
    const v6 = slice("web", [endpoint("fd00::1", "n1", {}, pod)], { addressType: "IPv6" }, "web-6");
    const plan = build([service("web"), slice("web", [endpoint("10.0.1.1", "n1", {}, pod)]), v6]);
    expect(addresses(plan)).toEqual(["10.0.1.1"]);
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
      build([service("a", external(name), expose()), ...others], "n1", {
        allowExternalName: allow,
        resolved: new Map([[name, resolved]]),
      }),
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
    ["a listed range is of its own family", ["0.0.0.0/0"], ["192.168.1.9", "2001:4860::9"], ["192.168.1.9"]],
    ["loopback", ["lan"], ["127.0.0.1", "::1", "::ffff:127.0.0.1"], []],
    ["loopback, its range listed", ["lan", "127.0.0.0/8", "0.0.0.0/0", "::/0"], ["127.0.0.1", "::1"], []],
    ["loopback, itself listed", ["127.0.0.1/32", "::1/128"], ["127.0.0.1", "127.0.0.2", "::1"], ["127.0.0.1", "::1"]],
    ["itself listed, by another spelling", ["::ffff:192.168.1.9/128"], ["192.168.1.9"], ["192.168.1.9"]],
    ["link-local, its range listed", ["lan", "169.254.0.0/16", "fe80::/10"], ["169.254.169.254", "fe80::1"], []],
    ["an address that hides another", ["lan", "::/0"], ["64:ff9b::7f00:1", "2002:7f00:1::"], []],
    ["link-local", ["lan"], ["169.254.169.254", "fe80::1"], []],
    ["unspecified, multicast, broadcast", ["lan"], ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"], []],
    ["no address at all", ["lan"], ["nas"], []],
  ])("%s", (_what, allow, resolved, expected) => {
    expect(nas("nas.lan", allow, resolved)).toEqual(expected);
  });

  const api = [slice("kubernetes", [endpoint("192.168.1.3")]), service("kubernetes", { clusterIP: "10.96.0.1" })];
  const given = { status: { loadBalancer: { ingress: [{ ip: "192.168.1.4" }] } } };
  it.each<[string, string, readonly Written[]]>([
    ["a node", "192.168.1.2", [nodeAt("192.168.1.2")]],
    ["a node by another spelling", "::ffff:192.168.1.2", [nodeAt("192.168.1.2")]],
    ["a pod behind a Service", "10.0.1.1", [pods]],
    ["a pod of no Service", "10.0.1.77", [node("n9", {}, { spec: { podCIDRs: ["10.0.1.0/24", "fd00:1::/64"] } })]],
    ["its IPv6 neighbour", "fd00:1::7", [node("n9", {}, { spec: { podCIDRs: ["10.0.1.0/24", "fd00:1::/64"] } })]],
    ["a Service", "10.96.0.7", [service("web", { clusterIP: "10.96.0.7" })]],
    ["a Service by its external address", "192.168.1.5", [service("web", { externalIPs: ["192.168.1.5"] })]],
    ["a Service by another load balancer's address", "192.168.1.4", [{ ...service("web"), ...given }]],
    ["the API server", "192.168.1.3", api],
    ["the API server's Service", "10.96.0.1", api],
  ])("never %s, unless that very address is listed", (_what, address, others) => {
    const listed = `${address}/${address.includes(":") ? 128 : 32}`;
    for (const allow of [["lan"], ["lan", "0.0.0.0/0", "::/0"], ["192.168.1.0/24", "10.0.0.0/8", "fd00::/8"]])
      expect(nas("nas.lan", allow, [address], ...others)).toEqual([]);
    expect(nas("nas.lan", ["0.0.0.0/0", listed], [address], ...others)).toEqual([address]);
  });

  it("never this machine by an interface that Kubernetes does not know", () => {
    const at = (allowExternalName: readonly string[]) =>
      addresses(
        build([service("nas", external("nas.lan"), expose())], "n1", {
          allowExternalName,
          resolved: new Map([["nas.lan", ["172.17.0.1", "192.168.1.9"]]]),
          localAddresses: () => ["127.0.0.1", "::1", "172.17.0.1"],
        }),
      );
    expect(at(["lan", "172.16.0.0/12"])).toEqual(["192.168.1.9"]);
    expect(at(["lan", "172.17.0.1/32"])).toEqual(["172.17.0.1", "192.168.1.9"]);
  });

  it("says to its owner which addresses are left out, and why", () => {
    const refused = (allowExternalName: readonly string[], name = "nas.lan", ...others: readonly Written[]) =>
      refusedAddresses(observe(service("nas", external(name), expose()), nodeAt("192.168.1.2"), ...others), "n1", {
        ...options,
        allowExternalName,
        resolved: new Map([["nas.lan", ["127.0.0.1", "192.168.1.2", "192.168.1.9"]]]),
      }).get("default/nas");
    expect(refused(["lan"])).toBe(
      "externalName nas.lan is not served at 127.0.0.1 (a special address (loopback)), 192.168.1.2 (a node's address): " +
        "whoever runs the agents must list that very address in --allow-external-name, as 192.0.2.1/32 or 2001:db8::1/128",
    );
    expect(refused(["192.168.1.2/32"])).toMatch(/at 127.0.0.1 \(.*\), 192.168.1.9 \(not listed\):/);
    expect(refused(["lan", "127.0.0.1/32", "192.168.1.2/32"])).toBeUndefined();
    // Its name is not allowed at all: that is said elsewhere.
    expect(refused([])).toBeUndefined();
    expect(refused(["svc"], "kubernetes.default.svc", ...api)).toMatch(
      /192.168.1.3 \(a node's address or the API server's\)/,
    );
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
      );
    expect(inside("web.default.svc.cluster.local", ["svc.cluster.local"])).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(inside("web.default.svc", ["web.default.svc"])).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(inside("web.default.svc.cluster.local", ["lan"])).toEqual([]);
    expect(inside("gone.default.svc.cluster.local", ["svc.cluster.local"])).toEqual([]);
    expect(inside("web.default.svc.example.com", ["svc.cluster.local"])).toEqual([]);
    expect(inside("web-0.web.default.svc.cluster.local", ["svc.cluster.local"])).toEqual([]);
    expect(inside("web.default.svc.cluster.local", ["10.0.0.0/8"])).toEqual([]);
  });

  it("follows such a name as a client inside the cluster would: by the internal policy, in both families", () => {
    const pod = { targetRef: { uid: "p" } };
    const v6 = slice("web", [endpoint("fd00::1", "n1", {}, pod)], { addressType: "IPv6" }, "web-6");
    const to = (spec: object, ...slices: readonly Written[]) =>
      addresses(
        build([service("in", external("web.default.svc"), expose()), service("web", spec), ...slices], "n1", {
          allowExternalName: ["svc"],
        }),
      );
    expect(to({}, pods)).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(to({ internalTrafficPolicy: "Local" }, pods)).toEqual(["10.0.1.1"]);
    expect(to({ externalTrafficPolicy: "Local" }, pods)).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(to({}, slice("web", [endpoint("10.0.1.1", "n1", {}, pod)]), v6)).toEqual(["10.0.1.1", "fd00::1"]);
  });

  it("but no node and not the API server behind such a name, unless that very address is listed", () => {
    const to = (name: string, allow: readonly string[]) =>
      addresses(
        build([service("in", external(name), expose()), service("web"), pods, nodeAt("10.0.1.1"), ...api], "n1", {
          allowExternalName: allow,
        }),
      );
    expect(to("web.default.svc", ["svc"])).toEqual(["10.0.2.1"]);
    expect(to("web.default.svc", ["svc", "10.0.1.1/32"])).toEqual(["10.0.1.1", "10.0.2.1"]);
    expect(to("kubernetes.default.svc", ["svc", "192.168.1.0/24"])).toEqual([]);
    expect(to("kubernetes.default.svc", ["svc", "192.168.1.3/32"])).toEqual(["192.168.1.3"]);
  });

  it("asks DNS only for names that it may use", () => {
    const observed = observe(
      service("a", external("nas.lan"), expose()),
      service("b", external("nas.lan"), expose()),
      service("c", external("printer.lan")),
      service("d", external("web.default.svc.cluster.local"), expose()),
      service("e", external("example.com"), expose()),
      service("f", external("web-0.web.default.svc.cluster.local"), expose()),
      service("g", external("web.default.svc"), expose()),
    );
    expect(externalNames(observed, options)).toEqual(["nas.lan"]);
    expect(externalNames(observed, { ...options, allowExternalName: ["10.0.0.0/8"] })).toEqual([
      "example.com",
      "nas.lan",
    ]);
  });
});
