// When the Worker is built, and when it is not.
import { globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildKey, builtWorker } from "../../../src/host/workerd/built-worker.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-built-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

describe("the key of a build", () => {
  beforeEach(() => {
    write("src/edge/worker.ts", "a");
    write("src/shared/net/ranges.ts", "b");
    write("src/host/edge.ts", "c");
    write("wrangler.toml", "d");
  });

  test.each<[what: string, change: () => void]>([
    ["an edited file", () => write("src/edge/worker.ts", "A")],
    ["another file in a folder below", () => write("src/shared/net/more.ts", "")],
    ["a file that moved", () => renameSync(join(folder, "src/edge/worker.ts"), join(folder, "src/edge/main.ts"))],
    ["a file that is gone", () => rmSync(join(folder, "src/shared/net/ranges.ts"))],
    [
      "bytes that moved from one file to the next",
      () => (write("src/edge/worker.ts", ""), write("src/shared/a.ts", "a")),
    ],
    ["other settings", () => write("wrangler.toml", "D")],
    ["other packages wanted", () => write("package-lock.json", "{}")],
    ["other packages installed", () => write("node_modules/.package-lock.json", "{}")],
    ["another agent", () => write("agent/main.ts", "")],
    ["another way to build", () => write("src/host/workerd/build.ts", "")],
  ])("is another one for %s", (_, change) => {
    const before = buildKey(folder);
    change();
    expect(buildKey(folder)).not.toBe(before);
  });

  test("is the same for the same files, and whatever else changes", () => {
    const before = buildKey(folder);
    write("src/host/edge.ts", "C");
    write("docs/design.md", "");
    write("wrangler.toml", "d");
    expect(buildKey(folder)).toBe(before);
  });
});

test("is built once, again where the file is damaged, and not at all once its owner stops", async () => {
  const file = join(folder, "worker.json");
  const log = join(folder, "build.log");
  const assets = join(folder, "assets");
  let builds = 0;
  const building = (): void => void builds++;

  const stopping = new AbortController();
  const stopped = builtWorker(file, { assets, log, signal: stopping.signal });
  stopping.abort(new Error("stopping"));
  await expect(stopped).rejects.toThrow("stopping");
  await expect(builtWorker(file, { assets, log, signal: stopping.signal })).rejects.toThrow("stopping");
  expect(readFileSync(log, "utf8").match(/ (started|was killed) /g)).toEqual([" started ", " was killed "]);

  const first = await builtWorker(file, { assets, log, building });
  expect(first.module).toContain("TunnelObject");
  expect(first.declared.compatibility_date).toMatch(/^20/);
  expect(await builtWorker(file, { assets, log, building })).toEqual(first);
  expect(builds).toBe(1);

  await expect(builtWorker(file, { assets, log, building, signal: stopping.signal })).rejects.toThrow("stopping");

  writeFileSync(file, readFileSync(file, "utf8").slice(0, 1_000));
  expect(await builtWorker(file, { assets, log, building })).toEqual(first);
  expect(builds).toBe(2);

  // A byte of the agent that it hands out, too.
  const [agent = ""] = globSync("agent/*.mjs", { cwd: assets });
  writeFileSync(join(assets, agent), `${readFileSync(join(assets, agent), "utf8")} `);
  await builtWorker(file, { assets, log, building });
  await builtWorker(file, { assets, log, building });
  expect(builds).toBe(3);
  // Four builds, by processes of their own.
}, 240_000);
