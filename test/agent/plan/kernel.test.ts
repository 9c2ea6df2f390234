// Observed → what the kernel of one node forwards: kube-proxy's rules (pkg/proxy: serviceport, topology) as tables.
import { describe, expect, it } from "vitest";
import type { PlanOptions } from "../../../agent/plan/forwarding.ts";
import type { KernelPort, KernelService } from "../../../agent/plan/plan.ts";
import { endpoint, node, service, serviceCIDR, slice, type Written } from "../source/objects.ts";
import { buildPlan } from "./build-plan.ts";
import { observe } from "./observe.ts";

const options: PlanOptions = {
  defaultClass: false,
  allowExternalName: [],
  clusterDomain: "cluster.local",
  resolved: new Map(),
  forwards: "all",
};
const plan = (objects: readonly Written[], at = "n1") => buildPlan(observe(...objects), at, options);
const kernel = (...objects: readonly Written[]): KernelService | undefined => plan(objects).services[0]?.kernel;
const port = (...objects: readonly Written[]): KernelPort => {
  const first = kernel(...objects)?.ports[0];
  if (first === undefined) throw new Error("the kernel forwards nothing");
  return first;
};
const addresses = (endpoints: KernelPort["cluster"]) => endpoints.map(({ address }) => address);
const loadBalancer = (spec: object = {}, ingress: object[] = [{ ip: "192.0.2.1" }]): Written => ({
  ...service("web", { ports: [{ port: 80, nodePort: 30080 }], ...spec }),
  status: { loadBalancer: { ingress } },
});
const pods = slice("web", [endpoint("10.0.1.1", "n1"), endpoint("10.0.2.1", "n2")]);
const local = { externalTrafficPolicy: "Local" };

describe("a Service", () => {
  it("has all its ports and source ranges, of which an edge takes less", () => {
    const ports = Array.from({ length: 1000 }, (_, index) => ({
      name: `p${index}`,
      port: index + 1,
      nodePort: 30000 + index,
    }));
    const ranges = Array.from({ length: 600 }, (_, index) => `10.${index >> 8}.${(index & 127) * 2}.${index & 128}/25`);
    const own = slice("web", [endpoint("10.0.1.1", "n1")], {
      ports: ports.map(({ name, port: number }) => ({ name, port: number })),
    });
    const found = kernel(loadBalancer({ ports, loadBalancerSourceRanges: ranges }), own)?.ports ?? [];
    expect(found).toHaveLength(1000);
    expect(found.every(({ cluster, sourceRanges }) => cluster.length === 1 && sourceRanges?.length === 600)).toBe(true);
  });

  it("has its frontends and endpoints, each by family", () => {
    const dual = service("web", {
      type: "ClusterIP",
      clusterIP: "10.96.0.1",
      clusterIPs: ["10.96.0.1", "fd00:0::1"],
      externalIPs: ["192.0.2.9", "2001:db8::9"],
      ports: [{ name: "http", port: 80 }],
    });
    const v6 = { addressType: "IPv6", ports: [{ name: "http", port: 8080 }] };
    const v4 = { ports: [{ name: "http", port: 8080 }] };
    const ports = kernel(
      dual,
      slice("web", [endpoint("10.0.1.1", "n1")], v4),
      slice("web", [endpoint("fd01::1", "n2"), endpoint("::ffff:10.0.1.9", "n2")], v6, "web-6"),
    )?.ports;
    const same = {
      protocol: "TCP",
      port: 80,
      name: "http",
      loadBalancerIPs: [],
      local: [],
      anywhere: true,
      algorithm: "random",
    };
    const policies = { internalPolicy: "Cluster", externalPolicy: "Cluster" };
    expect(ports).toEqual([
      {
        ...{ ...same, ...policies, family: "IPv4", clusterIP: "10.96.0.1", externalIPs: ["192.0.2.9"] },
        cluster: [{ address: "10.0.1.1", port: 8080, weight: 1, local: true }],
      },
      {
        ...{ ...same, ...policies, family: "IPv6", clusterIP: "fd00::1", externalIPs: ["2001:db8::9"] },
        cluster: [{ address: "fd01::1", port: 8080, weight: 1, local: false }],
      },
    ]);
  });

  it.each<[string, Written]>([
    ["is headless", service("web", { type: "ClusterIP", clusterIP: "None" })],
    ["has no ClusterIP yet", service("web", { clusterIP: null })],
    ["is an ExternalName", service("web", { type: "ExternalName", externalName: "a.example.com", clusterIP: null })],
    [
      "is another proxy's",
      service("web", {}, { labels: { "service.kubernetes.io/service-proxy-name": "other" }, annotations: {} }),
    ],
    [
      "calls itself headless",
      service("web", {}, { labels: { "service.kubernetes.io/headless": "" }, annotations: {} }),
    ],
    ["has a ClusterIP that is no address", service("web", { type: "ClusterIP", clusterIP: "10.96.0.01" })],
  ])("that %s is not the kernel's", (_, written) => {
    expect(kernel(written, pods)).toBeUndefined();
  });

  it("is planned for the kernel only with --proxy all", () => {
    const objects = observe(service("web", { type: "ClusterIP" }), pods);
    expect(buildPlan(objects, "n1", options).services).toHaveLength(1);
    expect(buildPlan(objects, "n1", { ...options, forwards: "nodePorts" }).services).toEqual([]);
    expect(buildPlan(objects, "n1", { ...options, forwards: "nothing" })).toEqual({ node: "n1", services: [] });
  });

  it("has no plan for the tunnel where the edge may not open streams to it", () => {
    expect(plan([service("web", { type: "ClusterIP" }), pods]).services[0]?.ports).toEqual([]);
  });
});

describe("endpoints", () => {
  it.each<[string, object, Written, string[], string[]]>([
    ["Cluster: all of them, and none is kept as local", {}, pods, ["10.0.1.1", "10.0.2.1"], []],
    [
      "ETP Local: local ones for outside, all for pods of this node",
      local,
      pods,
      ["10.0.1.1", "10.0.2.1"],
      ["10.0.1.1"],
    ],
    [
      "only terminating ones on this node: they serve under Local, the ready one under Cluster",
      local,
      slice("web", [
        endpoint("10.0.1.1", "n1", { ready: false, serving: true, terminating: true }),
        endpoint("10.0.2.1", "n2"),
      ]),
      ["10.0.2.1"],
      ["10.0.1.1"],
    ],
    ["none here", local, slice("web", [endpoint("10.0.2.1", "n2")]), ["10.0.2.1"], []],
  ])("%s", (_, spec, slices, cluster, own) => {
    const found = port(loadBalancer(spec), slices);
    expect(addresses(found.cluster)).toEqual(cluster);
    expect(addresses(found.local)).toEqual(own);
  });

  it("of a slice that calls itself headless are none", () => {
    const metadata = {
      name: "web-2",
      labels: { "kubernetes.io/service-name": "web", "service.kubernetes.io/headless": "" },
    };
    const found = port(
      service("web", { type: "ClusterIP" }),
      pods,
      slice("web", [endpoint("10.0.2.9", "n2")], { metadata }),
    );
    expect(addresses(found.cluster)).toEqual(["10.0.1.1", "10.0.2.1"]);
  });

  it("an endpoint of which nobody says where it is may be a pod of this node that reaches itself, but is no local one", () => {
    const unknown = slice("web", [endpoint("10.0.1.1"), endpoint("10.0.2.1", "n2")]);
    const found = port(loadBalancer(local), unknown);
    expect(found.cluster.map((each) => each.local)).toEqual([true, false]);
    expect(found.local).toEqual([]);
  });

  it("ITP Local, and nothing reaches it from outside: only local ones are kept", () => {
    const found = port(service("web", { type: "ClusterIP", internalTrafficPolicy: "Local" }), pods);
    expect(found).toMatchObject({ internalPolicy: "Local", externalPolicy: "Cluster", cluster: [] });
    expect(addresses(found.local)).toEqual(["10.0.1.1"]);
    const elsewhere = port(
      service("web", { type: "ClusterIP", internalTrafficPolicy: "Local" }),
      slice("web", [endpoint("10.0.2.1", "n2")]),
    );
    expect(elsewhere).toMatchObject({ local: [], anywhere: true });
    expect(port(service("web")).anywhere).toBe(false);
  });

  it("ETP counts for a ClusterIP with externalIPs, and not without", () => {
    const spec = { type: "ClusterIP", ...local };
    expect(port(service("web", { ...spec, externalIPs: ["192.0.2.9"] }), pods).externalPolicy).toBe("Local");
    expect(port(service("web", spec), pods)).toMatchObject({ externalPolicy: "Cluster", local: [] });
  });

  it("hints narrow the cluster's view only", () => {
    const hint = (zone: string) => ({ hints: { forZones: [{ name: zone }] } });
    const hinted = slice("web", [endpoint("10.0.1.1", "n1", {}, hint("b")), endpoint("10.0.2.1", "n2", {}, hint("a"))]);
    const found = port(loadBalancer(local), hinted, node("n1", { labels: { "topology.kubernetes.io/zone": "a" } }));
    expect(addresses(found.cluster)).toEqual(["10.0.2.1"]);
    expect(addresses(found.local)).toEqual(["10.0.1.1"]);
  });

  it("listed twice, as while a slice is split, count as where they do not terminate", () => {
    const going = endpoint("10.0.1.1", "n1", { ready: false, serving: true, terminating: true });
    const slices = [slice("web", [going]), slice("web", [endpoint("10.0.1.1", "n1")], {}, "web-2")];
    expect(
      kernel(loadBalancer({ healthCheckNodePort: 32_000, ...local }), ...slices)?.healthCheck?.localEndpoints,
    ).toBe(1);
  });

  it("weigh as their node does", () => {
    const found = port(loadBalancer(), pods, node("n2", { annotations: { "postern.dev/weight": "5" } }));
    expect(found.cluster.map(({ weight }) => weight)).toEqual([1, 5]);
  });

  it("of UDP keep their flows while they serve, whatever the policy says", () => {
    const udp = { ports: [{ port: 53, protocol: "UDP" }], ...local };
    const slices = slice(
      "web",
      [
        endpoint("10.0.1.1", "n1", { ready: false, serving: true, terminating: true }),
        endpoint("10.0.2.1", "n2"),
        endpoint("10.0.2.2", "n2", { ready: false, serving: false }),
      ],
      { ports: [{ name: "", port: 5353, protocol: "UDP" }] },
    );
    expect(port(service("web", udp), slices).serving).toEqual(["10.0.1.1 5353", "10.0.2.1 5353"]);
    expect(port(service("web"), pods)).not.toHaveProperty("serving");
  });
});

describe("LoadBalancer addresses", () => {
  it("are those of ipMode VIP; host names and ipMode Proxy are left to the balancer", () => {
    const ingress = [
      { ip: "192.0.2.1" },
      { ip: "192.0.2.2", ipMode: "VIP" },
      { ip: "192.0.2.3", ipMode: "Proxy" },
      { hostname: "lb.example.com" },
      { ip: "2001:db8::1" },
    ];
    expect(port(loadBalancer({}, ingress), pods).loadBalancerIPs).toEqual(["192.0.2.1", "192.0.2.2"]);
  });

  it.each<[string, string[], readonly string[] | undefined]>([
    ["none", [], undefined],
    ["of both families: its own", [" 10.0.0.0/8 ", "2001:db8::/32"], ["10.0.0.0/8"]],
    ["of the other family alone: everybody", ["2001:db8::/32"], undefined],
    ["with a /0: everybody", ["10.0.0.0/8", "0.0.0.0/0"], undefined],
  ])("source ranges %s", (_, loadBalancerSourceRanges, expected) => {
    expect(port(loadBalancer({ loadBalancerSourceRanges }), pods).sourceRanges).toEqual(expected);
  });
});

describe("healthCheckNodePort", () => {
  const spec = { healthCheckNodePort: 32_000, ...local };
  it("counts ready endpoints of this node by address; a terminating one serves and does not count", () => {
    const slices = [
      slice("web", [
        endpoint("10.0.1.1", "n1"),
        endpoint("10.0.1.2", "n1", { ready: false, serving: true, terminating: true }),
        endpoint("10.0.2.1", "n2"),
      ]),
      slice("web", [endpoint("10.0.1.1", "n1")], {}, "web-2"),
    ];
    expect(kernel(loadBalancer(spec), ...slices)?.healthCheck).toEqual({ nodePort: 32_000, localEndpoints: 1 });
  });

  it("is there for type LoadBalancer under Local alone", () => {
    expect(kernel(loadBalancer({ ...spec, externalTrafficPolicy: "Cluster" }), pods)).not.toHaveProperty("healthCheck");
    expect(kernel(loadBalancer({ ...spec, type: "NodePort" }), pods)).not.toHaveProperty("healthCheck");
  });
});

describe("the node", () => {
  it("has its internal addresses, in a family without any its external ones, and its pod CIDRs", () => {
    const addressed = (...list: [string, string][]) =>
      node(
        "n1",
        {},
        {
          spec: { podCIDRs: ["10.0.1.0/24"] },
          status: { addresses: list.map(([type, address]) => ({ type, address })) },
        },
      );
    expect(
      plan([addressed(["Hostname", "n1"], ["InternalIP", "10.9.0.1"], ["ExternalIP", "192.0.2.1"])]).kernel,
    ).toEqual({
      addresses: ["10.9.0.1"],
      podCIDRs: ["10.0.1.0/24"],
      serviceCIDRs: [],
    });
    expect(plan([addressed(["ExternalIP", "192.0.2.1"])]).kernel?.addresses).toEqual(["192.0.2.1"]);
    const dual = addressed(["ExternalIP", "192.0.2.1"], ["ExternalIP", "2001:db8::1"], ["InternalIP", "10.9.0.1"]);
    expect(plan([dual]).kernel?.addresses).toEqual(["10.9.0.1", "2001:db8::1"]);
    expect(plan([]).kernel).toEqual({ addresses: [], podCIDRs: [], serviceCIDRs: [] });
  });

  it("knows the cluster's ranges of Services, also those on their way out; none lies within another", () => {
    const going = { deletionTimestamp: "2026-01-01T00:00:00Z" };
    const cidrs = [
      serviceCIDR("more", ["10.97.0.0/24", "10.98.0.1/24"], going),
      serviceCIDR("kubernetes", ["10.97.0.0/16", "fd00:97:0::/108"]),
      serviceCIDR("odd", ["none"]),
    ];
    expect(plan(cidrs).kernel?.serviceCIDRs).toEqual(["10.97.0.0/16", "10.98.0.0/24", "fd00:97::/108"]);
    expect(buildPlan(observe(...cidrs), "n1", { ...options, forwards: "nodePorts" })).not.toHaveProperty("kernel");
  });
});
