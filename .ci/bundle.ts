// The agent as it is shipped: one file for it and one for its probe, with all their packages. For the image, and for whoever measures
// what users get.
import { join } from "node:path";
import { build } from "esbuild";

/** File name → text. `root`: a checkout of this repository. */
export async function bundleAgent(root: string): Promise<Readonly<Record<string, string>>> {
  const { outputFiles } = await build({
    entryPoints: { main: join(root, "agent/main.ts"), probe: join(root, "agent/health/probe.ts") },
    outdir: "/",
    outExtension: { ".js": ".mjs" },
    absWorkingDir: root,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    write: false,
    legalComments: "none",
    // Packages in CommonJS ask for Node's own modules by require().
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  return Object.fromEntries(outputFiles.map(({ path, text }) => [path.replace(/^.*\//, ""), text]));
}
