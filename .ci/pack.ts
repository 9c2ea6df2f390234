// `npm pack` runs this first (prepack): makes dist/package/, which is all that is installed beside README and LICENSE. Every program is
// bundled with its packages, since Node.js takes no TypeScript below node_modules; what stays to be installed is wrangler (with workerd
// in it) and a Node.js for the machine. All bundles lie in one folder: src/host/process/programs.ts looks for the others beside itself.
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { z } from "zod";
import { programs } from "../src/host/process/programs.ts";
import { agentFilePath, agentIndexPath, agentIndexSchema } from "../src/shared/control/agent-index.ts";
import { nodeOptions } from "../src/host/workerd/agent-assets.ts";

const root = new URL("..", import.meta.url).pathname;
const dist = join(root, "dist/package");
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });

// The Worker is built here, and not where it is installed; the agent is among its assets.
const { agent: _, "worker-build": workerBuild, ...bundled } = programs;
await build({
  ...nodeOptions(root),
  entryPoints: { cli: "cli/main.ts", ...bundled },
  outdir: dist,
  // What programs have in common is there once, and a command loads what it needs.
  splitting: true,
  // The agent is bundled in a checkout alone; the package has it ready.
  external: ["wrangler", "*/agent-assets.ts"],
});

// As an edge of one's own has it, and so also wrangler: the very same module everywhere.
const built = join(dist, "built.json");
execFileSync(process.execPath, [join(root, workerBuild), built, "packed", join(dist, "assets")], { stdio: "inherit" });
const { module, ...about } = z.looseObject({ module: z.string() }).parse(JSON.parse(readFileSync(built, "utf8")));
rmSync(built);
writeFileSync(join(dist, "worker.js"), module);
writeFileSync(join(dist, "worker.json"), JSON.stringify(about));
const index = agentIndexSchema.parse(JSON.parse(readFileSync(join(dist, "assets", agentIndexPath), "utf8")));
// The demo's nodes run the very file that an edge hands out.
writeFileSync(join(dist, "agent.js"), `import "./assets${agentFilePath(index.main)}";\n`);
copyFileSync(join(root, "wrangler.toml"), join(dist, "wrangler.toml"));
copyFileSync(join(root, "agent/manifests/uninstall.sh"), join(dist, "uninstall.sh"));
cpSync(join(root, "src/demo/manifests"), join(dist, "manifests"), { recursive: true });

copyFileSync(join(root, "cli/postern.sh"), join(dist, "postern"));
chmodSync(join(dist, "postern"), 0o755);
