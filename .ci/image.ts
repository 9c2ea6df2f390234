// `npm run image`: bundles the agent and builds agent/Dockerfile into an oci-archive, without a registry and without a daemon.
// Prints progress on stderr and the archive's path as the last line, on stdout. What is built stays in a cache outside the work
// tree, under a key of all that goes into it: a second run only prints. Needs Debian's buildah, and mmdebstrap for the base
// image unless --base names one that can be pulled; where they are missing it says how to install them. For another processor than
// this machine's nothing of the image is run: Node.js comes from npm's package for that processor, and Debian's packages, those of the
// kernel target's tools among them, are unpacked only.
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
import { platformNames, platformOf, programArch } from "./platform.ts";
import { bundleAgent } from "../src/host/workerd/agent-assets.ts";

const help = `npm run image -- [--target agent|kernel] [--platform linux/amd64|linux/arm64] [--base <image>]

  --target    agent: for the base manifest (default); kernel: with nft, iptables and ipvs, for the overlays
  --platform  The nodes' processor; default: this machine's
  --base      A Debian 12 image that can be pulled; default: one made here from Debian's packages. With --target kernel and the
              --platform of another processor, this machine must be able to run its programs (Debian's qemu-user-static), because
              apt installs the tools inside the image
`;
const root = new URL("..", import.meta.url).pathname;
const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "postern-image");
const storage = ["--root", join(cache, "storage"), "--runroot", join(cache, "run"), "--storage-driver", "vfs"];
/** What Node.js loads. */
const LIBRARIES = "libc6,libstdc++6,libgcc-s1";
/** Archives of a target that are kept, the ones last asked for: each has some 120 MB. */
const KEPT = 4;

const say = (text: string) => process.stderr.write(`${text}\n`);
const fail = (text: string): never => {
  say(text);
  process.exit(1);
};

const { values } = parseArgs({
  options: {
    target: { type: "string", default: "agent" },
    platform: { type: "string" },
    base: { type: "string" },
    help: { type: "boolean" },
  },
});
const { target, base } = values;
if (values.help === true) fail(help);
if (target !== "agent" && target !== "kernel") fail(`--target must be agent or kernel\n\n${help}`);
const platform =
  platformOf(values.platform, process.arch) ??
  fail(
    `--platform must be ${platformNames.join(" or ")}, which is what Node.js and Debian are had for here\n\n${help}`,
  );
const isForeign = platform.node !== process.arch;
const dockerfile = readFileSync(join(root, "agent/Dockerfile"), "utf8");
const [, tools = fail("agent/Dockerfile has no ARG TOOLS")] = /^ARG TOOLS="(.+)"$/m.exec(dockerfile) ?? [];
/** The base has the kernel target's tools, since nothing can be installed in the image. */
const isUnpacked = isForeign && target === "kernel" && base === undefined;
const localBase = `localhost/debian:12-slim${isForeign ? `-${platform.arch}` : ""}${isUnpacked ? `-${sha256(tools).slice(0, 8)}` : ""}`;
const name = `localhost/postern-agent${target === "kernel" ? "-kernel" : ""}:${manifest.version}`;
const bundles = await bundleAgent(root);
const parts = JSON.stringify([name, base, process.version, platform.arch, isUnpacked, bundles]);
const key = sha256(dockerfile + parts).slice(0, 16);
const archive = join(cache, `postern-agent-${target}-${platform.arch}-${key}.tar`);

if (existsSync(archive)) {
  say(`${name} was built before`);
  utimesSync(archive, new Date(), new Date());
} else {
  need("buildah");
  if (base === undefined) makeBase();
  const context = newContext();
  for (const [file, text] of Object.entries(bundles)) writeFileSync(join(context, file), text);
  addNode(join(context, "node"));
  say(`building ${name} for ${platform.name}`);
  buildImage(join(root, "agent/Dockerfile"), context, name, [
    "--target",
    isUnpacked ? "kernel-unpacked" : target,
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

/** The Node.js that runs this, or the same version for another processor: npm has a package of each. */
function addNode(file: string): void {
  if (isForeign) {
    const folder = newContext();
    const wanted = `node-linux-${platform.node}@${process.versions.node}`;
    say(`getting ${wanted} from npm`);
    const [packed = ""] = run("npm", ["pack", "--silent", "--pack-destination", folder, wanted]).trim().split("\n");
    run("tar", ["-xzf", join(folder, packed), "-C", folder, "package/bin/node"]);
    copyFileSync(join(folder, "package/bin/node"), file);
    rmSync(folder, { recursive: true });
  } else copyFileSync(process.execPath, file);
  const is = programArch(readFileSync(file).subarray(0, 20));
  if (is !== platform.arch) fail(`this Node.js is for ${is ?? "another processor"}, not for ${platform.arch}`);
}

/** Of what was built before. */
function prune(): void {
  const archives = readdirSync(cache)
    .filter((file) => file.startsWith(`postern-agent-${target}-${platform.arch}-`) && file.endsWith(".tar"))
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
  // Unpacked only, where nothing of it can be run: then Node.js, and each tool, finds what it loads, and there is no more to it.
  const own = isUnpacked ? `,${tools.replaceAll(" ", ",")}` : "";
  const packages = isForeign ? `--include=base-files,ca-certificates,${LIBRARIES}${own}` : "--include=ca-certificates";
  const variant = [`--variant=${isForeign ? "extract" : "minbase"}`, `--architectures=${platform.arch}`];
  const links = isUnpacked ? linksOfIptables() : [];
  run("mmdebstrap", ["--quiet", ...variant, packages, ...links, "bookworm", join(context, "base.tar")]);
  writeFileSync(join(context, "Dockerfile"), "FROM scratch\nADD base.tar /\n");
  buildImage(join(context, "Dockerfile"), context, localBase);
  rmSync(context, { recursive: true });
}

/** What the package's script would make when it is installed: the plain names are those of the nftables flavour. */
function linksOfIptables(): string[] {
  const names = ["iptables", "ip6tables"].flatMap((plain) => ["", "-save", "-restore"].map((what) => [plain, what]));
  return names.map(([plain, what]) => `--extract-hook=ln -s ${plain}-nft${what} "$1/usr/sbin/${plain}${what}"`);
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
    "--platform",
    platform.name,
    "--tag",
    tag,
    "--file",
    file,
    context,
  ]);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
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
