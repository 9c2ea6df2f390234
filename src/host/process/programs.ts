// Where the programs and files of this software are. In a checkout they are run as they stand. In the installed package each program
// is a bundle beside this one (.ci/pack.ts), since Node.js takes no TypeScript below node_modules.
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Programs that other ones start: the bundle's name → the file in a checkout. */
export const programs = {
  agent: "agent/main.ts",
  pod: "src/demo/pod.ts",
  tether: "src/host/process/tether.ts",
  workerd: "src/host/workerd/run.ts",
  "worker-build": "src/host/workerd/build.ts",
  wrangler: "src/demo/wrangler-edge.ts",
} as const;
export type Program = keyof typeof programs;

/** The installed package, and no checkout: nothing is built there, and nothing may be written. */
export const isPacked = !import.meta.url.endsWith(".ts");

/** The repository's root; or the folder of the bundles. */
export const folder = fileURLToPath(new URL(isPacked ? "." : "../../..", import.meta.url));

export const programFile = (program: Program): string => join(folder, isPacked ? `${program}.js` : programs[program]);

/** The YAML that the demo begins with. */
export const demoManifests = join(folder, isPacked ? "manifests" : "src/demo/manifests");

/** Takes Postern out of a Kubernetes cluster: for sh, with kubectl in $KUBECTL. */
export const uninstallScript = join(folder, isPacked ? "uninstall.sh" : "agent/manifests/uninstall.sh");
