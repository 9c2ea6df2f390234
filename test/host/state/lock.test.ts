// A lock among processes: one holder, named to the other, and free when its holder is dead.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { holderOf, Lock } from "../../../src/host/state/lock.ts";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-lock-"));
  file = join(folder, "lock");
});
afterEach(() => rmSync(folder, { recursive: true }));

test("one holds it, and the other is told who", () => {
  const lock = Lock.take(file);
  expect(lock).toBeDefined();
  expect(Lock.take(file)).toBeUndefined();
  expect(holderOf(file)).toMatch(new RegExp(`^pid ${process.pid}, since 20..-`));
  lock?.release();
  const next = Lock.take(file);
  expect(next).toBeDefined();
  next?.release();
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("a holder that was killed holds nothing", async () => {
  const module = new URL("../../../src/host/state/lock.ts", import.meta.url).href;
  const script = `import { Lock } from ${JSON.stringify(module)};
    globalThis.held = Lock.take(${JSON.stringify(file)}); console.log(globalThis.held !== undefined); setInterval(() => {}, 1e6);`;
  const holder = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [said] = await once(holder.stdout, "data");
  expect(String(said)).toBe("true\n");
  expect(Lock.take(file)).toBeUndefined();
  expect(holderOf(file)).toContain(`pid ${holder.pid},`);
  holder.kill("SIGKILL");
  await once(holder, "exit");
  const lock = Lock.take(file);
  expect(lock).toBeDefined();
  lock?.release();
});

test("what cannot be locked is said in words", () => {
  expect(() => Lock.take(join(folder, "missing", "lock"))).toThrow(/missing\/lock cannot be locked .*delete it/);
});
