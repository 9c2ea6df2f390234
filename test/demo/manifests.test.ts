// What the YAML asks this machine to run.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Manifests, wantedOf } from "../../src/demo/manifests.ts";
import { seedManifests } from "../../src/demo/run-folder.ts";

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
  expect(new Manifests(join(folder, "m")).look()?.wanted).toEqual({
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
  const places = new Manifests(join(folder, "m"))
    .look()
    ?.wanted.pods.map(({ address, ports }) => `${address}:${ports.join()}`);
  expect(places).toEqual(["127.0.0.1:8081", "127.0.0.1:8082"]);
});

test("what its user edited is never overwritten", () => {
  writeFileSync(join(folder, "mine.yaml"), "kind: Node\n");
  seedManifests(folder, false);
  expect(new Manifests(folder).look()).toEqual({ wanted: { nodes: [], pods: [] }, problems: [] });
});

const yaml = (name: string, ip: string) => JSON.stringify(node(name, [{ type: "InternalIP", address: ip }]));
const nodesOf = (look: ReturnType<Manifests["look"]>) => look?.wanted.nodes.map(({ name }) => name);
const write = (name: string, text: string) => writeFileSync(join(folder, name), text);

test("no folder asks for nothing: not even to stop", () => {
  expect(new Manifests(join(folder, "missing")).look()).toBeUndefined();
});

test("a broken file is named with its line, once, and the others go on", () => {
  write("a.yaml", `${yaml("a", "127.0.1.1")}\n`);
  write("b.yaml", "a: {{ x }}\n- b");
  write("c.yaml", `kind: [Node\n---\n${yaml("c", "127.0.1.3")}\n`);
  const files = new Manifests(folder);
  const first = files.look();
  expect(nodesOf(first)).toEqual(["a", "c"]);
  expect(first?.problems).toContainEqual(expect.stringMatching(/^b\.yaml:[12]: not YAML: /));
  expect(first?.problems).toContainEqual(expect.stringMatching(/^c\.yaml:[12]: not YAML: /));
  expect(files.look()).toEqual({ wanted: first?.wanted, problems: [] });
});

test("a file that breaks keeps its last good content, and is named again when it changes", () => {
  write("a.yaml", `${yaml("a", "127.0.1.1")}\n`);
  write("b.yaml", `${yaml("b", "127.0.1.2")}\n`);
  const files = new Manifests(folder);
  expect(nodesOf(files.look())).toEqual(["a", "b"]);
  for (const broken of ["kind: [Node\n", "\n\nkind: {Node\n", ""]) {
    write("b.yaml", broken);
    // Perhaps half-written: read when it is the same at two looks.
    expect(files.look()?.problems).toEqual([]);
    const look = files.look();
    expect([nodesOf(look), look?.problems.length]).toEqual([["a", "b"], expect.any(Number)]);
    expect(look?.problems[0]).toMatch(/^b\.yaml.*\(the last good content of this file stays in use\)$/);
  }
  write("b.yaml", `${yaml("bb", "127.0.1.2")}\n`);
  files.look();
  expect(files.look()).toMatchObject({ wanted: { nodes: [{ name: "a" }, { name: "bb" }] }, problems: [] });
});

test("a file counts as gone when it stays away, for editors replace them", () => {
  write("a.yaml", `${yaml("a", "127.0.1.1")}\n`);
  const files = new Manifests(folder);
  files.look();
  rmSync(join(folder, "a.yaml"));
  expect(nodesOf(files.look())).toEqual(["a"]);
  write("a.yaml", `${yaml("a2", "127.0.1.1")}\n`);
  expect(nodesOf(files.look())).toEqual(["a"]);
  expect(nodesOf(files.look())).toEqual(["a2"]);
  rmSync(join(folder, "a.yaml"));
  files.look();
  expect(nodesOf(files.look())).toEqual([]);
});

test("hidden files and folders are none, links to files are followed, and what cannot be read is told", () => {
  mkdirSync(join(folder, ".git"));
  mkdirSync(join(folder, "more"));
  write(".git/x.yaml", "a: {{ x }}\n- b");
  write(".a.yaml.swp.yaml", "a: {{ x }}\n- b");
  write("more/a.YML", `${yaml("a", "127.0.1.1")}\n`);
  symlinkSync(join(folder, "more/a.YML"), join(folder, "link.json"));
  symlinkSync(join(folder, "nowhere"), join(folder, "dangling.yaml"));
  write(
    "bomb.yaml",
    `a: &a [1,1]\n${"bcdefgh"
      .split("")
      .map((key, i) => `${key}: &${key} [${`*${"abcdefg"[i]},`.repeat(9)}1]\n`)
      .join("")}`,
  );
  const look = new Manifests(folder).look();
  expect(nodesOf(look)).toEqual(["a", "a"]);
  expect(look?.problems).toEqual([expect.stringMatching(/^bomb\.yaml: cannot be read: /)]);
});
