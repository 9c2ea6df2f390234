// EndpointSlices → endpoints → those that one node uses: kube-proxy's rules as tables.
// IP plan: 10.0.<node>.<pod>; nodes n1 and n2 in zone a, n3 in zone b.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  mergeSlices,
  type ServiceEndpoint,
  slicesByService,
  tunnelEndpoints,
  usable,
} from "../../../agent/plan/endpoints.ts";
import { endpoint, service, slice, type Written } from "../source/objects.ts";
import { observe } from "./observe.ts";

const parts = (spec: object, ...slices: readonly Written[]) => {
  const observed = observe(service("web", spec), ...slices);
  const [web] = observed.services;
  if (web === undefined) throw new Error("no Service");
  return { web, slices: slicesByService(observed.endpointSlices).get("default/web") ?? [] };
};
const merged = (spec: object, ...slices: readonly Written[]) => {
  const { web, slices: own } = parts(spec, ...slices);
  return mergeSlices(web, own, [{ port: 80, target: 80 }]);
};
/** "10.0.1.1 TCP:80=8080" */
const shown = (endpoints: readonly ServiceEndpoint[]) =>
  endpoints.map(({ address, ports }) => [address, ...[...ports].map(([key, port]) => `${key}=${port}`)].join(" "));
const uid = (id: string) => ({ targetRef: { kind: "Pod", uid: id } });

describe("merging slices", () => {
  const two = {
    ports: [
      { name: "http", port: 80 },
      { name: "dns", port: 53, protocol: "UDP" },
    ],
  };
  it.each<[string, object, Written[], string[]]>([
    [
      "all slices of the Service, none of others",
      {},
      [
        slice("web", [endpoint("10.0.1.1")]),
        slice("web", [endpoint("10.0.1.2")], {}, "web-2"),
        slice("shop", [endpoint("10.0.9.9")]),
      ],
      ["10.0.1.1 TCP:80=8080", "10.0.1.2 TCP:80=8080"],
    ],
    [
      "an address that is on its way out in one slice and not in another is not",
      {},
      [
        slice("web", [endpoint("10.0.1.1", "n1", { ready: false, serving: true, terminating: true })]),
        slice("web", [endpoint("10.0.1.1", "n1", { ready: true })], {}, "web-2"),
      ],
      ["10.0.1.1 TCP:80=8080"],
    ],
    [
      "each slice maps a port's name to a number of its own",
      { ports: [{ name: "http", port: 80 }] },
      [
        slice("web", [endpoint("10.0.1.1")], { ports: [{ name: "http", port: 8080 }] }),
        slice("web", [endpoint("10.0.1.2")], { ports: [{ name: "http", port: 9090 }] }, "web-2"),
      ],
      ["10.0.1.1 TCP:80=8080", "10.0.1.2 TCP:80=9090"],
    ],
    [
      "a port that was renamed is served before the slice follows: its target is a number",
      { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
      [slice("web", [endpoint("10.0.1.1")], { ports: [{ name: "", port: 8080 }] })],
      ["10.0.1.1 TCP:80=8080"],
    ],
    [
      "a slice written by hand is not guessed from",
      { ports: [{ name: "http", port: 80, targetPort: 8080 }] },
      [slice("web", [endpoint("10.0.1.1")], { ports: [{ name: "", port: 8080 }] })],
      ["10.0.1.1"],
    ],
    [
      "a target by name is not guessed",
      { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "http" }] },
      [slice("web", [endpoint("10.0.1.1")], { ports: [{ name: "", port: 8080 }] })],
      ["10.0.1.1"],
    ],
    [
      "ports match by name and protocol",
      two,
      [
        slice("web", [endpoint("10.0.1.1")], {
          ports: [
            { name: "http", port: 80, protocol: "UDP" },
            { name: "dns", port: 5353, protocol: "UDP" },
          ],
        }),
      ],
      ["10.0.1.1 UDP:53=5353"],
    ],
    [
      'no name, null and "" are the same, as the API server fills them in',
      { ports: [{ name: null, port: 80 }] },
      [
        slice("web", [endpoint("10.0.1.1")], { ports: [{ port: 8080 }] }),
        slice("web", [endpoint("10.0.1.2")], { ports: [{ name: null, port: 8081 }] }, "web-2"),
        slice("web", [endpoint("10.0.1.3")], { ports: [{ name: "", port: 8082 }] }, "web-3"),
      ],
      ["10.0.1.1 TCP:80=8080", "10.0.1.2 TCP:80=8081", "10.0.1.3 TCP:80=8082"],
    ],
    [
      "a port of a name is none without",
      {},
      [slice("web", [endpoint("10.0.1.1")], { ports: [{ name: "http", port: 8080 }] })],
      ["10.0.1.1"],
    ],
    [
      "and one without a name none of a name",
      { ports: [{ name: "http", port: 80 }] },
      [slice("web", [endpoint("10.0.1.1")], { ports: [{ port: 8080 }] })],
      ["10.0.1.1"],
    ],
    [
      "what is no port is skipped, and takes none of the others with it",
      two,
      [
        slice("web", [endpoint("10.0.1.1")], {
          ports: [
            { name: "http", port: 0 },
            { name: "dns", port: 5353, protocol: "UDP" },
          ],
        }),
        slice("web", [endpoint("10.0.1.2")], { ports: [{ name: "http", port: 65_536 }] }, "web-2"),
        slice("web", [endpoint("10.0.1.3")], { ports: [{ name: "http", port: -1 }] }, "web-3"),
      ],
      ["10.0.1.1 UDP:53=5353", "10.0.1.2", "10.0.1.3"],
    ],
    [
      "a port without a number is skipped",
      {},
      [slice("web", [endpoint("10.0.1.1")], { ports: [{ name: "" }] })],
      ["10.0.1.1"],
    ],
    [
      "only the first address counts",
      {},
      [slice("web", [{ addresses: ["10.0.1.1", "10.0.1.2"] }])],
      ["10.0.1.1 TCP:80=8080"],
    ],
    [
      "an address twice counts once",
      {},
      [slice("web", [endpoint("10.0.1.1"), endpoint("10.0.1.1")]), slice("web", [endpoint("10.0.1.1")], {}, "web-2")],
      ["10.0.1.1 TCP:80=8080"],
    ],
    [
      "ports of one pod in two slices",
      {
        ports: [
          { name: "a", port: 80 },
          { name: "b", port: 81 },
        ],
      },
      [
        slice("web", [endpoint("10.0.1.1", "n1", {}, uid("p"))], { ports: [{ name: "a", port: 1 }] }),
        slice("web", [endpoint("10.0.1.1", "n1", {}, uid("p"))], { ports: [{ name: "b", port: 2 }] }, "web-2"),
      ],
      ["10.0.1.1 TCP:80=1 TCP:81=2"],
    ],
    ["FQDN slices are none of ours", {}, [slice("web", [endpoint("pod.example.com")], { addressType: "FQDN" })], []],
    ["what is no address is skipped", {}, [slice("web", [endpoint("10.0.1")])], []],
    [
      "a slice that is being deleted is gone",
      {},
      [
        {
          ...slice("web", [endpoint("10.0.1.1")]),
          metadata: {
            name: "web-1",
            deletionTimestamp: "2026-01-01T00:00:00Z",
            labels: { "kubernetes.io/service-name": "web" },
          },
        },
      ],
      [],
    ],
    [
      "a headless Service's port is the slice's",
      { type: "ClusterIP", clusterIP: "None" },
      [slice("web", [endpoint("10.0.1.1")])],
      ["10.0.1.1 TCP:80=8080"],
    ],
    [
      "a headless Service without ports gets those that it offers",
      { type: "ClusterIP", clusterIP: "None", ports: [] },
      [slice("web", [endpoint("10.0.1.1")], { ports: [] })],
      ["10.0.1.1 TCP:80=80"],
    ],
  ])("%s", (_what, spec, slices, expected) => {
    expect(shown(merged(spec, ...slices))).toEqual(expected);
  });

  it.each<[object, object]>([
    [{}, { ready: true, serving: true, terminating: false }],
    [
      { ready: null, serving: null, terminating: null },
      { ready: true, serving: true, terminating: false },
    ],
    [{ ready: false }, { ready: false, serving: true, terminating: false }],
  ])("conditions %j read as %j", (conditions, expected) => {
    expect(merged({}, slice("web", [endpoint("10.0.1.1", "n1", conditions)]))[0]).toMatchObject(expected);
  });

  it("identifies a pod by its UID, an address by itself", () => {
    const endpoints = merged({}, slice("web", [endpoint("10.0.1.1", "n1", {}, uid("p")), endpoint("10.0.1.2")]));
    expect(endpoints.map(({ key }) => key)).toEqual(["10.0.1.2", "p"]);
  });

  it("does not depend on the order of slices or endpoints", () => {
    const a = slice("web", [endpoint("10.0.1.1"), endpoint("10.0.1.2", "n1", { ready: false })]);
    const b = slice("web", [endpoint("10.0.2.1"), endpoint("10.0.1.2")], {}, "web-2");
    const reversed = (each: Written) => ({ ...each, endpoints: (each["endpoints"] as object[]).toReversed() });
    expect(merged({}, reversed(b), reversed(a))).toEqual(merged({}, a, b));
  });
});

describe("families", () => {
  const v4 = slice("web", [endpoint("10.0.1.1", "n1", {}, uid("p"))], {}, "web-4");
  const v6 = slice("web", [endpoint("fd00::1", "n1", {}, uid("p"))], { addressType: "IPv6" }, "web-6");
  it.each<[string, object, Written[], string[]]>([
    ["a pod counts once", { ipFamilies: ["IPv4", "IPv6"] }, [v4, v6], ["10.0.1.1"]],
    ["the Service's first family", { ipFamilies: ["IPv6", "IPv4"] }, [v4, v6], ["fd00::1"]],
    ["as the ClusterIP shows where the families are not written", { clusterIP: "fd00:1::1" }, [v4, v6], ["fd00::1"]],
    ["the other only as a fallback", { ipFamilies: ["IPv4"] }, [v6], ["fd00::1"]],
  ])("%s", (_what, spec, slices, expected) => {
    const { web, slices: own } = parts(spec, ...slices);
    expect(tunnelEndpoints(web, own, []).map(({ address }) => address)).toEqual(expected);
  });
});

describe("what a node uses", () => {
  const ready = {};
  const notReady = { ready: false, serving: false };
  const leaving = { ready: false, serving: true, terminating: true };
  const gone = { ready: false, serving: false, terminating: true };
  const readyLeaving = { ready: true, serving: true, terminating: true };
  const zones = (...names: string[]) => ({ hints: { forZones: names.map((name) => ({ name })) } });
  const nodes = (...names: string[]) => ({ hints: { forNodes: names.map((name) => ({ name })) } });
  const n1 = { name: "n1", zone: "a" };
  const n3 = { name: "n3", zone: "b" };

  it.each<[string, object[], "Cluster" | "Local", { name: string; zone: string | undefined }, string[]]>([
    [
      "ready ones",
      [endpoint("10.0.1.1", "n1", ready), endpoint("10.0.2.1", "n2", notReady)],
      "Cluster",
      n1,
      ["10.0.1.1"],
    ],
    [
      "ready wins even when terminating",
      [endpoint("10.0.1.1", "n1", readyLeaving), endpoint("10.0.2.1", "n2", leaving)],
      "Cluster",
      n1,
      ["10.0.1.1"],
    ],
    [
      "none ready: those still serving on their way out",
      [endpoint("10.0.1.1", "n1", leaving), endpoint("10.0.2.1", "n2", gone), endpoint("10.0.2.2", "n2", notReady)],
      "Cluster",
      n1,
      ["10.0.1.1"],
    ],
    [
      "serving but neither ready nor terminating is nothing",
      [endpoint("10.0.1.1", "n1", { ready: false, serving: true })],
      "Cluster",
      n1,
      [],
    ],
    ["Local: this node's", [endpoint("10.0.1.1", "n1"), endpoint("10.0.2.1", "n2")], "Local", n1, ["10.0.1.1"]],
    [
      "Local: this node's on their way out, though others are ready",
      [endpoint("10.0.1.1", "n1", leaving), endpoint("10.0.2.1", "n2")],
      "Local",
      n1,
      ["10.0.1.1"],
    ],
    ["Local: nothing here", [endpoint("10.0.2.1", "n2")], "Local", n1, []],
    [
      "zone hints",
      [endpoint("10.0.1.1", "n1", {}, zones("a")), endpoint("10.0.3.1", "n3", {}, zones("b"))],
      "Cluster",
      n1,
      ["10.0.1.1"],
    ],
    [
      "zone hints of another zone",
      [endpoint("10.0.1.1", "n1", {}, zones("a")), endpoint("10.0.3.1", "n3", {}, zones("b"))],
      "Cluster",
      n3,
      ["10.0.3.1"],
    ],
    [
      "one ready endpoint without a hint: all",
      [endpoint("10.0.1.1", "n1", {}, zones("a")), endpoint("10.0.3.1", "n3")],
      "Cluster",
      n1,
      ["10.0.1.1", "10.0.3.1"],
    ],
    [
      "one that is not ready needs no hint",
      [endpoint("10.0.1.1", "n1", {}, zones("a")), endpoint("10.0.3.1", "n3", notReady)],
      "Cluster",
      n1,
      ["10.0.1.1"],
    ],
    [
      "no hint matches: all",
      [endpoint("10.0.1.1", "n1", {}, zones("c")), endpoint("10.0.3.1", "n3", {}, zones("c"))],
      "Cluster",
      n1,
      ["10.0.1.1", "10.0.3.1"],
    ],
    [
      "a node without a zone: all",
      [endpoint("10.0.1.1", "n1", {}, zones("a")), endpoint("10.0.3.1", "n3", {}, zones("b"))],
      "Cluster",
      { name: "n1", zone: undefined },
      ["10.0.1.1", "10.0.3.1"],
    ],
    [
      "node hints before zone hints",
      [
        endpoint("10.0.1.1", "n1", {}, { hints: { ...nodes("n2").hints, ...zones("a").hints } }),
        endpoint("10.0.3.1", "n3", {}, { hints: { ...nodes("n1").hints, ...zones("b").hints } }),
      ],
      "Cluster",
      n1,
      ["10.0.3.1"],
    ],
    [
      "node hints without a match: zone hints",
      [
        endpoint("10.0.1.1", "n1", {}, { hints: { ...nodes("n2").hints, ...zones("a").hints } }),
        endpoint("10.0.3.1", "n3", {}, { hints: { ...nodes("n2").hints, ...zones("b").hints } }),
      ],
      "Cluster",
      n1,
      ["10.0.1.1"],
    ],
    [
      "Local: hints never apply",
      [endpoint("10.0.1.1", "n1", {}, zones("b")), endpoint("10.0.1.2", "n1", {}, zones("a"))],
      "Local",
      n1,
      ["10.0.1.1", "10.0.1.2"],
    ],
    [
      "the fallback knows no hints",
      [endpoint("10.0.1.1", "n1", leaving, zones("b")), endpoint("10.0.3.1", "n3", leaving, zones("a"))],
      "Cluster",
      n1,
      ["10.0.1.1", "10.0.3.1"],
    ],
  ])("%s", (_what, endpoints, policy, at, expected) => {
    expect(usable(merged({}, slice("web", endpoints)), "TCP:80", policy, at).map(({ address }) => address)).toEqual(
      expected,
    );
  });

  it("only those that have the port", () => {
    const { web, slices } = parts(
      {},
      slice("web", [endpoint("10.0.1.1")]),
      slice("web", [endpoint("10.0.1.2")], { ports: [] }, "web-2"),
    );
    expect(usable(mergeSlices(web, slices, []), "TCP:80", "Cluster", n1).map(({ address }) => address)).toEqual([
      "10.0.1.1",
    ]);
  });

  it("refuses only where nothing could serve, and never mixes ready with leaving ones", () => {
    const flag = fc.option(fc.boolean(), { nil: undefined });
    const conditions = fc.record({ ready: flag, serving: flag, terminating: flag }, { requiredKeys: [] });
    const names = fc.subarray(["a", "b"]);
    const one = fc.record({
      conditions,
      node: fc.constantFrom("n1", "n2", "n3"),
      forZones: names,
      forNodes: fc.subarray(["n1", "n2"]),
    });
    fc.assert(
      fc.property(
        fc.array(one, { maxLength: 6 }),
        fc.constantFrom<"Cluster" | "Local">("Cluster", "Local"),
        (all, policy) => {
          const written = all.map(({ conditions: c, node, forZones, forNodes }, index) =>
            endpoint(`10.0.0.${index + 1}`, node, c, {
              hints: { forZones: forZones.map((name) => ({ name })), forNodes: forNodes.map((name) => ({ name })) },
            }),
          );
          const endpoints = merged({}, slice("web", written));
          const used = usable(endpoints, "TCP:80", policy, n1);
          const here = endpoints.filter(({ node }) => policy === "Cluster" || node === "n1");
          const canServe = here.filter((each) => each.ready || (each.serving && each.terminating));
          expect(used.length > 0).toBe(canServe.length > 0);
          expect(new Set(used.map((each) => each.ready)).size).toBeLessThanOrEqual(1);
          expect(used.every((each) => here.includes(each))).toBe(true);
          if (here.some((each) => each.ready)) expect(used.every((each) => each.ready)).toBe(true);
        },
      ),
    );
  });
});
