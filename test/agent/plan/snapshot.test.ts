// Observed → snapshot: what is ours, in which form, with which conditions. Always one that the edge accepts.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildSnapshot, type SnapshotOptions } from "../../../agent/plan/snapshot.ts";
import { endpointAlgorithms, snapshotSchema } from "../../../src/shared/model/snapshot.ts";
import { endpoint, node, service, slice, type Written } from "../source/objects.ts";
import { observe } from "./observe.ts";

const options: SnapshotOptions = {
  defaultClass: false,
  allowExternalName: [],
  clusterDomain: "cluster.local",
  ignoreExcludeLabel: false,
  endpointAlgorithms: ["random", "rr", "wrr", "lc", "sh", "maglev"],
};
const build = (objects: readonly Written[], more: Partial<SnapshotOptions> = {}) =>
  buildSnapshot(observe(...objects), { ...options, ...more });
const expose = { annotations: { "postern.dev/expose": "true" } };
const headless = { type: "ClusterIP", clusterIP: "None", loadBalancerClass: null };
const external = (name: string) => ({ type: "ExternalName", externalName: name, clusterIP: null, ports: [] });
const classless = { loadBalancerClass: null };

describe("which Services are ours", () => {
  it.each<[string, Written, Partial<SnapshotOptions>, string | undefined]>([
    ["our class", service("web"), {}, "LoadBalancer"],
    ["another class", service("web", { loadBalancerClass: "metallb.io/metallb" }), { defaultClass: true }, undefined],
    ["no class", service("web", classless), {}, undefined],
    ["no class, and we are the default", service("web", classless), { defaultClass: true }, "LoadBalancer"],
    ["ClusterIP", service("web", { type: "ClusterIP" }), {}, undefined],
    ["ClusterIP, exposed: it has no meaning", service("web", { type: "ClusterIP" }, expose), {}, undefined],
    ["NodePort", service("web", { type: "NodePort" }), {}, undefined],
    ["headless", service("web", headless), {}, undefined],
    ["headless, exposed", service("web", headless, expose), {}, "Headless"],
    [
      "headless, exposed by a word that is not true",
      service("web", headless, { annotations: { "postern.dev/expose": "yes" } }),
      {},
      undefined,
    ],
    ["ExternalName", service("web", external("nas.lan")), { allowExternalName: ["lan"] }, undefined],
    [
      "ExternalName, exposed",
      service("web", external("nas.lan"), expose),
      { allowExternalName: ["lan"] },
      "ExternalName",
    ],
    ["being deleted", service("web", {}, { deletionTimestamp: "2026-01-01T00:00:00Z" }), {}, undefined],
  ])("%s", (_what, written, more, kind) => {
    expect(build([written], more).services[0]?.kind).toBe(kind);
  });
});

describe("what the edge is told", () => {
  it("has all of a Service", () => {
    const annotations = {
      "postern.dev/hostname": "shop.example.com",
      "postern.dev/algorithm": "weighted",
      "postern.dev/transport": "direct",
    };
    const spec = {
      ports: [
        { name: "https", port: 443, targetPort: "tls", nodePort: 30443 },
        { name: "dns", port: 53, protocol: "UDP", nodePort: 30053 },
        { name: "http", port: 80, nodePort: 0 },
      ],
      externalTrafficPolicy: "Local",
      sessionAffinity: "ClientIP",
      loadBalancerSourceRanges: ["10.0.0.0/8"],
    };
    const metadata = { namespace: "shop", uid: "u-1", creationTimestamp: "2026-01-31T12:00:00Z", annotations };
    const pods = slice(
      "web",
      [
        endpoint("10.0.1.1", "n1", {}, { zone: "a", targetRef: { uid: "p-1" }, hints: { forZones: [{ name: "a" }] } }),
        endpoint("10.0.2.1", "n2", { ready: false, serving: true, terminating: true }),
      ],
      {
        ports: [
          { name: "http", port: 8080 },
          { name: "https", port: 8443 },
          { name: "dns", port: 5353, protocol: "UDP" },
        ],
      },
    );
    const inShop = { ...pods, metadata: { ...pods.metadata, namespace: "shop" } };
    expect(build([service("web", spec, metadata), inShop, node("n1")])).toEqual({
      version: 1,
      nodes: [{ name: "n1" }],
      services: [
        {
          namespace: "shop",
          name: "web",
          uid: "u-1",
          createdAt: "2026-01-31T12:00:00Z",
          kind: "LoadBalancer",
          hostnames: ["shop.example.com"],
          transport: "direct",
          algorithm: "weighted",
          ports: [
            { name: "dns", port: 53, protocol: "UDP", nodePort: 30053 },
            { name: "http", port: 80, protocol: "TCP" },
            { name: "https", port: 443, protocol: "TCP", nodePort: 30443 },
          ],
          externalTrafficPolicy: "Local",
          affinitySeconds: 10_800,
          sourceRanges: ["10.0.0.0/8"],
          endpoints: [
            {
              key: "10.0.2.1",
              address: "10.0.2.1",
              node: "n2",
              ready: false,
              serving: true,
              terminating: true,
              ports: { 80: 8080, 443: 8443 },
            },
            {
              key: "p-1",
              address: "10.0.1.1",
              node: "n1",
              zone: "a",
              ready: true,
              serving: true,
              terminating: false,
              forZones: ["a"],
              ports: { 80: 8080, 443: 8443 },
            },
          ],
          conditions: [],
        },
      ],
    });
  });

  it("has an ExternalName as one endpoint on no node, where the operator allows the name", () => {
    const nas = service("nas", external("nas.lan"), {
      annotations: { "postern.dev/expose": "true", "postern.dev/ports": "80:5000" },
    });
    expect(build([nas], { allowExternalName: ["lan"] }).services[0]).toMatchObject({
      externalName: "nas.lan",
      ports: [{ port: 80 }],
      endpoints: [{ key: "nas.lan", address: "nas.lan", ready: true, ports: { 80: 5000 } }],
      conditions: [],
    });
    const refused = new Map([["default/nas", "externalName nas.lan is not served at 192.168.1.2 (a node's address)"]]);
    expect(build([nas], { allowExternalName: ["lan"], refused }).services[0]?.conditions).toEqual([
      {
        type: "postern.dev/ExternalNameNotAllowed",
        status: "True",
        reason: "AddressNotListed",
        message: refused.get("default/nas"),
      },
    ]);
    expect(build([nas]).services[0]).toMatchObject({
      endpoints: [],
      conditions: [
        { type: "postern.dev/ExternalNameNotAllowed", message: expect.stringContaining("--allow-external-name") },
      ],
    });
  });
});

describe("an ExternalName that is not allowed", () => {
  it.each([
    ["", ["lan"], "NoName"],
    ["nas.lan", [], "NotListed"],
    ["nas.lan", ["home"], "NotListed"],
    ["web.default.svc.cluster.local", ["10.0.0.0/8"], "NotListed"],
    ["web-0.web.default.svc.cluster.local", ["svc.cluster.local"], "NoService"],
  ])("%j, where %j is listed: %s", (name, allowExternalName, reason) => {
    const [found] = build([service("nas", external(name), expose)], { allowExternalName }).services;
    expect(found?.endpoints).toEqual([]);
    expect(found?.conditions).toMatchObject([{ type: "postern.dev/ExternalNameNotAllowed", reason }]);
  });
});

describe("conditions that say what to check", () => {
  const selector = { selector: { app: "web", tier: "front" } };
  const conditions = (...objects: readonly Written[]) =>
    build(objects).services[0]?.conditions.map(({ type, reason, message }) => `${type} ${reason}: ${message}`);

  it.each<[string, Written[], unknown[]]>([
    ["nothing to say", [service("web"), slice("web", [endpoint("10.0.1.1")])], []],
    [
      "a selector that matches nothing",
      [service("web", selector), slice("web", [])],
      [
        "postern.dev/NoMatchingPods SelectorMatchesNothing: no pod matches the selector app=web,tier=front, or none has an address yet. Check that pods with these labels run: kubectl -n default get pods -l app=web,tier=front; and what the Service selects: kubectl -n default describe service web",
      ],
    ],
    [
      "no selector and no slice",
      [service("web")],
      [
        "postern.dev/NoMatchingPods NoSelector: the Service has no selector, and no EndpointSlice with the label kubernetes.io/service-name=web lists an address: write one (an object of kind Endpoints does not count), or give the Service a selector. Check: kubectl -n default get endpointslices -l kubernetes.io/service-name=web",
      ],
    ],
    [
      "a named targetPort that no container has",
      [
        service("web", { ...selector, ports: [{ name: "http", port: 80, targetPort: "htpp" }] }),
        slice("web", [endpoint("10.0.1.1")], { ports: [] }),
      ],
      [
        "postern.dev/TargetPortNotFound NoEndpointHasPort: no endpoint has port 80 (\"http\") with targetPort htpp. Check that the pods' containers have a port of that name: kubectl -n default get pods -l app=web,tier=front -o jsonpath='{.items[*].spec.containers[*].ports}'",
      ],
    ],
    [
      "a hand-written slice with another port name",
      [service("web", { ports: [{ name: "http", port: 80 }] }), slice("web", [endpoint("10.0.1.1")])],
      [
        'postern.dev/TargetPortNotFound NoEndpointHasPort: no endpoint has port 80 ("http"). Check that the slice has a port of the same name and protocol: kubectl -n default get endpointslices -l kubernetes.io/service-name=web -o yaml',
      ],
    ],
    [
      "pods, but none ready",
      [service("web", selector), slice("web", [endpoint("10.0.1.1", "n1", { ready: false, serving: false })])],
      [
        "postern.dev/NoReadyPods NoneReady: the Service has endpoints, but none of them is ready. Check: kubectl -n default get pods -l app=web,tier=front; and why they are not ready: kubectl -n default describe pods -l app=web,tier=front",
      ],
    ],
    [
      "on their way out, but still serving",
      [
        service("web", selector),
        slice("web", [endpoint("10.0.1.1", "n1", { ready: false, serving: true, terminating: true })]),
      ],
      [],
    ],
    [
      "two bad annotations in one condition",
      [
        service("web", {}, { annotations: { "postern.dev/algorithm": "x", "postern.dev/transport": "y" } }),
        slice("web", [endpoint("10.0.1.1")]),
      ],
      [expect.stringMatching(/^postern.dev\/AnnotationIgnored BadValue: .*algorithm: "x".*\. .*transport: "y"/)],
    ],
    [
      "an order that userspace cannot do",
      [
        service("web", {}, { annotations: { "postern.dev/endpoint-algorithm": "sed" } }),
        slice("web", [endpoint("10.0.1.1")]),
      ],
      [
        "postern.dev/EndpointAlgorithmNotSupported ExecutorCannot: annotation postern.dev/endpoint-algorithm: sed is not possible with the way these nodes forward (possible: random, rr, wrr, lc, sh, maglev); endpoints are dealt at random. Agents that run with --proxy-mode nftables can do random, rr, wrr, sh and maglev",
      ],
    ],
  ])("%s", (_what, objects, expected) => {
    expect(conditions(...objects)).toEqual(expected);
  });

  it("has nothing to say yet of a Service whose first slice Kubernetes will write in a moment", () => {
    const seen = (...objects: readonly Written[]) =>
      build(objects, { slicesFollow: true }).services[0]?.conditions.map(({ reason }) => reason);
    expect(seen(service("web", selector))).toEqual([]);
    expect(seen(service("web", selector), slice("web", []))).toEqual(["SelectorMatchesNothing"]);
    expect(seen(service("web"))).toEqual(["NoSelector"]);
  });

  it("names the port at which ready endpoints refuse connections", () => {
    const ports = [
      { name: "http", port: 80, targetPort: 8080 },
      { name: "more", port: 81, targetPort: "other" },
    ];
    const web = [
      service("web", { ...selector, ports }),
      slice("web", [endpoint("10.0.1.1")], {
        ports: ports.map(({ name }) => ({ name, port: 8080 })),
      }),
    ];
    const silent = new Map([["default/web", [80]]]);
    expect(build(web, { silent }).services[0]?.conditions).toMatchObject([
      {
        type: "postern.dev/TargetPortNotFound",
        reason: "ConnectionRefused",
        message: expect.stringContaining(
          'ready endpoints refuse connections for port 80 ("http") with targetPort 8080: nothing listens there.',
        ),
      },
    ]);
    expect(build(web, { silent: new Map([["other/web", [80]]]) }).services[0]?.conditions).toEqual([]);
  });
});

describe("always a snapshot that the edge accepts", () => {
  const text = fc.oneof(
    fc.constantFrom("", "a", "true", "direct", "80:81", "*.x", "10.0.0.0/8", "65536"),
    fc.string({ maxLength: 300 }),
  );
  const annotation = fc.constantFrom(
    ...["hostname", "algorithm", "endpoint-algorithm", "transport", "expose", "ports"].map(
      (name) => `postern.dev/${name}`,
    ),
    "service.beta.kubernetes.io/load-balancer-source-ranges",
  );
  const spec = fc.record(
    {
      type: fc.constantFrom("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
      loadBalancerClass: fc.constantFrom("postern.dev/edge", null, "other"),
      clusterIP: fc.constantFrom("None", "", "10.96.0.1", "fd00::1"),
      externalName: fc.constantFrom("", "nas.lan", "a.b.svc.cluster.local", "192.168.1.1"),
      ports: fc.uniqueArray(
        fc.record({
          name: fc.constantFrom("http", "a", "b", "c"),
          appProtocol: fc.constantFrom("", null, "https", "kubernetes.io/h2c", "http", "x"),
          port: fc.integer({ min: 1, max: 65535 }),
          nodePort: fc.constantFrom(0, null, 30000),
        }),
        { comparator: (a, b) => a.port === b.port || a.name === b.name, maxLength: 4 },
      ),
      selector: fc.dictionary(fc.string({ minLength: 1 }), text, { maxKeys: 3 }),
      sessionAffinity: fc.constantFrom("None", "ClientIP", null),
    },
    { requiredKeys: [] },
  );
  const one = fc.record(
    {
      addresses: fc.constantFrom(["10.0.0.1"], ["fd00::1"], ["x"], ["10.0.0.2", "10.0.0.3"]),
      nodeName: fc.constantFrom("", "n1", null),
      zone: text.map((t) => t.slice(0, 253)),
      targetRef: fc.constantFrom({ uid: "" }, { uid: "p" }, {}, null),
      hints: fc.constantFrom(null, { forNodes: [{ name: "" }] }, { forZones: [{ name: "a" }] }),
    },
    { requiredKeys: ["addresses"] },
  );

  it("whatever the objects hold", () => {
    fc.assert(
      fc.property(
        spec,
        fc.dictionary(annotation, text),
        fc.array(one, { maxLength: 4 }),
        fc.dictionary(fc.constantFrom("postern.dev/weight", "postern.dev/direct-address"), text),
        (s, annotations, endpoints, nodeAnnotations) => {
          const objects = [
            service("web", s, { annotations }),
            slice("web", endpoints, {
              ports: [
                { name: "http", port: 8080 },
                { name: "a", port: 81, appProtocol: "grpc" },
              ],
            }),
            node("n1", { annotations: nodeAnnotations }),
          ];
          const snapshot = build(objects, { defaultClass: true, allowExternalName: ["lan"] });
          expect(snapshotSchema.safeParse(JSON.parse(JSON.stringify(snapshot))).error?.issues).toBeUndefined();
          expect(build(objects, { defaultClass: true, allowExternalName: ["lan"] })).toEqual(snapshot);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("of a Service with more ports, or ranges, than the edge takes, and says so; those of TCP come first", () => {
    const port = (protocol: string, number: number) => ({
      name: `${protocol}-${number}`.toLowerCase(),
      protocol,
      port: number,
    });
    const ports = Array.from({ length: 300 }, (_, index) => port("UDP", index + 1));
    ports.push(port("TCP", 80), ...Array.from({ length: 100 }, (_, index) => port("TCP", index + 1000)));
    const ranges = Array.from({ length: 600 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`);
    const web = [
      service("web", { ports, loadBalancerSourceRanges: ranges }),
      slice("web", [endpoint("10.0.1.1")], { ports: ports.map((each) => ({ ...each, port: each.port + 1 })) }),
    ];
    const snapshot = build([...web, service("other")], { slicesFollow: true });
    expect(snapshotSchema.safeParse(snapshot).error?.issues).toBeUndefined();
    const [other, found] = snapshot.services;
    expect(other).toMatchObject({ name: "other", ports: [{ port: 80 }] });
    expect(found?.ports.map(({ protocol }) => protocol)).toEqual([
      ...Array.from({ length: 101 }, () => "TCP"),
      ...Array.from({ length: 27 }, () => "UDP"),
    ]);
    expect(Object.entries(found?.endpoints[0]?.ports ?? {})).toHaveLength(101);
    expect(found?.sourceRanges).toHaveLength(512);
    expect(found?.conditions.map(({ type, message }) => `${type}: ${message}`)).toEqual([
      expect.stringMatching(/^postern.dev\/AnnotationIgnored: .*the edge takes 512 ranges at most/),
      expect.stringMatching(/^postern.dev\/PortsCut: .*more than the 128 ports that the edge takes of one/),
    ]);
    // As many as it takes.
    const [full] = build([service("web", { ports: ports.slice(0, 128) })], { slicesFollow: true }).services;
    expect(full?.ports).toHaveLength(128);
    expect(full?.conditions.map(({ type }) => type)).not.toContain("postern.dev/PortsCut");
  });

  it("with every endpoint order", () => {
    for (const algorithm of endpointAlgorithms) {
      const [web] = build([
        service("web", {}, { annotations: { "postern.dev/endpoint-algorithm": algorithm } }),
      ]).services;
      expect(web?.conditions.some(({ type }) => type.includes("Algorithm"))).toBe(
        !options.endpointAlgorithms.includes(algorithm),
      );
    }
  });
});
