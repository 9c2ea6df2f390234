// What the YAML asks this machine to run.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readWanted, wantedOf } from "../../src/local/manifests.ts";
import { seedManifests } from "../../src/local/run-folder.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const node = (name: string, addresses: unknown) => ({ kind: "Node", metadata: { name }, status: { addresses } });
const slice = (labels: object, port: number, endpoints: object[]) => ({
  kind: "EndpointSlice",
  metadata: { labels },
  ports: [{ port }],
  endpoints,
});
const demo = { "postern.dev/demo-pods": "true" };
const pod = (name: string, ip: string) => ({ addresses: [ip], nodeName: "n", targetRef: { name } });

test.each<[string, unknown[], unknown]>([
  ["nothing", [], { nodes: [], pods: [] }],
  [
    "a node by its InternalIP",
    [
      node("a", [
        { type: "Hostname", address: "a" },
        { type: "InternalIP", address: "127.0.1.1" },
      ]),
    ],
    { nodes: [{ name: "a", address: "127.0.1.1" }], pods: [] },
  ],
  ["a node without one cannot run here", [node("a", [{ type: "Hostname", address: "a" }])], { nodes: [], pods: [] }],
  [
    "a pod, once, with the ports of all its slices",
    [slice(demo, 8081, [pod("p", "127.1.0.1")]), slice(demo, 8082, [pod("p", "127.1.0.1")])],
    { nodes: [], pods: [{ name: "p", node: "n", address: "127.1.0.1", ports: [8081, 8082] }] },
  ],
  ["real endpoints are left alone", [slice({}, 80, [pod("p", "127.1.0.1")])], { nodes: [], pods: [] }],
  ["so are addresses of other machines", [slice(demo, 80, [pod("p", "10.0.0.7")])], { nodes: [], pods: [] }],
  [
    "the items of a List",
    [{ kind: "List", items: [node("a", [{ type: "InternalIP", address: "127.0.1.1" }])] }],
    { nodes: [{ name: "a", address: "127.0.1.1" }], pods: [] },
  ],
  ["other kinds and rubbish are nobody's", [{ kind: "ConfigMap" }, null, 7], { nodes: [], pods: [] }],
])("%s", (_, objects, wanted) => {
  expect(wantedOf(objects)).toEqual(wanted);
});

test("the demo's own files ask for two nodes and two pods", () => {
  seedManifests(join(folder, "m"), false);
  expect(readWanted(join(folder, "m"))).toEqual({
    nodes: [
      { name: "node-a", address: "127.0.1.1" },
      { name: "node-b", address: "127.0.1.2" },
    ],
    pods: [
      { name: "web-1", node: "node-a", address: "127.1.0.1", ports: [8081] },
      { name: "web-2", node: "node-b", address: "127.1.0.2", ports: [8082] },
    ],
  });
});

test("where 127.0.0.1 is the only address, no two demo pods share a port", () => {
  seedManifests(join(folder, "m"), true);
  const places = readWanted(join(folder, "m"))?.pods.map(({ address, ports }) => `${address}:${ports.join()}`);
  expect(places).toEqual(["127.0.0.1:8081", "127.0.0.1:8082"]);
});

test("what its user edited is never overwritten", () => {
  writeFileSync(join(folder, "mine.yaml"), "kind: Node\n");
  seedManifests(folder, false);
  expect(readWanted(folder)).toEqual({ nodes: [], pods: [] });
});

test("a half-written file, or no folder, asks for nothing: not even to stop", () => {
  writeFileSync(join(folder, "a.yaml"), "kind: [Node\n");
  expect(readWanted(folder)).toBeUndefined();
  expect(readWanted(join(folder, "missing"))).toBeUndefined();
});
