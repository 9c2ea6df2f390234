// What a running edge of one's own has loaded, and when it builds its Worker: a copy of this repository, whose sources are
// broken, mended and upgraded. A hook in every Node.js process writes down which modules it loads.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { freePort } from "../../src/host/process/free-port.ts";
import { descendants, isAlive } from "./emulation.ts";

const root = new URL("../..", import.meta.url).pathname;
const ADDRESS = "127.0.7.3";
const HEALTHY = "c.json({ ok: true })";
const HEAVY = /\/node_modules\/(wrangler|esbuild|miniflare)\//;

let folder: string;
let edge: ChildProcess | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-build-"));
  mkdirSync(join(folder, "copy"));
  for (const name of ["src", "agent", "package.json", "package-lock.json", "tsconfig.json", "wrangler.toml"])
    cpSync(join(root, name), join(folder, "copy", name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "copy/node_modules"));
  writeFileSync(
    join(folder, "hook.mjs"),
    `import { appendFileSync } from "node:fs";
     import { registerHooks } from "node:module";
     registerHooks({ load(url, context, next) {
       appendFileSync(${JSON.stringify(join(folder, "loaded"))}, process.pid + " " + url + "\\n");
       return next(url, context);
     } });`,
  );
});
afterEach(stop);
afterAll(() => rmSync(folder, { recursive: true }));

async function stop(): Promise<void> {
  if (edge?.exitCode === null && edge.kill("SIGTERM")) await once(edge, "exit");
  edge = undefined;
}

interface Started {
  readonly said: string;
  /** The admin host; undefined: it ended with `code` instead. */
  readonly url?: string;
  readonly code?: number;
}

async function start(): Promise<Started> {
  writeFileSync(join(folder, "loaded"), "");
  const args = ["--address", ADDRESS, "--port", String(await freePort(ADDRESS)), "--state", join(folder, "state")];
  const child = spawn(process.execPath, ["src/host/main.ts", ...args, "--json"], {
    cwd: join(folder, "copy"),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_OPTIONS: `--import=${join(folder, "hook.mjs")}` },
  });
  edge = child;
  const said: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
  const ended = once(child, "close");
  const line = once(createInterface({ input: child.stdout }), "line");
  const [first] = (await Promise.race([line, ended])) as [string | number];
  if (typeof first === "number") return { said: said.join("\n"), code: first };
  return { said: said.join("\n"), url: z.object({ url: z.url() }).parse(JSON.parse(first)).url };
}

/** Process → how many modules of wrangler and of bundlers it has loaded. */
function loaded(): Map<number, number> {
  const counts = new Map<number, number>();
  for (const line of readFileSync(join(folder, "loaded"), "utf8").trim().split("\n")) {
    const [pid = "", url = ""] = line.split(" ");
    counts.set(Number(pid), (counts.get(Number(pid)) ?? 0) + Number(HEAVY.test(url)));
  }
  return counts;
}

function rewrite(file: string, from: string, to: string): void {
  const path = join(folder, "copy", file);
  const text = readFileSync(path, "utf8");
  expect(text).toContain(from);
  writeFileSync(path, text.replace(from, to));
}

const health = async (url: string | undefined): Promise<unknown> => (await fetch(`${url}/healthz`)).json();

it("says what is wrong with sources that cannot be built, and how to mend it", async () => {
  rewrite("src/edge/control/api.ts", HEALTHY, "c.json({ ok: })");
  const { code, said } = await start();
  expect(code).toBe(1);
  expect(said).toMatch(/The Worker could not be built.*src\/edge\/control\/api\.ts:\d+:\d+: ERROR: .*npm ci/s);
  expect(existsSync(join(folder, "state/workerd.capnp"))).toBe(false);
  rewrite("src/edge/control/api.ts", "c.json({ ok: })", HEALTHY);
});

it("builds in a process that has ended before it serves: what runs then has loaded neither wrangler nor a bundler", async () => {
  const { url, said } = await start();
  expect(said).toContain("building the Worker");
  expect(await health(url)).toEqual({ ok: true });
  const running = [edge?.pid ?? 0, ...descendants(edge?.pid ?? 0)];
  const heavy = [...loaded()].filter(([, count]) => count > 0).map(([pid]) => pid);
  // The hook sees them, where they are loaded.
  expect(heavy).toHaveLength(1);
  expect(heavy.filter((pid) => running.includes(pid) || isAlive(pid))).toEqual([]);
  const programs = running.map((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim());
  expect(programs.filter((name) => !/^(node|MainThread|workerd)/.test(name))).toEqual([]);
});

it("builds nothing at a second start", async () => {
  const { url, said } = await start();
  expect(said).not.toContain("building the Worker");
  expect(await health(url)).toEqual({ ok: true });
  expect([...loaded().values()].filter((count) => count > 0)).toEqual([]);
});

it("builds and serves what an upgrade brought", async () => {
  rewrite("src/edge/control/api.ts", HEALTHY, "c.json({ ok: true, upgraded: true })");
  const { url, said } = await start();
  expect(said).toContain("building the Worker");
  expect(await health(url)).toEqual({ ok: true, upgraded: true });
});
