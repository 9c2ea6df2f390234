// The package as its users have it: `npm pack`, `npm install -g` into an empty place, and from there. It is a part of `npm test` since
// nothing else sees what is missing in the tarball or among the packages that are installed with it; most of its minute is npm's.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CloudflareStandIn } from "../cli/deploy/stand-in.ts";
import { descendants, get, isAlive } from "./emulation.ts";

const root = new URL("../..", import.meta.url).pathname;
const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
/** What an npm script adds: the packages' own programs. A person's PATH has none of them, and perhaps no Node.js but npm's. */
const path = (process.env["PATH"] ?? "").split(delimiter).filter((each) => !each.includes("node_modules"));

let folder: string;
let packed: { readonly files: readonly { readonly path: string }[]; readonly size: number };
let installedMs: number;

/** As in a shell of the person's, in a folder in which nothing is. */
function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD|NODE|VITEST)/.test(name));
  const bin = join(folder, "prefix/bin");
  return { ...Object.fromEntries(kept), HOME: join(folder, "home"), PATH: [bin, ...path].join(delimiter), ...more };
}

async function run(command: string, args: readonly string[], more?: NodeJS.ProcessEnv) {
  const options = { cwd: join(folder, "empty"), env: environment(more), maxBuffer: 1 << 26 };
  return await new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(command, args, options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "postern-packed-"));
  for (const name of ["empty", "home", "prefix"]) mkdirSync(join(folder, name));
  const npm = promisify(execFile);
  const { stdout } = await npm("npm", ["pack", "--json", "--pack-destination", folder], {
    cwd: root,
    maxBuffer: 1 << 26,
  });
  // prepack may print before it.
  const found = JSON.parse(stdout.slice(stdout.search(/^[[{]/m))) as (typeof packed)[] | Record<string, typeof packed>;
  packed = Object.values(found)[0] as typeof packed;
  const begun = performance.now();
  // Without the packages' own scripts, which newer versions of npm do not run unless they are told to.
  const args = ["install", "-g", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
  const tarball = join(folder, `postern-${own.version}.tgz`);
  await npm("npm", [...args, "--prefix", join(folder, "prefix"), tarball], {
    cwd: join(folder, "empty"),
    maxBuffer: 1 << 26,
  });
  installedMs = performance.now() - begun;
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("has what it needs, and nothing of the sources, the tests or the developers' machines", () => {
  const files = packed.files.map((file) =>
    file.path.replace(/[0-9a-f]{64}/, "HASH").replace(/-[A-Z0-9]{8}\.js$/, "-ID.js"),
  );
  expect([...new Set(files)].sort()).toEqual([
    "LICENSE",
    "README.md",
    "dist/package/agent.js",
    "dist/package/assets/agent/HASH.mjs",
    "dist/package/assets/agent/index.json",
    "dist/package/chunk-ID.js",
    "dist/package/cli.js",
    "dist/package/manifests/nodes.yaml",
    "dist/package/manifests/web-direct.yaml",
    "dist/package/manifests/web.yaml",
    "dist/package/pod.js",
    "dist/package/postern",
    "dist/package/serve-ID.js",
    "dist/package/start-ID.js",
    "dist/package/tether.js",
    "dist/package/uninstall.sh",
    "dist/package/worker.js",
    "dist/package/worker.json",
    "dist/package/workerd.js",
    "dist/package/wrangler.js",
    "dist/package/wrangler.toml",
    "package.json",
  ]);
  expect(packed.size).toBeLessThan(2.5 * 1024 * 1024);
  const installed = join(folder, "prefix/lib/node_modules/postern");
  for (const file of readdirSync(join(installed, "dist/package")))
    if (file.endsWith(".js")) expect(readFileSync(join(installed, "dist/package", file), "utf8")).not.toContain(root);
  // What programs are made of is in them; what they start is installed.
  const packages = readdirSync(join(installed, "node_modules"));
  expect(packages).toEqual(expect.arrayContaining(["wrangler", "workerd"]));
  for (const name of ["zod", "commander", "hono", "vitest", "typescript"]) expect(packages).not.toContain(name);
});

it("is `postern`, and for kubectl a plugin; run by a Node.js of its own, with its exit codes", async () => {
  for (const name of ["postern", "kubectl-postern"]) {
    expect(await run(name, ["version", "--client"])).toEqual({
      code: 0,
      stdout: `postern ${own.version}\n`,
      stderr: "",
    });
    expect((await run(name, ["status", "--edge", "https://edge.example.com"])).code).toBe(2);
  }
  const help = await run("postern", ["--help"]);
  for (const name of ["dev", "edge", "deploy", "join"]) expect(help.stdout).toMatch(new RegExp(`^  ${name}\\b`, "m"));
  const { stdout } = await run("postern", ["edge", "--help"]);
  expect(stdout).toMatch(/^ {2}postern edge --address /m);
  expect(stdout).not.toContain("npm run");
});

it("postern dev: from nothing to the first answer in two commands and less than two minutes, until Ctrl-C", async () => {
  const begun = performance.now();
  const child = spawn("postern", ["dev", "--json"], {
    cwd: join(folder, "empty"),
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
  const ended = once(child, "exit");
  const failed = ended.then(([code]) => Promise.reject(new Error(`ended with ${code}:\n${said.join("\n")}`)));
  failed.catch(() => {});
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), "line"), failed])) as [string];
  const { urls } = JSON.parse(line) as { urls: string[] };
  const answer = await get(new URL(urls[0] ?? ""));
  expect([answer.status, answer.body]).toEqual([200, expect.stringMatching(/^web-\d on node-/)]);
  const seconds = (installedMs + performance.now() - begun) / 1_000;
  console.log(`npm install -g: ${(installedMs / 1_000).toFixed(1)} s, with the first answer ${seconds.toFixed(1)} s`);
  expect(seconds).toBeLessThan(120);
  // State is where the person is, and nothing is written to the package.
  expect(existsSync(join(folder, "empty/.postern/manifests/web.yaml"))).toBe(true);
  expect(existsSync(join(folder, "prefix/lib/node_modules/postern/dist/package/.wrangler"))).toBe(false);
  // The launcher has become Node.js: nothing stands between a signal and the program.
  const pid = child.pid ?? 0;
  expect(realpathSync(`/proc/${pid}/exe`)).toMatch(/node_modules\/node-linux-\w+\/bin\/node$/);
  const all = descendants(pid);
  expect(all.length).toBeGreaterThan(4);
  child.kill("SIGINT");
  expect(await ended).toEqual([0, null]);
  await expect.poll(() => all.filter((each) => isAlive(each)), { timeout: 10_000 }).toEqual([]);
});

it("postern edge: serves with the Worker that came with it, and hands out the agent", async () => {
  const child = spawn(
    "postern",
    ["edge", "--address", "127.0.0.1", "--port", "18787", "--join", "home", "-o", "json"],
    {
      cwd: join(folder, "empty"),
      env: environment(),
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const { join: command } = JSON.parse(line) as { join: string };
  expect(command).toMatch(/^kubectl apply -f http:\/\/127.0.0.1:18787\/install\//);
  expect(readdirSync(join(folder, "empty/.postern/edge/assets/agent"))).toHaveLength(3);
  const login = ["login", "http://127.0.0.1:18787", "--token-file", join(folder, "empty/.postern/edge/admin-token")];
  expect(await run("postern", login)).toMatchObject({ code: 0, stderr: "" });
  expect(await run("postern", ["version"])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(`postern-edge ${own.version}`),
  });
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});

it("postern deploy: runs the wrangler that was installed with it", async () => {
  const api = await CloudflareStandIn.start();
  try {
    api.tokens.set("token", new Set(["account", "scripts", "routes", "dns"]));
    api.zones.set("example.com", "zone1").set("example.net", "zone2");
    const line = ["deploy", "--domain", "example.com", "--admin-host", "postern.example.net", "--timeout", "0"];
    const env = { CLOUDFLARE_API_BASE_URL: api.url, CLOUDFLARE_API_TOKEN: "token" };
    expect(await run("postern", line, env)).toMatchObject({ code: 0, stdout: expect.stringContaining("is created") });
    expect(api.bindings("postern")).toMatchObject({ EDGE_DOMAIN: "example.com", ASSETS: "assets" });
    expect(api.domains).toEqual([{ hostname: "postern.example.net", service: "postern" }]);
  } finally {
    await api.stop();
  }
});
