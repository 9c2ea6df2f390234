// The agent as it is shipped: one file for it and one for its probe, with all their packages; and the same two as an edge hands them
// out, each under the SHA-256 of its bytes, with the index that says which they are. The same sources give the same bytes on every
// machine. Loads esbuild: only programs that end before an edge serves import this.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build, type BuildOptions } from "esbuild";
import { z } from "zod";
import { agentFilePath, type AgentIndex, agentIndexPath } from "../../shared/control/agent-index.ts";

const manifestSchema = z.object({ version: z.string() });
const bundleSchema = z.object({ "main.mjs": z.string(), "probe.mjs": z.string() });
export type AgentBundle = Readonly<z.infer<typeof bundleSchema>>;

/** For a program that runs in Node.js, with all of its packages in it. */
export const nodeOptions = (root: string) =>
  ({
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    // Node.js keeps a program's text in memory, twice as large where a comment has a letter beyond Latin-1. Names stay, and lines are
    // short enough to say in a stack where something was.
    legalComments: "none",
    minifyWhitespace: true,
    lineLimit: 140,
    // Packages in CommonJS ask for Node's own modules by require().
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);',
    },
  }) satisfies BuildOptions;

/** File name → text. `root`: a checkout of this repository. */
export async function bundleAgent(root: string): Promise<AgentBundle> {
  const { outputFiles } = await build({
    ...nodeOptions(root),
    entryPoints: { main: join(root, "agent/main.ts"), probe: join(root, "agent/health/probe.ts") },
    outdir: "/",
    outExtension: { ".js": ".mjs" },
    write: false,
    // Its error is thrown, and printed once by whoever asked.
    logLevel: "silent",
  });
  return bundleSchema.parse(Object.fromEntries(outputFiles.map(({ path, text }) => [path.replace(/^.*\//, ""), text])));
}

/** What an edge serves of it: path below the assets' folder, with a slash in front → text. */
export async function agentAssets(root: string): Promise<Readonly<Record<string, string>>> {
  const { version } = manifestSchema.parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));
  return assetsOf(await bundleAgent(root), version);
}

export function assetsOf(bundle: AgentBundle, version: string): Readonly<Record<string, string>> {
  const [main, probe] = [sha256(bundle["main.mjs"]), sha256(bundle["probe.mjs"])];
  const index: AgentIndex = { version, main, probe };
  return {
    [agentFilePath(main)]: bundle["main.mjs"],
    [agentFilePath(probe)]: bundle["probe.mjs"],
    [agentIndexPath]: `${JSON.stringify(index)}\n`,
  };
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
