// The agent as it is shipped: one file for it and one for its probe, with all their packages. For the image, and for whoever measures
// what users get.
import { join } from "node:path";
import { build, type BuildOptions } from "esbuild";

/** For a program that runs in Node.js, with all of its packages in it. */
export const nodeOptions = (root: string) =>
  ({
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    legalComments: "none",
    // Packages in CommonJS ask for Node's own modules by require().
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);',
    },
  }) satisfies BuildOptions;

/** File name → text. `root`: a checkout of this repository. */
export async function bundleAgent(root: string): Promise<Readonly<Record<string, string>>> {
  const { outputFiles } = await build({
    ...nodeOptions(root),
    entryPoints: { main: join(root, "agent/main.ts"), probe: join(root, "agent/health/probe.ts") },
    outdir: "/",
    outExtension: { ".js": ".mjs" },
    write: false,
  });
  return Object.fromEntries(outputFiles.map(({ path, text }) => [path.replace(/^.*\//, ""), text]));
}
