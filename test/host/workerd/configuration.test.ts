// What workerd's configuration lets the Worker dial, seen from a Worker in the real thing.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { freePort } from "../../../src/host/process/free-port.ts";
import { workerdBinary } from "../../../src/host/workerd/binary.ts";
import { workerdConfig } from "../../../src/host/workerd/configuration.ts";

/** Answers which of the URLs in its query can be fetched. */
const probe = `import { DurableObject } from "cloudflare:workers";
export class GatewayObject extends DurableObject {}
export default { async fetch(request) {
  const reached = [];
  for (const url of new URL(request.url).searchParams.getAll("url"))
    try { if ((await (await fetch(url)).text()) === "secret") reached.push(url); } catch {}
  return Response.json(reached);
} };`;

const declared = {
  compatibility_date: "2026-01-01",
  compatibility_flags: [],
  durable_objects: { bindings: [{ name: "GATEWAY", class_name: "GatewayObject" }] },
};

let folder: string;
let workerd: ChildProcess | undefined;
// Of this machine alone, on every family: a mapped or unspecified address leads there, too.
const server = createServer((_, res) => res.end("secret"));
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-workerd-"));
  mkdirSync(join(folder, "storage"));
  server.listen(0, "::");
  await once(server, "listening");
});
afterEach(async () => {
  if (workerd?.kill("SIGKILL")) await once(workerd, "exit");
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

test.each([
  ["does not reach this machine by any name", false],
  ["reaches it where its owner says so", true],
])("the Worker %s", async (_, loopback) => {
  const listen = `127.0.0.1:${await freePort()}`;
  writeFileSync(join(folder, "postern.js"), probe);
  const config = workerdConfig("postern.js", declared, {
    listen,
    storage: join(folder, "storage"),
    assets: folder,
    bindings: {},
    loopback,
  });
  writeFileSync(join(folder, "workerd.capnp"), config);
  workerd = spawn(workerdBinary(), ["serve", "--experimental", join(folder, "workerd.capnp")], { stdio: "ignore" });
  const { port } = server.address() as AddressInfo;
  const hosts = ["127.0.0.1", "127.99.1.2", "localhost", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"];
  const urls = hosts.map((host) => `http://${host}:${port}/`);
  const query = new URLSearchParams(urls.map((url) => ["url", url]));
  const reached = await vi.waitFor(
    async () => (await (await fetch(`http://${listen}/?${query.toString()}`)).json()) as string[],
    { timeout: 30_000, interval: 50 },
  );
  expect(reached).toEqual(loopback ? urls : []);
});
