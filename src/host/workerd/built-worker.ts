// The Worker, ready for workerd, and its assets: the agent that it hands out. They are built by a process of its own (build.ts) that
// has ended before this returns, and kept under a key of everything that they are built from: a start after which nothing has
// changed builds nothing. Files are replaced as a whole, by whoever holds the lock of their folder.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Child } from "../process/child.ts";
import { folder as root, isPacked, programs } from "../process/programs.ts";
import { assetsAreWhole, keepAssets, readAssets } from "./assets-folder.ts";
import { declaredSchema } from "./configuration.ts";

const builtSchema = z.object({
  key: z.string(),
  declared: declaredSchema,
  /** All of wrangler.toml, not judged: for who deploys it. */
  written: z.unknown(),
  /** The bundle, as one ES module. */
  module: z.string().min(1),
});
export type BuiltWorker = z.infer<typeof builtSchema>;

export interface BuildOptions {
  /** The folder of the Worker's assets. */
  readonly assets: string;
  /** Takes what the build prints. */
  readonly log: string;
  /** Called before a build. Not called where nothing is built. */
  readonly building?: () => void;
  /** Ends a build that runs. Once it is aborted its reason is thrown, whatever is kept. */
  readonly signal?: AbortSignal;
}

const BUILD = programs["worker-build"];
/** The Worker's sources and the agent's, what says how they are built, and which packages are wanted and installed, by npm's own record. */
const INPUTS = [
  ...[
    "src/edge",
    "src/shared",
    "agent",
    BUILD,
    "src/host/workerd/agent-assets.ts",
    "src/host/workerd/configuration.ts",
  ],
  "wrangler.toml",
  ...["tsconfig.json", "src/tsconfig.json", "package.json", "package-lock.json", "node_modules/.package-lock.json"],
];

/** The Worker from `file`, built anew with its assets where they are of other sources, damaged or absent. Throws, in words for its user, where it cannot be built. */
export async function builtWorker(file: string, { assets, log, building, signal }: BuildOptions): Promise<BuiltWorker> {
  signal?.throwIfAborted();
  if (isPacked) return packedWorker(assets);
  // Before the build, not after: what is edited meanwhile is then built again at the next start.
  const key = buildKey(root);
  const kept = read(file, key, assets);
  if (kept !== undefined) return kept;
  building?.();
  signal?.throwIfAborted();
  const build = new Child({ name: "the Worker's build", program: "worker-build", args: [file, key, assets], log });
  const kill = (): void => build.kill();
  signal?.addEventListener("abort", kill, { once: true });
  const how = await build.exited;
  signal?.removeEventListener("abort", kill);
  signal?.throwIfAborted();
  const built = read(file, key, assets);
  if (built === undefined)
    throw new Error(
      `The Worker could not be built: ${build.name} ${how}. Its last lines (all of them are in ${log}):\n${build.lastLines()}\n` +
        "Undo what was changed in src/edge, src/shared and agent (git status shows it), or install the packages anew (npm ci). Then start again.",
    );
  return built;
}

/** The package's own, which was built with it. The module is a file by itself, since wrangler takes it as that. */
function packedWorker(assets: string): BuiltWorker {
  keepAssets(assets, readAssets(join(root, "assets")));
  const built = JSON.parse(readFileSync(join(root, "worker.json"), "utf8")) as object;
  return builtSchema.parse({ ...built, module: readFileSync(join(root, "worker.js"), "utf8") });
}

/** Differs when a file differs, is added, moved or removed. */
export function buildKey(root: string): string {
  const key = createHash("sha256");
  for (const file of INPUTS.flatMap((input) => filesBelow(root, input))) {
    const content = readFileSync(join(root, file));
    key.update(`${JSON.stringify(file)} ${content.length}\n`).update(content);
  }
  return key.digest("hex");
}

/** `input` itself, the files in it, or nothing, in an order that is always the same. */
function filesBelow(root: string, input: string): string[] {
  try {
    const entries = readdirSync(join(root, input), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
      .sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOTDIR") return [input];
    // Packages that another tool than npm installed leave no such record.
    if (code === "ENOENT") return [];
    throw error;
  }
}

function read(file: string, key: string, assets: string): BuiltWorker | undefined {
  try {
    const built = builtSchema.parse(JSON.parse(readFileSync(file, "utf8")));
    return built.key === key && assetsAreWhole(assets) ? built : undefined;
  } catch {
    return undefined;
  }
}
