// /livez answers, /healthz follows the facts, /readyz latches, /metrics speaks Prometheus; the probe asks as kubelet does,
// and a node's port passes from one agent to the next.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Health } from "../../../agent/health/healthz.ts";
import type { Closable } from "../../../agent/health/held-port.ts";

const probeProgram = new URL("../../../agent/health/probe.ts", import.meta.url).pathname;
let folder: string;
let socket: string;
let open: Closable[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "postern-health-"));
  socket = join(folder, "health.sock");
  open = [];
});
afterEach(async () => {
  for (const each of open) each.close();
  await rm(folder, { recursive: true });
});

const probe = async (...args: string[]): Promise<{ code: unknown; output: string }> =>
  await new Promise((resolve) => {
    execFile(process.execPath, [probeProgram, ...args], (error, output) => resolve({ code: error?.code ?? 0, output }));
  });
const listening = async (health: Health): Promise<void> => void open.push(await health.listenAt(socket));

describe("the facts", () => {
  it("decide each path's answer, ready once and for all", async () => {
    const health = new Health();
    await listening(health);
    const codes = async () =>
      (await Promise.all(["/livez", "/healthz", "/readyz"].map((path) => probe(socket, path)))).map(({ code }) => code);
    expect(await codes()).toEqual([0, 1, 1]);
    health.set({ synced: true });
    expect(await codes()).toEqual([0, 1, 1]);
    health.set({ programmed: true });
    expect(await codes()).toEqual([0, 0, 1]);
    health.set({ connected: true });
    expect(await codes()).toEqual([0, 0, 0]);
    health.set({ connected: false });
    expect(await codes()).toEqual([0, 0, 0]);
  });
});

describe("the probe", () => {
  it("says what is missing", async () => {
    const health = new Health();
    await listening(health);
    health.set({ synced: true });
    const { code, output } = await probe(socket, "/readyz");
    expect(code).toBe(1);
    expect(output).toBe('/readyz: 503 {"synced":true,"programmed":false,"connected":false}\n');
  });

  it.each([
    ["nobody listens", ["/absent.sock", "/livez"], 1, /ENOENT/],
    ["no path is given", ["/absent.sock"], 2, /usage/],
  ])("fails where %s", async (_, args, code, output) => {
    expect(await probe(...args)).toEqual({ code, output: expect.stringMatching(output) as string });
  });

  it("does not wait for ever on an agent that hangs", { timeout: 20_000 }, async () => {
    const hung = createServer();
    hung.listen({ path: socket });
    await once(hung, "listening");
    open.push(hung);
    expect(await probe(socket, "/livez")).toEqual({ code: 1, output: "/livez: no answer within 4000 ms\n" });
  });
});

describe("the socket", () => {
  it("replaces what an earlier process left", async () => {
    await writeFile(socket, "");
    await listening(new Health());
    expect((await probe(socket, "/livez")).code).toBe(0);
  });
});

describe("the node's port", () => {
  const metrics = async (port: number) => await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();

  it("passes to the next agent when the one before lets go", async () => {
    const before = new Health();
    before.set({ connected: true });
    const held = before.hold({ host: "127.0.0.1", port: 0 }, () => undefined);
    open.push(held);
    await vi.waitFor(() => expect(held.port).not.toBe(0));
    const { port } = held;
    expect(await metrics(port)).toContain('postern_state{fact="connected"} 1');

    const busy = vi.fn<(error: Error) => void>();
    open.push(new Health().hold({ host: "127.0.0.1", port }, busy));
    await vi.waitFor(() => expect(busy).toHaveBeenCalledOnce());
    held.close();
    await vi.waitFor(async () => expect(await metrics(port)).toContain('postern_state{fact="connected"} 0'), 5_000);
    expect(busy).toHaveBeenCalledOnce();
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
  });
});
