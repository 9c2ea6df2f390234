// A program: bundles the Worker, reads wrangler.toml as wrangler reads it, writes both to one file, and ends. No other file of
// src/host/ loads esbuild or wrangler, and none imports this one (.ci/layers.ts checks it): the memory that the two take is
// given back before the edge serves. built-worker.ts runs it and says what its arguments are.
import { join } from "node:path";
import { build } from "esbuild";
import { unstable_readConfig as readConfig } from "wrangler";
import { folder as root } from "../process/programs.ts";
import { keepFile } from "../state/state-folder.ts";
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

const [file = "", key = ""] = process.argv.slice(2);
try {
  const declared = declaredSchema.parse(readConfig({ config: join(root, "wrangler.toml") }, { hideWarnings: true }));
  keepFile(file, JSON.stringify({ key, declared, module: await bundle() }));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
