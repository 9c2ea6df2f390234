// `npm run image`: bundles the agent and builds agent/Dockerfile into an oci-archive, without a registry and without a daemon.
// Prints progress on stderr and the archive's path as the last line, on stdout. What is built stays in a cache outside the work
// tree, under a key of all that goes into it: a second run only prints. Needs Debian's buildah, and mmdebstrap for the base
// image unless --base names one that can be pulled; where they are missing it says how to install them.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import manifest from "../package.json" with { type: "json" };
import { bundleAgent } from "../src/host/workerd/agent-assets.ts";

const help = `npm run image -- [--target agent|kernel] [--base <image>]

  --target  agent: for the base manifest (default); kernel: with nft, iptables and ipvs, for the overlays
  --base    A Debian 12 image that can be pulled; default: one made here from Debian's packages
`;
const root = new URL("..", import.meta.url).pathname;
const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "postern-image");
const storage = ["--root", join(cache, "storage"), "--runroot", join(cache, "run"), "--storage-driver", "vfs"];
const localBase = "localhost/debian:12-slim";
/** Archives of a target that are kept, the ones last asked for: each has some 120 MB. */
const KEPT = 4;

const say = (text: string) => process.stderr.write(`${text}\n`);
const fail = (text: string): never => {
  say(text);
  process.exit(1);
};

const { values } = parseArgs({
  options: { target: { type: "string", default: "agent" }, base: { type: "string" }, help: { type: "boolean" } },
});
const { target, base } = values;
if (values.help === true) fail(help);
if (target !== "agent" && target !== "kernel") fail(`--target must be agent or kernel\n\n${help}`);

const name = `localhost/postern-agent${target === "kernel" ? "-kernel" : ""}:${manifest.version}`;
const bundles = await bundleAgent(root);
const key = createHash("sha256")
  .update(readFileSync(join(root, "agent/Dockerfile")))
  .update(JSON.stringify([name, base, process.version, process.arch, bundles]))
  .digest("hex")
  .slice(0, 16);
const archive = join(cache, `postern-agent-${target}-${key}.tar`);

if (existsSync(archive)) {
  say(`${name} was built before`);
  utimesSync(archive, new Date(), new Date());
} else {
  need("buildah");
  if (base === undefined) makeBase();
  const context = newContext();
  for (const [file, text] of Object.entries(bundles)) writeFileSync(join(context, file), text);
  // The Node.js that runs this is the npm package's: npm scripts find it first.
  copyFileSync(process.execPath, join(context, "node"));
  say(`building ${name}`);
  buildImage(join(root, "agent/Dockerfile"), context, name, [
    "--target",
    target,
    "--build-arg",
    `BASE=${base ?? localBase}`,
  ]);
  const part = `${archive}.${process.pid}`;
  run("buildah", [...storage, "push", "--quiet", name, `oci-archive:${part}:${name}`]);
  renameSync(part, archive);
  rmSync(context, { recursive: true });
  prune();
}
process.stdout.write(`${archive}\n`);

/** Of what was built before. */
function prune(): void {
  const archives = readdirSync(cache)
    .filter((file) => file.startsWith(`postern-agent-${target}-`) && file.endsWith(".tar"))
    .map((file) => join(cache, file))
    .sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs);
  for (const old of archives.slice(KEPT)) rmSync(old);
  // Images that have lost their name to this one.
  run("buildah", [...storage, "rmi", "--prune"]);
}

function makeBase(): void {
  const known = run("buildah", [...storage, "images", "--quiet", "--filter", `reference=${localBase}`]);
  if (known.trim() !== "") return;
  need("mmdebstrap");
  say(`making ${localBase} from Debian's packages (once, some 20 s)`);
  const context = newContext();
  run("mmdebstrap", [
    "--quiet",
    "--variant=minbase",
    "--include=ca-certificates",
    "bookworm",
    join(context, "base.tar"),
  ]);
  writeFileSync(join(context, "Dockerfile"), "FROM scratch\nADD base.tar /\n");
  buildImage(join(context, "Dockerfile"), context, localBase);
  rmSync(context, { recursive: true });
}

/** Of this run alone: another one may be building the same. */
function newContext(): string {
  mkdirSync(cache, { recursive: true });
  return mkdtempSync(join(cache, "context-"));
}

function buildImage(file: string, context: string, tag: string, more: readonly string[] = []): void {
  run("buildah", [
    ...storage,
    "bud",
    "--quiet",
    "--isolation",
    "chroot",
    ...more,
    "--tag",
    tag,
    "--file",
    file,
    context,
  ]);
}

function need(program: string): void {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
  } catch {
    fail(`${program} is needed: apt-get install --no-install-recommends buildah mmdebstrap`);
  }
}

/** Its standard output; where it fails, all that it said. */
function run(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 26 });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    return fail(`${program} ${args.join(" ")} failed:\n${stdout ?? ""}${stderr ?? ""}`);
  }
}
