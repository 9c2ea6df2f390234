// The folder .postern: a folder for each run, those of dead runs removed, and one run for a folder of YAML.
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createRunFolder, lockManifests } from "../../src/demo/run-folder.ts";

let root: string;
let base: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "postern-run-"));
  base = join(root, ".postern");
});
afterEach(() => rmSync(root, { recursive: true }));

test("runs side by side have folders of their own, and a start removes those of dead runs alone", () => {
  const first = createRunFolder(base);
  // Of a run whose process id, seen from here, is somebody else's or nobody's: its lock alone says that it is dead.
  for (const pid of [process.pid, 1, 999_999]) mkdirSync(join(base, `run-${pid}`));
  const second = createRunFolder(base);
  expect([existsSync(first.path), existsSync(second.path), first.path === second.path]).toEqual([true, true, false]);
  for (const pid of [process.pid, 1, 999_999]) expect(existsSync(join(base, `run-${pid}`))).toBe(false);
  expect([statSync(base).mode & 0o777, statSync(first.path).mode & 0o777]).toEqual([0o700, 0o700]);
  expect(basename(first.secret("token", "x"))).toBe("token");
  first.remove();
  expect([existsSync(first.path), existsSync(second.path)]).toEqual([false, true]);
  second.remove();
});

test("two runs do not share a folder of YAML, by whichever path", () => {
  const [yaml, other] = [join(root, "yaml"), join(root, "other")];
  mkdirSync(base);
  for (const folder of [yaml, other]) mkdirSync(folder);
  symlinkSync(yaml, join(root, "link"));
  const lock = lockManifests(base, yaml);
  for (const path of [yaml, join(root, "link")])
    expect(() => lockManifests(base, path)).toThrow(
      new RegExp(`^${path} is in use by another demo \\(pid ${process.pid}, since .*--manifests another folder`),
    );
  lockManifests(base, other).release();
  lock.release();
  lockManifests(base, yaml).release();
});
