// A program: bundles the Worker, reads wrangler.toml as wrangler reads it, writes both to one file, and ends. The agent that this
// edge hands out is bundled as well, into the folder of the Worker's assets. What runs for as long as the edge does loads neither
// esbuild nor wrangler, and does not import this file (.ci/layers.ts checks it): the memory that the two take is given back before
// the edge serves. built-worker.ts runs it and says what its arguments are.
import { join } from "node:path";
import { build } from "esbuild";
import { experimental_readRawConfig as readRawConfig, unstable_readConfig as readConfig } from "wrangler";
import { folder as root } from "../process/programs.ts";
import { keepFile } from "../state/state-folder.ts";
import { agentAssets } from "./agent-assets.ts";
import { keepAssets } from "./assets-folder.ts";
import { declaredSchema } from "./configuration.ts";

/** The bundle, as one ES module. */
async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(root, "src/edge/worker.ts")],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    // Its error is printed below, once.
    logLevel: "silent",
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error("esbuild made no bundle");
  return output.text;
}

const [file = "", key = "", assets = ""] = process.argv.slice(2);
try {
  const config = join(root, "wrangler.toml");
  const declared = declaredSchema.parse(readConfig({ config }, { hideWarnings: true }));
  const { rawConfig: written } = readRawConfig({ config });
  // The file says that all is built: so it comes last.
  keepAssets(assets, await agentAssets(root));
  keepFile(file, JSON.stringify({ key, declared, written, module: await bundle() }));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
