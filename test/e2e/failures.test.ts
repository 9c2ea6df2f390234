// What `npm start` says when it cannot: which part, why, and what to do; and that it leaves nothing running.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { descendants, Emulation, get, isAlive, until } from "./emulation.ts";

const root = new URL("../..", import.meta.url).pathname;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-e2e-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Until it ended: its code, and all that it said. */
async function outcome(...args: string[]): Promise<{ code: unknown; said: string }> {
  const npm = spawn("npm", ["start", "--silent", "--", ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const said = Promise.all([text(npm.stdout), text(npm.stderr)]);
  const [code] = await once(npm, "exit");
  return { code, said: (await said).join("") };
}

test("wrong options are named, with the right ones", async () => {
  const { code, said } = await outcome("--manifest", "x");
  expect([code, said]).toEqual([2, expect.stringMatching(/'--manifest'[\s\S]*npm start -- --manifests/)]);
  expect(await outcome("--help")).toEqual({ code: 0, said: expect.stringContaining("npm start -- --json") });
});

test("a folder that is not there, or has no nodes", async () => {
  expect(await outcome("--manifests", join(folder, "gone"))).toEqual({
    code: 1,
    said: expect.stringContaining(`${join(folder, "gone")} cannot be read`),
  });
  mkdirSync(join(folder, "empty"));
  expect(await outcome("--manifests", join(folder, "empty"))).toEqual({
    code: 1,
    said: expect.stringContaining("has no Node with an InternalIP"),
  });
});

test("a port in use", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  expect(await outcome("--port", String(port))).toEqual({
    code: 1,
    said: expect.stringContaining(`Port ${port} is in use`),
  });
  other.close();
});

test("a pod that cannot start: its name and its last lines", async () => {
  cpSync(join(root, "src/demo/manifests"), folder, { recursive: true });
  const other = createServer().listen(8081, "127.1.0.1");
  await once(other, "listening");
  const { code, said } = await outcome("--manifests", folder);
  expect([code, said]).toEqual([
    1,
    expect.stringMatching(/Pod web-1 ended with code 1\. Its last lines:[\s\S]*EADDRINUSE/),
  ]);
  other.close();
});

test.each(["SIGTERM", "SIGKILL"] as const)("npm ended by %s takes everything along", async (signal) => {
  const emulation = await Emulation.start();
  const processes = descendants(emulation.npmPid);
  process.kill(emulation.npmPid, signal);
  await expect.poll(() => processes.filter(isAlive), { timeout: 10_000 }).toEqual([]);
  await emulation.stop();
});

test("the supervisor killed takes everything along", async () => {
  const emulation = await Emulation.start();
  const processes = descendants(emulation.npmPid);
  process.kill(processes[0] ?? 0, "SIGKILL");
  await expect.poll(() => processes.filter(isAlive), { timeout: 10_000 }).toEqual([]);
  await emulation.stop();
});

test("a killed pod and a killed node start again by the commands that are printed", async () => {
  const emulation = await Emulation.start();
  const web = emulation.url("web");
  const again: ChildProcess[] = [];
  for (const [what, pid] of [
    ["Pod web-1", emulation.pod("web-1").pid],
    ["Pod web-2", emulation.pod("web-2").pid],
    ["Node node-a", emulation.node("node-a").pid],
    ["Node node-b", emulation.node("node-b").pid],
  ] as const) {
    process.kill(pid, "SIGKILL");
    const printed = new RegExp(`${what} was killed \\(SIGKILL\\).*\\n  (.+)`);
    await expect.poll(() => emulation.said, { timeout: 10_000 }).toMatch(printed);
  }
  await until(web, 503);
  for (const [, command = ""] of emulation.said.matchAll(/was killed \(SIGKILL\)[^\n]*\n  (.+)/g))
    again.push(spawn(`exec ${command}`, { cwd: root, shell: true, stdio: "ignore" }));
  expect(again).toHaveLength(4);
  await until(web, 200, /web-/);
  expect((await get(emulation.url("web-direct"))).status).toBe(200);
  for (const child of again) {
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }
  await emulation.stop();
});
