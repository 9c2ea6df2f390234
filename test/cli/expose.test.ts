// What `postern expose` writes, and what it refuses with words that help.
import { describe, expect, it } from "vitest";
import {
  addressesOf,
  objectsFor,
  parseExposed,
  patchFor,
  serviceFor,
  serviceSchema,
  workloadSchema,
} from "../../cli/expose.ts";
import { CLASS } from "../../src/shared/model/annotations.ts";

const options = { namespace: "shop", hostnames: [] };
const deployment = { kind: "workload", type: "deployment", name: "web" } as const;
const workload = (...ports: object[]) =>
  workloadSchema.parse({
    metadata: { name: "web", labels: { of: "deployment" } },
    spec: { selector: { matchLabels: { app: "web" } }, template: { spec: { containers: [{ ports }, {}] } } },
  });

describe("what is named", () => {
  it.each([
    ["deployment/web", deployment],
    ["deployments/web", deployment],
    ["deploy/web", deployment],
    ["sts/db", { kind: "workload", type: "statefulset", name: "db" }],
    ["ds/node-agent", { kind: "workload", type: "daemonset", name: "node-agent" }],
    ["pod/web-1.a", { kind: "workload", type: "pod", name: "web-1.a" }],
    ["svc/web", { kind: "service", name: "web" }],
    ["services/web", { kind: "service", name: "web" }],
    ["192.168.1.20:8123", { kind: "address", address: "192.168.1.20", port: 8123 }],
    ["http://192.168.1.20", { kind: "address", address: "192.168.1.20", port: 80 }],
    ["[fd00:0::1]:81", { kind: "address", address: "fd00::1", port: 81 }],
  ])("%s", (text, what) => expect(parseExposed(text)).toEqual(what));

  it.each([
    "web",
    "job/once",
    "deployment/",
    "deployment/Web",
    "nas.lan:80",
    "192.168.1.20:80/path",
    "https://192.168.1.20",
    "http://a b",
  ])("%s is refused", (text) => expect(() => parseExposed(text)).toThrow("must be deployment/NAME"));
});

describe("a workload's Service", () => {
  it("selects its pods, at its containers' ports of TCP", () => {
    const found = workload(
      { name: "http", containerPort: 8080 },
      { containerPort: 9090 },
      { containerPort: 53, protocol: "UDP" },
    );
    expect(serviceFor(found, deployment, { ...options, hostnames: ["a.test", "b.test"] })).toEqual({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace: "shop", annotations: { "postern.dev/hostname": "a.test,b.test" } },
      spec: {
        type: "LoadBalancer",
        loadBalancerClass: CLASS,
        selector: { app: "web" },
        ports: [
          { name: "http", port: 8080, targetPort: 8080, protocol: "TCP" },
          { name: "port-1", port: 9090, targetPort: 9090, protocol: "TCP" },
        ],
      },
    });
  });

  it.each([
    ["the only container port", { port: 80 }, [{ containerPort: 8080 }], 8080],
    ["the port itself, where no container names one", { port: 80 }, [], 80],
    ["the one of several that it is itself", { port: 9090 }, [{ containerPort: 8080 }, { containerPort: 9090 }], 9090],
    ["what it is told", { port: 80, targetPort: 3000 }, [{ containerPort: 8080 }, { containerPort: 9090 }], 3000],
  ])("a port leads to %s", (_what, given, ports, target) => {
    const { port } = given;
    expect(serviceFor(workload(...ports), deployment, { ...options, ...given })).toMatchObject({
      spec: { ports: [{ port, targetPort: target }] },
    });
  });

  it("selects a pod by its own labels, and may be called otherwise", () => {
    const pod = workloadSchema.parse({
      metadata: { name: "one", labels: { run: "one" } },
      spec: { containers: [{ ports: [{ containerPort: 80 }] }] },
    });
    const made = serviceFor(pod, { kind: "workload", type: "pod", name: "one" }, { ...options, name: "first" });
    expect(made).toMatchObject({ metadata: { name: "first" }, spec: { selector: { run: "one" } } });
  });

  it.each<[string, () => unknown, string, string]>([
    ["no port", () => serviceFor(workload(), deployment, options), "names a port", "--port 80"],
    [
      "several ports, and none is meant",
      () => serviceFor(workload({ containerPort: 1 }, { containerPort: 2 }), deployment, { ...options, port: 80 }),
      "several ports: 1, 2",
      "--target-port 1",
    ],
    [
      "no labels",
      () => serviceFor(workloadSchema.parse({ metadata: { name: "web" }, spec: {} }), deployment, options),
      "no labels",
      "kubectl label",
    ],
    [
      "an address without a name",
      () => objectsFor({ kind: "address", address: "10.0.0.1", port: 80 }, options),
      "what to call it",
      "--name NAME",
    ],
  ])("is refused: %s", (_what, make, why, next) => {
    expect(make).toThrow(
      expect.objectContaining({ message: expect.stringContaining(why), next: expect.stringContaining(next) }),
    );
  });
});

it("an address of the LAN gets a Service without selector, and the endpoint behind it", () => {
  const [service, slice] = objectsFor(
    { kind: "address", address: "fd00::1", port: 8123 },
    { ...options, name: "hass" },
  );
  expect(service).toMatchObject({
    spec: { ipFamilies: ["IPv6"], ports: [{ name: "http", port: 80, targetPort: 8123 }] },
  });
  expect(service).not.toHaveProperty("spec.selector");
  expect(slice).toMatchObject({
    metadata: { namespace: "shop", labels: { "kubernetes.io/service-name": "hass" } },
    addressType: "IPv6",
    ports: [{ name: "http", port: 8123 }],
    endpoints: [{ addresses: ["fd00::1"] }],
  });
});

describe("a Service that is there", () => {
  const service = (spec: object, annotations: object = {}) =>
    serviceSchema.parse({ metadata: { name: "web", namespace: "shop", annotations }, spec });
  it.each([
    ["becomes Postern's", service({}), [], { spec: { type: "LoadBalancer", loadBalancerClass: CLASS } }],
    ["is Postern's already", service({ type: "LoadBalancer", loadBalancerClass: CLASS }), [], undefined],
    [
      "gets another name",
      service({ type: "LoadBalancer", loadBalancerClass: CLASS }),
      ["a.test"],
      { metadata: { annotations: { "postern.dev/hostname": "a.test" } } },
    ],
    [
      "is headless",
      service({ clusterIP: "None" }),
      [],
      { metadata: { annotations: { "postern.dev/expose": "true" } } },
    ],
    ["is exposed already", service({ type: "ExternalName" }, { "postern.dev/expose": "true" }), [], undefined],
  ])("%s", (_what, found, hostnames, patch) => {
    expect(patchFor(found, { ...options, hostnames })).toEqual(patch);
  });

  it.each([
    [{ type: "LoadBalancer" }, "without a class"],
    [{ type: "LoadBalancer", loadBalancerClass: "example.com/lb" }, "of class example.com/lb"],
  ])("is another controller's, and Kubernetes changes no class: %j", (spec, why) => {
    expect(() => patchFor(service(spec), options)).toThrow(why);
  });

  it("is reached at its hostname, by each port of TCP", () => {
    const ports = [{ port: 80 }, { port: 443 }, { port: 8080 }, { port: 53, protocol: "UDP" }];
    const taken = serviceSchema.parse({
      metadata: { name: "web", namespace: "shop" },
      spec: { ports },
      status: { loadBalancer: { ingress: [{ hostname: "web.test" }, { ip: "192.0.2.1" }] } },
    });
    expect(addressesOf(taken)).toEqual(["http://web.test", "https://web.test", "http://web.test:8080"]);
    expect(addressesOf(service({ ports }))).toEqual([]);
  });
});
