// Checks who imports whom: the table below (why: docs/design.md, the map), no cycles, nothing unreachable. Run by `npm run layers`.
// Must never pass for want of looking: with TypeScript 7 alone dependency-cruiser skips .ts files and only warns, so the
// files it read are compared with the files on disk.
import { globSync } from "node:fs";
import { cruise, type ICruiseResult, type IForbiddenRuleType } from "dependency-cruiser";
import extractTSConfig from "dependency-cruiser/config-utl/extract-ts-config";

/** What a part may import: `values` anything, `types` with `import type` only. A folder ends in "/"; itself is implied. */
interface Layer {
  readonly values: readonly string[];
  readonly types?: readonly string[];
}

const http = "src/edge/http/";
const routing = "src/edge/routing/";
const forward = "src/edge/forward/";
const rpc = "src/edge/rpc/";
const env = "src/edge/env.ts";
const effects = "src/edge/effects.ts";

const layers: Record<string, Layer> = {
  // What both ends, edge and agent, are made of.
  "src/shared/": { values: [] },
  "src/shared/http/": { values: [] },
  "src/shared/wire/": { values: ["src/shared/http/"] },
  "src/shared/model/": { values: ["src/shared/net/"] },
  "src/shared/control/": { values: ["src/shared/model/", "src/shared/net/"] },
  "src/shared/balance/": { values: [], types: ["src/shared/model/"] },
  "src/shared/health/": { values: ["src/shared/net/"] },
  "src/shared/net/": { values: [] },
  "src/shared/upstream/": { values: [] },
  // The edge. A request's way goes down this list, and never up again.
  "src/edge/worker.ts": { values: ["src/edge/"] },
  "src/edge/request/": {
    values: ["src/shared/", http, routing, forward, "src/edge/direct/", rpc, effects],
    types: [env],
  },
  "src/edge/tunnel/": { values: ["src/shared/", http, routing, forward, rpc, effects], types: [env] },
  "src/edge/direct/": { values: ["src/shared/", http, routing, forward], types: [rpc, env] },
  "src/edge/forward/": { values: ["src/shared/"] },
  "src/edge/routing/": { values: ["src/shared/"] },
  "src/edge/http/": { values: ["src/shared/"] },
  // What it decides by, and how that is changed.
  "src/edge/cluster/": {
    values: ["src/shared/", routing, "src/edge/storage/", rpc, http, effects],
    types: [env],
  },
  "src/edge/directory/": { values: ["src/shared/", routing, "src/edge/storage/", rpc], types: [env] },
  "src/edge/storage/": { values: [] },
  "src/edge/rpc/": { values: ["src/shared/"], types: [routing] },
  // It says how fresh is what tenants' requests are served by.
  "src/edge/control/": {
    values: ["src/shared/", http, rpc, "src/edge/request/isolate.ts"],
    types: [env, "src/edge/routing/table.ts", "src/edge/request/tables.ts"],
  },
  "src/edge/env.ts": { values: [], types: [rpc] },
  "src/edge/effects.ts": { values: [], types: [forward] },
  // Node.js: an edge of one's own, and `npm start`. Which ports the owner offers is one rule for the table and for the sockets.
  "src/host/": { values: ["src/shared/", http, "src/edge/routing/port-ranges.ts"] },
  "src/host/proxy/": { values: ["src/shared/", http] },
  "src/host/listeners/": { values: ["src/edge/routing/port-ranges.ts"], types: ["src/host/proxy/"] },
  "src/host/workerd/": {
    values: ["src/host/process/", "src/host/state/", "src/shared/control/agent-index.ts", http],
  },
  "src/host/state/": { values: [] },
  "src/host/process/": { values: [] },
  "src/demo/": { values: ["src/host/", "src/shared/", http, "src/edge/routing/port-ranges.ts"] },
  // It knows an edge by its control API alone. It starts one, as `npm start` and `npm run edge` do, and deploys one that is built so.
  "cli/": {
    values: [
      "src/shared/",
      "src/host/",
      "src/demo/start.ts",
      "src/demo/options.ts",
      "agent/plan/",
      "agent/source/",
      routing,
    ],
  },
  "cli/config/": { values: ["src/shared/", "cli/failed.ts", "cli/own-file.ts"] },
  "cli/deploy/": {
    values: ["src/shared/", "cli/failed.ts", "src/host/state/", "src/host/workerd/built-worker.ts"],
    types: ["cli/session.ts"],
  },
  // It judges by the very rules of agent and edge, which are pure: what they would say is foretold, not told again.
  "cli/doctor/": {
    values: ["src/shared/", "agent/plan/", "agent/source/", routing, "cli/failed.ts", "cli/output.ts"],
    types: ["cli/kubectl.ts"],
  },
  // Binds all of the agent; the lines below bind its folders further.
  "agent/": { values: ["src/shared/"] },
  "agent/kube/": { values: ["src/shared/net/"] },
  "agent/source/": { values: ["src/shared/", "agent/kube/"] },
  "agent/plan/": { values: ["src/shared/", "agent/source/order.ts"], types: ["agent/source/"] },
  // Who serves the tunnel's streams and the NodePorts.
  "agent/endpoints/": { values: ["src/shared/", "agent/plan/"] },
  "agent/dataplane/": { values: ["src/shared/", "agent/plan/", "agent/endpoints/"] },
  // It starts no process by itself: it is given `run`.
  "agent/dataplane/iptables/": {
    values: [
      "src/shared/net/",
      "agent/dataplane/kernel/node-port-addresses.ts",
      "agent/dataplane/kernel/ran.ts",
      "agent/dataplane/kernel/worst-of.ts",
    ],
    types: ["src/shared/model/", "agent/plan/", "agent/dataplane/kernel/", "agent/dataplane/executor.ts"],
  },
  // Its rules are of the iptables mode's making.
  "agent/dataplane/ipvs/": {
    values: [
      "src/shared/net/",
      "agent/dataplane/iptables/",
      "agent/dataplane/kernel/claims.ts",
      "agent/dataplane/kernel/node-port-addresses.ts",
      "agent/dataplane/kernel/ran.ts",
      "agent/dataplane/kernel/worst-of.ts",
    ],
    types: ["src/shared/model/", "agent/plan/", "agent/dataplane/kernel/", "agent/dataplane/executor.ts"],
  },
  "agent/tunnel/": { values: ["src/shared/", "agent/endpoints/", "agent/net/"] },
  "agent/publish/": { values: ["src/shared/"] },
  // kube-proxy's configuration, read and translated.
  "agent/kube-proxy/": {
    values: ["src/shared/net/", "agent/dataplane/kernel/settings.ts"],
    types: ["agent/dataplane/kernel/"],
  },
  // The status writer reads the API server's answers with the same schema as the source.
  "agent/controller/": {
    values: ["src/shared/", "agent/kube/", "agent/publish/", "agent/source/resources.ts"],
    types: ["agent/source/"],
  },
  // What a node says of itself when the edge asks.
  "agent/probe/": {
    values: ["src/shared/", "agent/plan/", "agent/controller/event-recorder.ts"],
    types: ["agent/endpoints/", "agent/source/", "agent/dataplane/executor.ts", "agent/plan-applier.ts"],
  },
  "agent/net/": { values: [] },
  "agent/health/": { values: ["src/shared/", "agent/plan/", "agent/net/"], types: ["agent/dataplane/executor.ts"] },
};

/** Where programs start. Everything else must be reached from here. */
const entries =
  "^(src/edge/worker|src/host/(main|process/tether|workerd/(run|build|write-assets))|src/demo/(main|pod|wrangler-edge)|" +
  "agent/(main|health/probe|manifests/(flatten|fetch/fetch))|cli/(main|doctor/docs))\\.ts$";

const starts = (path: string): string => `^${path.replaceAll(".", "\\.")}${path.endsWith("/") ? "" : "$"}`;

const layerRules = Object.entries(layers).flatMap(([from, { values, types = [] }]): IForbiddenRuleType[] => {
  const inside = "^(src|agent|test|cli)/";
  const allowed = [from, ...values].map(starts);
  return [
    {
      name: `${from} imports only ${[...values, ...types].join(", ") || "itself"}`,
      severity: "error",
      from: { path: starts(from) },
      to: { path: inside, pathNot: [...allowed, ...types.map(starts)] },
    },
    ...(types.length === 0
      ? []
      : [
          {
            name: `${from} imports only types of ${types.join(", ")}`,
            severity: "error" as const,
            from: { path: starts(from) },
            to: { path: types.map(starts), pathNot: allowed, dependencyTypesNot: ["type-only" as const] },
          },
        ]),
  ];
});

/** No platform, no package but the two that parse: what lives here runs and is tested anywhere. */
const pure = "^(src/shared/(wire|http|model|control|balance|health|net)|src/edge/(routing|http|forward)|agent/plan)/";
const edge = { path: "^src/(edge|shared)/", pathNot: "^src/shared/upstream/" };

/** Packages that programs are made of. They are bundled into each (.ci/pack.ts, agent-assets.ts), so nobody installs them with Postern. */
const bundled = "^node_modules/(@hono/zod-openapi|commander|hono|ipaddr\\.js|pino|prom-client|undici|ws|yaml|zod)/";

/** Programs that run as children, and what they load: all end before the edge serves, but the dev server of `npm start`. */
const loaders = "^src/(host/workerd/(build|write-assets|agent-assets)|demo/wrangler-edge)\\.ts$";

const rules: IForbiddenRuleType[] = [
  ...layerRules,
  {
    name: "every folder is in the table of .ci/layers.ts",
    severity: "error",
    from: { path: "^(src|agent|cli)/", pathNot: Object.keys(layers).map(starts) },
    to: {},
  },
  {
    name: "pure folders use no package but zod and ipaddr.js, and no platform",
    severity: "error",
    from: { path: pure },
    to: { pathNot: ["^(src|agent)/", "^node_modules/(zod|ipaddr\\.js)/"] },
  },
  {
    name: "the edge uses nothing of Node.js",
    severity: "error",
    from: edge,
    to: { dependencyTypes: ["core"] },
  },
  {
    name: "programs use no package of development",
    severity: "error",
    // wrangler is installed with the command. The bundler is for those alone who build.
    from: { path: "^(src|agent|cli)/", pathNot: loaders },
    to: { path: "^node_modules/", pathNot: [bundled, "^node_modules/wrangler/"], dependencyTypesNot: ["type-only"] },
  },
  {
    name: "what runs for as long as the edge does loads neither wrangler nor a bundler",
    severity: "error",
    // Why: docs/design.md, the self-hosted edge. The files that do load them are programs, which nobody imports, and what those import.
    from: { path: "^src/(host|demo)/", pathNot: loaders },
    to: { path: [loaders, "^node_modules/(wrangler|esbuild|miniflare)/"], reachable: true },
  },
  {
    name: "no import leads nowhere",
    severity: "error",
    from: {},
    to: { couldNotResolve: true, pathNot: "^cloudflare:" },
  },
  {
    name: "no cycles, types included",
    severity: "error",
    from: {},
    to: { circular: true },
  },
  {
    name: "everything is reached from a program",
    severity: "error",
    from: { path: entries },
    to: { path: "^(src|agent|cli)/", pathNot: entries, reachable: false },
  },
  {
    name: "no orphans",
    severity: "error",
    from: { path: "^(src|agent|cli)/", pathNot: entries, orphan: true },
    to: {},
  },
];

const roots = ["src", "agent", "cli"];
const options = {
  validate: true,
  ruleSet: { forbidden: rules },
  tsPreCompilationDeps: true as const,
  doNotFollow: { path: "node_modules" },
  enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["workerd", "node", "import", "types"] },
};
const tsConfig = extractTSConfig("src/tsconfig.json");
const { output } = await cruise(roots, { ...options, outputType: "json" }, {}, { tsConfig });
if (typeof output !== "string") throw new Error("dependency-cruiser gave no JSON");
const { modules, summary } = JSON.parse(output) as ICruiseResult;

const read = new Set(modules.filter((module) => module.dependencies.length > 0).map((module) => module.source));
const onDisk = globSync(roots.map((root) => `${root}/**/*.{ts,tsx}`));
const seen = new Set(modules.map((module) => module.source));
const missed = onDisk.filter((file) => !seen.has(file));
if (onDisk.length === 0 || missed.length > 0 || read.size === 0) {
  console.error(`layers: not checked: read ${read.size} files with imports; unread: ${missed.join(", ") || "all"}`);
  console.error("Is `typescript` in node_modules a version that dependency-cruiser can use (below 7)?");
  process.exit(1);
}
for (const { rule, from, to } of summary.violations) {
  console.error(`${from} → ${to}\n    breaks: ${rule.name}`);
}
const imports = modules.reduce((sum, module) => sum + module.dependencies.length, 0);
console.log(`layers: ${onDisk.length} files, ${imports} imports, ${summary.violations.length} violations`);
process.exitCode = summary.violations.length > 0 ? 1 : 0;
