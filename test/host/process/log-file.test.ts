// Logs of bounded size, and lines for a terminal that are few.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LogFile } from "../../../src/host/process/log-file.ts";
import { openFilesProblem } from "../../../src/host/process/open-files.ts";
import { sparingly } from "../../../src/host/process/sparingly.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-log-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("goes on after a restart, and keeps the newest lines within its limit", () => {
  const path = join(folder, "a.log");
  for (const part of [0, 1]) {
    const log = new LogFile(path, 2_000);
    for (let n = part * 100; n < part * 100 + 100; n++) log.write(`line ${n} ${"x".repeat(20)}`);
    log.close();
  }
  const kept = readFileSync(`${path}.1`, "utf8") + readFileSync(path, "utf8");
  expect(kept.length).toBeLessThan(2_100);
  expect(kept.length).toBeGreaterThan(1_000);
  expect(kept.trimEnd().split("\n").at(-1)).toContain("line 199 ");
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("a line without end is cut, and one that cannot be written ends nothing", () => {
  const log = new LogFile(join(folder, "b.log"));
  log.write("x".repeat(1_000_000));
  expect(statSync(log.path).size).toBeLessThan(20_000);
  const nowhere = new LogFile(join(folder, "missing", "c.log"));
  nowhere.note("lost");
  expect(existsSync(nowhere.path)).toBe(false);
});

test("a flood of lines shows twenty, then how many there were", () => {
  const said: string[] = [];
  const clock = { now: 0 };
  const few = sparingly(
    (line) => said.push(line),
    "/log",
    () => clock.now,
  );
  for (let n = 0; n < 1_000; n++) few(`line ${n}`);
  expect(said).toHaveLength(20);
  clock.now = 10_000;
  few("later");
  expect(said.slice(20)).toEqual(["(980 lines more, see /log)", "later"]);
});

test("a low limit of open files is told with its remedy", () => {
  const limits = (hard: string) =>
    `Limit  Soft Limit  Hard Limit  Units\nMax open files            1024       ${hard}      files\n`;
  expect(openFilesProblem(limits("1024"))).toMatch(/Only 1024 files.*LimitNOFILE=65536/);
  expect(openFilesProblem(limits("1048576"))).toBeUndefined();
  expect(openFilesProblem(limits("unlimited"))).toBeUndefined();
  expect(openFilesProblem("")).toBeUndefined();
});
