// YAML as people write it, odd but seen: each file is served as an API server and kube-proxy would have it, or its owner is
// told by a problem that names line and remedy, or by a condition. Never silence.
import { describe, expect, it } from "vitest";
import { buildPlan } from "../plan/build-plan.ts";
import { buildSnapshot } from "../../../agent/plan/snapshot.ts";
import { merge } from "../../../agent/source/files/merge.ts";
import { parseFile } from "../../../agent/source/files/parse.ts";

const options = {
  defaultClass: false,
  allowExternalName: [],
  ignoreExcludeLabel: false,
  endpointAlgorithms: ["random"],
  resolved: new Map(),
  clusterDomain: "cluster.local",
  forwards: "nodePorts",
} as const;

/** What comes of a file: "TCP 80 → 10.0.0.1:8080", or nothing behind the arrow; then what is said. */
function seen(text: string): readonly string[] {
  const { objects, problems } = parseFile("f", text);
  const { observed } = merge(new Map([["f", objects]]));
  const { services } = buildPlan(observed, "n1", options);
  const conditions = buildSnapshot(observed, options).services.flatMap((each) => each.conditions);
  return [
    ...services.flatMap(({ ports }) =>
      ports.map(({ protocol, port, external }) =>
        `${protocol} ${port} → ${external.map((each) => `${each.address}:${each.port}`).join()}`.trim(),
      ),
    ),
    ...problems.map(({ where, message }) => `${where} ${message}`),
    ...conditions.map(({ type, reason }) => `${type} ${reason}`),
  ];
}

const service = (ports: string, spec = "", metadata = "name: web") => `apiVersion: v1
kind: Service
metadata: { ${metadata} }
spec: { type: LoadBalancer, loadBalancerClass: postern.dev/edge, ports: ${ports}${spec} }
`;
const slice = (ports: string, endpoints = "[ { addresses: [10.0.0.1] } ]", type = "IPv4") => `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, labels: { kubernetes.io/service-name: web } }
addressType: ${type}
ports: ${ports}
endpoints: ${endpoints}
`;
const http = "[ { name: http, port: 80 } ]";
const pods = slice("[ { name: http, port: 8080 } ]");
const served = ["TCP 80 → 10.0.0.1:8080"];
const notFound = ["TCP 80 →", "postern.dev/TargetPortNotFound NoEndpointHasPort"];

describe("names of ports", () => {
  const namings = ["{ port: 80 }", "{ name: null, port: 80 }", '{ name: "", port: 80 }'];
  it.each(namings.flatMap((a) => namings.map((b) => [a, b.replace("80", "8080")] as const)))(
    "Service %s, slice %s: the same port",
    (a, b) => expect(seen(service(`[ ${a} ]`) + slice(`[ ${b} ]`))).toEqual(served),
  );
  it.each(namings)("%s is not the port of a name, on either side", (unnamed) => {
    expect(seen(service(`[ ${unnamed} ]`) + pods)).toEqual(notFound);
    expect(seen(service(http) + slice(`[ ${unnamed} ]`))).toEqual(notFound);
  });

  it.each([
    ["[ { port: 80 }, { port: 81 } ]", ["spec.ports[0].name: is needed", "spec.ports[1].name: is needed"]],
    ["[ { name: a, port: 80 }, { name: a, port: 81 } ]", ["spec.ports[1].name: a is listed twice"]],
    ["[ { name: a, port: 80 }, { name: b, port: 80 } ]", ["spec.ports[1].port: TCP port 80 is listed twice"]],
  ])("a Service with ports %s is refused, as by an API server", (ports, expected) => {
    const found = seen(service(ports));
    expect(found).toHaveLength(expected.length);
    for (const [index, words] of expected.entries()) expect(found[index]).toContain(`f:4 Service web: ${words}`);
  });
  it("a slice with two ports of one name is refused, as by an API server", () => {
    expect(seen(slice("[ { port: 80 }, { port: 81 } ]"))).toEqual([
      "f:6 EndpointSlice web-1: ports[1].name: is needed: ports beside others have names",
    ]);
  });
  it("one number for TCP and UDP is daily life", () => {
    expect(
      seen(
        service("[ { name: t, port: 80 }, { name: u, port: 80, protocol: UDP } ]") +
          slice("[ { name: t, port: 8080 }, { name: u, port: 8080, protocol: UDP } ]"),
      ),
    ).toEqual([...served, "UDP 80 → 10.0.0.1:8080"]);
  });
});

describe("served", () => {
  it.each([
    [
      "conditions that say nothing",
      service(http) + slice("[ { name: http, port: 8080 } ]", "[ { addresses: [10.0.0.1], conditions: {} } ]"),
    ],
    [
      "the same address twice",
      service(http) +
        slice(
          "[ { name: http, port: 8080 } ]",
          "[ { addresses: [10.0.0.1] }, { addresses: [10.0.0.1], conditions: { ready: null } } ]",
        ),
    ],
    ["a targetPort that looks like a number", service('[ { name: http, port: 80, targetPort: "8080" } ]') + pods],
    ["CRLF, after a byte order mark", `\ufeff${(service(http) + pods).replaceAll("\n", "\r\n")}`],
    [
      "annotations of others",
      service(http, "", "name: web, annotations: { metallb.universe.tf/address-pool: a }") + pods,
    ],
    [
      "fields that mean nothing here",
      service(http, ", loadBalancerIP: 192.0.2.7, externalIPs: [192.0.2.8], trafficDistribution: PreferClose") + pods,
    ],
    ["empty documents and other kinds beside it", `---\n# nothing\n---\n${service(http)}${pods}---\nkind: CronJob\n`],
  ])("%s", (_what, text) => expect(seen(text)).toEqual(served));
});

describe("told", () => {
  it.each([
    [
      "DNS names as endpoints",
      service(http) + slice("[ { name: http, port: 8080 } ]", "[ { addresses: [pod.lan] } ]", "FQDN"),
      ["TCP 80 →", "postern.dev/NoMatchingPods OnlyNames"],
    ],
    [
      "a slice in another namespace",
      service(http, "", "name: web, namespace: shop") + pods,
      ["TCP 80 →", "postern.dev/NoMatchingPods NoSelector"],
    ],
    [
      "Endpoints in a slice's place",
      `${service(http)}---\napiVersion: v1\nkind: Endpoints\nmetadata: { name: web }\n`,
      ["TCP 80 →", "postern.dev/NoMatchingPods NoSelector"],
    ],
    [
      "not ready, though published",
      service(http, ", publishNotReadyAddresses: true") +
        slice("[ { name: http, port: 8080 } ]", "[ { addresses: [10.0.0.1], conditions: { ready: false } } ]"),
      ["TCP 80 →", "postern.dev/NoReadyPods NoneReady"],
    ],
    [
      "source ranges of which none can be read",
      service(http, ', loadBalancerSourceRanges: [""]') + pods,
      [...served, "postern.dev/AnnotationIgnored BadValue"],
    ],
    ["a kind in small letters", "apiVersion: v1\nkind: service\n", ["f:2 kind: service is no kind: write Service"]],
    ["a kind in the plural", "kind: Nodes\n", ["f:1 kind: Nodes is no kind: write Node"]],
    [
      "a kind in small letters, of another group: nothing to do with us",
      "apiVersion: serving.knative.dev/v1\nkind: service\n",
      [],
    ],
    [
      "yes for true",
      slice("[ { name: http, port: 8080 } ]", "[ { addresses: [10.0.0.1], conditions: { ready: yes } } ]"),
      ["f:7 EndpointSlice web-1: endpoints[0].conditions.ready: must be true or false, as these words, without quotes"],
    ],
    [
      "no name of its own",
      service(http, "", "generateName: web-"),
      ["f:3 Service: metadata.name: is missing: write a name (generateName is for an API server)"],
    ],
  ])("%s", (_what, text, expected) => expect(seen(text)).toEqual(expected));
});
