// A field that is null is as one that is not there, wherever it stands, since the API has no difference between them.
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { schemas } from "../../../agent/source/resources.ts";
import { endpoint, node, service, serviceCIDR, slice } from "./objects.ts";

type Json = Record<string, unknown>;
const objects: readonly Json[] = [
  service("web", { ports: [{ port: 80, name: "http", nodePort: 30_080, targetPort: "web" }] }, { labels: { a: "b" } }),
  slice("web", [endpoint("10.0.0.1", "n1", { ready: true, serving: true, terminating: false }, { zone: "z1" })]),
  node("n1"),
  serviceCIDR("kubernetes", ["10.96.0.0/16"]),
]
  .map((object) => JSON.parse(JSON.stringify(object)) as Json)
  .map(({ metadata, ...rest }) => ({
    ...rest,
    metadata: { uid: "1", creationTimestamp: "2026-01-31T12:00:00Z", ...(metadata as Json) },
  }));
const schemaOf = ({ apiVersion, kind }: Json) =>
  schemas[`${String(apiVersion)}/${String(kind)}` as keyof typeof schemas];

/** Every field of `value`, as its way from the root. */
function fields(value: unknown, way: readonly (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [];
  const parts = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return parts.flatMap(([name, part]) => [
    ...(Array.isArray(value) ? [] : [[...way, name]]),
    ...fields(part, [...way, name]),
  ]);
}

function changed(object: Json, way: readonly (string | number)[], change: (parent: Json, name: string) => void): Json {
  const copy = structuredClone(object);
  let parent: Json = copy;
  for (const name of way.slice(0, -1)) parent = parent[name] as Json;
  change(parent, String(way.at(-1)));
  return copy;
}

describe("null and absent", () => {
  it("give the same, for any field of any kind", () => {
    const cases = objects.flatMap((object) => fields(object).map((way) => ({ object, way })));
    expect(cases.length).toBeGreaterThan(40);
    for (const object of objects) expect(schemaOf(object).safeParse(object).error).toBeUndefined();
    fc.assert(
      fc.property(fc.constantFrom(...cases), ({ object, way }) => {
        const absent = schemaOf(object).safeParse(changed(object, way, (parent, name) => delete parent[name]));
        const written = schemaOf(object).safeParse(changed(object, way, (parent, name) => (parent[name] = null)));
        expect(written.success).toBe(absent.success);
        expect(written.data).toEqual(absent.data);
      }),
      { numRuns: 500 },
    );
  });

  it("leaves what it was given as it was", () => {
    const given = { ...objects[0], status: null };
    expect(schemas["v1/Service"].parse(given).status).toEqual({ loadBalancer: { ingress: [] }, conditions: [] });
    expect(given.status).toBeNull();
  });

  it("reads an object that is nested without end no deeper than its own fields", () => {
    let deep: Json = {};
    for (let level = 0; level < 100_000; level++) deep = { deep };
    expect(schemas["v1/Service"].safeParse({ ...objects[0], other: deep }).success).toBe(true);
  });
});

describe("lists that an API server does not limit", () => {
  const many = <T>(make: (index: number) => T): T[] => Array.from({ length: 2000 }, (_, index) => make(index));
  const conditions = many((index) => ({ type: `c${index}`, status: "True" }));
  const ingress = many((index) => ({
    ip: `192.0.2.${index % 256}`,
    ports: many((port) => ({ port, protocol: "TCP" })),
  }));
  const addresses = many((index) => ({ type: "InternalIP", address: `10.0.${index >> 8}.${index & 255}` }));
  it.each<[string, Readonly<Json>]>([
    ["ports", service("web", { ports: many((index) => ({ name: `p${index}`, port: index + 1 })) })],
    ["source ranges", service("web", { loadBalancerSourceRanges: many(() => "10.0.0.0/8") })],
    ["external addresses", service("web", { externalIPs: many(() => "192.0.2.1") })],
    ["finalizers", service("web", {}, { finalizers: many((index) => `a.test/${index}`) })],
    ["field managers", service("web", {}, { managedFields: many((index) => ({ manager: `m${index}` })) })],
    ["conditions", { ...service("web"), status: { conditions } }],
    ["load balancer addresses", { ...service("web"), status: { loadBalancer: { ingress: ingress.slice(0, 1100) } } }],
    ["slice ports", slice("web", [], { ports: many((index) => ({ name: `p${index}`, port: 80 })) })],
    ["node addresses", node("n1", {}, { status: { addresses } })],
    ["taints", node("n1", {}, { spec: { taints: many((index) => ({ key: `k${index}`, effect: "NoSchedule" })) } })],
    ["a long class", service("web", { loadBalancerClass: `${"a".repeat(253)}/${"b".repeat(63)}` })],
  ])("%s are read, however many", (_what, { metadata, ...rest }) => {
    const given = { ...rest, metadata: { uid: "1", creationTimestamp: "2026-01-31T12:00:00Z", ...(metadata as Json) } };
    expect(schemaOf(given).safeParse(given).error).toBeUndefined();
  });
});
