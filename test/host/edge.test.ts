// The edge of one's own, in this process, with a real workerd: what is left of it when it has stopped.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { freePort } from "../../src/host/process/free-port.ts";
import { Edge } from "../../src/host/edge.ts";
import { parseOptions } from "../../src/host/options.ts";
import { Lock } from "../../src/host/state/lock.ts";

test("a stop while the Worker is built ends the build, starts no workerd, and leaves nothing locked", async () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-stop-"));
  const state = join(folder, "state");
  const options = parseOptions(["--address", "127.0.0.1", "--port", String(await freePort()), "--state", state]);
  if (options === "help" || "wrong" in options) throw new Error("the options are well");
  const built = Promise.withResolvers<void>();
  const edge = new Edge(options, (line) => line.startsWith("building") && setImmediate(built.resolve));
  const started = expect(edge.start()).rejects.toThrow();
  await built.promise;
  await edge.stop();
  await started;
  expect(readFileSync(join(state, "logs/build.log"), "utf8")).toMatch(/ was killed \(SIGKILL\)\n$/);
  expect(existsSync(join(state, "logs/workerd.log"))).toBe(false);
  const lock = Lock.take(join(state, "lock"));
  expect(lock).toBeDefined();
  lock?.release();
  rmSync(folder, { recursive: true });
});

test("a stop while workerd is between two lives starts none, and leaves nothing locked or open", async () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-stop-"));
  const port = await freePort();
  const state = join(folder, "state");
  const options = parseOptions(["--address", "127.0.0.1", "--port", String(port), "--state", state]);
  if (options === "help" || "wrong" in options) throw new Error("the options are well");
  const started = () => readFileSync(join(state, "logs/workerd.log"), "utf8").match(/workerd started/g)?.length;
  const said: string[] = [];
  const edge = new Edge(options, (line) => said.push(line));
  await edge.start();
  edge.restart();
  // One that lived so shortly is not started again at once.
  await vi.waitFor(() => expect(said.join("\n")).toContain("starting it again"), { timeout: 30_000 });
  await edge.stop();
  expect(started()).toBe(1);
  const refused = new Promise((resolve) => connect(port, "127.0.0.1").once("error", resolve).once("connect", resolve));
  expect(await refused).toMatchObject({ code: "ECONNREFUSED" });

  const again = new Edge(options, (line) => said.push(line));
  await again.start();
  await again.stop();
  expect(started()).toBe(2);
  rmSync(folder, { recursive: true });
});
