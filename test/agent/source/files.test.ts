// The files source on a real folder: the Source contract, and what is special about files and editors. The pauses are real, because
// the operating system says when a file has changed, and it knows no clock that a test can set.
import { mkdir, mkdtemp, rename, rm, symlink, truncate, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { filesSource } from "../../../agent/source/files/index.ts";
import { sourceConformance, Watcher } from "./conformance.ts";
import { endpoint, node, service, serviceCIDR, slice, type Written } from "./objects.ts";

const fileOf = ({ kind, metadata }: Written) => `${metadata.namespace ?? "default"}-${kind}-${metadata.name}.yaml`;
const newFolder = () => mkdtemp(join(tmpdir(), "postern-files-"));

sourceConformance("files", async () => {
  const folder = await newFolder();
  const write = (object: Written) => writeFile(join(folder, fileOf(object)), stringify(object));
  return {
    source: filesSource(folder),
    put: write,
    mend: write,
    delete: (object) => unlink(join(folder, fileOf(object))),
    breakInput: (object) => writeFile(join(folder, fileOf(object)), "kind: Service\nspec: [}"),
    dispose: () => rm(folder, { recursive: true }),
  };
});

describe("files", () => {
  let folder: string;
  let watcher: Watcher;
  const write = (name: string, ...objects: readonly Written[]) =>
    writeFile(join(folder, name), objects.map((object) => stringify(object)).join("---\n"));
  const watch = async (count: number) => {
    watcher = new Watcher(filesSource(folder));
    await watcher.until(({ services }) => services.length === count);
  };
  const ports = () => watcher.last.services.map(({ spec }) => spec.ports[0]?.port);
  beforeEach(async () => {
    folder = await newFolder();
  });
  afterEach(async () => {
    watcher[Symbol.dispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it("reads several documents, lists, JSON and subfolders, and leaves other kinds alone", async () => {
    await write("a.yaml", service("a"), { ...service("x"), kind: "Deployment", apiVersion: "apps/v1" }, node("n1"));
    await writeFile(join(folder, "b.json"), JSON.stringify({ apiVersion: "v1", kind: "List", items: [service("b")] }));
    await mkdir(join(folder, "deep/er"), { recursive: true });
    const { kind: _kind, apiVersion: _apiVersion, ...bare } = service("c");
    await writeFile(join(folder, "deep/er/c.yml"), stringify({ apiVersion: "v1", kind: "ServiceList", items: [bare] }));
    await writeFile(join(folder, "notes.txt"), "not: [yaml");
    await writeFile(join(folder, ".a.yaml.swp"), "not: [yaml");
    await write("d.yaml", slice("a", [endpoint("10.0.0.1")]), serviceCIDR("kubernetes", ["10.96.0.0/16"]));
    await watch(3);
    expect(watcher.last.services.map(({ metadata }) => metadata.name)).toEqual(["a", "b", "c"]);
    expect(watcher.last.endpointSlices).toHaveLength(1);
    expect(watcher.last.nodes).toHaveLength(1);
    expect(watcher.last.serviceCIDRs.map(({ spec }) => spec.cidrs)).toEqual([["10.96.0.0/16"]]);
    expect(watcher.problems).toEqual([]);
  });

  it("notices files in a folder made later", async () => {
    await watch(0);
    await mkdir(join(folder, "later"));
    await write("later/a.yaml", service("a"));
    await watcher.until(({ services }) => services.length === 1);
    await write("later/a.yaml", service("a", { ports: [{ port: 81 }] }));
    await watcher.until(() => ports()[0] === 81);
    await rm(join(folder, "later"), { recursive: true });
    await watcher.until(({ services }) => services.length === 0);
  });

  it("follows links to files, as a mounted ConfigMap is made of them", async () => {
    await mkdir(join(folder, "..v1"));
    await mkdir(join(folder, "..v2"));
    await write("..v1/a.yaml", service("a"));
    await write("..v2/a.yaml", service("a", { ports: [{ port: 81 }] }));
    await symlink("..v1", join(folder, "..data"));
    await symlink("..data/a.yaml", join(folder, "a.yaml"));
    await watch(1);
    await symlink("..v2", join(folder, "..tmp"));
    await rename(join(folder, "..tmp"), join(folder, "..data"));
    await watcher.until(() => ports()[0] === 81);
  });

  it.each([
    { how: "renames a new one over it", steps: ["new", "rename"] },
    { how: "moves it away first", steps: ["away", "new", "rename"] },
    { how: "deletes it first", steps: ["delete", "new", "rename"] },
    { how: "empties it first", steps: ["empty", "new", "rename"] },
  ])("an editor that $how never makes its objects vanish", async ({ steps }) => {
    const file = join(folder, "a.yaml");
    await write("a.yaml", service("a"));
    await watch(1);
    for (const step of steps) {
      if (step === "new") await write("a.yaml.tmp", service("a", { ports: [{ port: 81 }] }));
      if (step === "rename") await rename(join(folder, "a.yaml.tmp"), file);
      if (step === "away") await rename(file, `${file}~`);
      if (step === "delete") await unlink(file);
      if (step === "empty") await truncate(file);
      // Time enough for a look in between, less than what counts as gone.
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    await watcher.until(() => ports()[0] === 81);
    expect(watcher.seen.every(({ services }) => services.length === 1)).toBe(true);
  });

  it("reads no half of a file that is being written", async () => {
    await write("a.yaml", service("a"), service("b"));
    await watch(2);
    const text = [service("a", { ports: [{ port: 81 }] }), service("b")]
      .map((object) => stringify(object))
      .join("---\n");
    for (let length = 20; length <= text.length; length += 20) {
      await writeFile(join(folder, "a.yaml"), text.slice(0, length));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await writeFile(join(folder, "a.yaml"), text);
    await watcher.until(() => ports()[0] === 81);
    expect(watcher.seen.map(({ services }) => services.length)).toEqual([2, 2]);
    expect(watcher.problems).toEqual([]);
  });

  it("keeps serving what an emptied file held, and says how to mean it", async () => {
    await write("a.yaml", service("a"));
    await watch(1);
    await truncate(join(folder, "a.yaml"));
    await watcher.untilProblems((problems) => problems.length === 1);
    expect(watcher.problems[0]).toEqual({
      where: "a.yaml",
      message: "is empty. To remove its objects, delete the file (the last good content of this file stays in use)",
    });
    expect(ports()).toEqual([80]);
  });

  it("names both places of an object that is described twice", async () => {
    await write("a.yaml", node("n1"), service("web"));
    await write("b.yaml", service("web", { ports: [{ port: 81 }] }));
    await watch(1);
    expect(ports()).toEqual([80]);
    expect(watcher.problems).toEqual([
      {
        where: "b.yaml:1",
        message: "Service default/web is described twice: a.yaml:6 is used, b.yaml:1 is not. Delete one of them.",
      },
    ]);
  });

  it("waits for a folder that does not exist, and keeps all when it goes away", async () => {
    await rm(folder, { recursive: true });
    watcher = new Watcher(filesSource(folder));
    await watcher.untilProblems((problems) => problems.length === 1);
    expect(watcher.seen).toEqual([]);
    expect(watcher.problems[0]?.message).toMatch(/Create the folder/);
    await mkdir(folder);
    await write("a.yaml", service("a"));
    await watcher.until(({ services }) => services.length === 1);
    await rm(folder, { recursive: true });
    await watcher.untilProblems((problems) => problems.length === 1);
    expect(ports()).toEqual([80]);
  }, 20_000);
});
