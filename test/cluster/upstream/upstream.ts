// `npm run test:upstream -- SUITE [--focus REGEXP] [--procs N] [--dry-run]`: Kubernetes' own e2e tests against the test cluster
// with edge and agent, held against expectations.ts. Owns dist/upstream/SUITE, which each run writes anew: the JUnit report,
// the whole log, and one line a spec. The cluster is brought up where it is not, and stays up.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ensureTestBinaries } from "../harness/binaries.ts";
import { bringUp } from "../harness/cluster.ts";
import { control, inside, kubeconfig, kubectl, nodes } from "../harness/places.ts";
import { type Spec, suites } from "./expectations.ts";
import { judge, parseResults, type Result } from "./results.ts";

const root = new URL("../../..", import.meta.url).pathname;
const say = (line: string): void => console.error(`test:upstream: ${line}`);
const usage = `usage: npm run test:upstream -- SUITE [--focus REGEXP] [--procs N] [--dry-run]
       # SUITE: ${Object.keys(suites).join(", ")}; --focus: only specs whose name goes on with it; --procs: specs at a time, 4;
       # --dry-run: names the specs, needs no cluster`;

/** One run of ginkgo. */
interface Run {
  readonly folder: string;
  readonly focus: string;
  readonly leftOut: readonly Spec[];
  readonly procs: number;
  readonly dryRun: boolean;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      focus: { type: "string", default: "" },
      procs: { type: "string", default: "4" },
      "dry-run": { type: "boolean", default: false },
    },
  });
  const [name = ""] = positionals;
  const suite = suites[name];
  const procs = Number(values.procs);
  if (positionals.length !== 1 || suite === undefined || !Number.isInteger(procs) || procs < 1) {
    console.error(usage);
    return 2;
  }
  const focus = values.focus === "" ? suite.focus : `${suite.focus}.*(${values.focus})`;
  const chosen = suite.specs.filter((spec) => new RegExp(focus).test(spec.name));
  const leftOut = chosen.filter(({ expected }) => expected === "left out");
  const specs = chosen.filter(({ expected }) => expected !== "left out");
  if (specs.length === 0) throw new Error(`--focus ${values.focus}: no spec of ${name} has such a name`);

  const dryRun = values["dry-run"];
  // A dry run leaves alone what the last run found.
  const folder = `${root}dist/upstream/${name}${dryRun ? "-dry-run" : ""}`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const binaries = await ensureTestBinaries(say);
  if (!dryRun) await bringUp((line) => say(`cluster: ${line}`), { refuse: "reset" });
  say(`${specs.length} specs; report and log are in ${folder}`);
  const { results, code } = await runSpecs(binaries, { folder, focus, leftOut, procs, dryRun });
  // A dry run calls each of them passed.
  const { differences, summary } = judge(
    dryRun ? specs.map((spec) => ({ ...spec, expected: "passed" })) : specs,
    results,
  );
  for (const { name, why } of leftOut) console.log(`left out: ${name}\n  ${why}`);
  for (const difference of differences) console.log(difference);
  const well = differences.length === 0 && code === 0;
  if (!well) console.log(`not as expected (ginkgo ended with ${code}); what the specs did: ${folder}/log`);
  console.log(dryRun ? `${results.length} specs would run` : summary);
  return well ? 0 : 1;
}

/** Runs them to their end, and says how each went. */
async function runSpecs(binaries: string, run: Run): Promise<{ results: Result[]; code: number | null }> {
  const { folder, dryRun } = run;
  const output = `${folder}/results`;
  writeFileSync(output, "");
  const log = openSync(`${folder}/log`, "w");
  const [program = "", ...args] = commandOf(binaries, run);
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, POSTERN_RESULTS: output },
    stdio: ["ignore", log, log],
    detached: true, // a process group of its own, which a terminal's ^C does not reach without us
  });
  // Ginkgo's processes clean up what their specs made before they end: each is asked once, and waited for.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    });
  }
  let shown = 0;
  const show = (): Result[] => {
    const results = parseResults(readFileSync(output, "utf8"));
    for (const { state, seconds, name } of results.slice(shown)) {
      const how = dryRun ? "would run" : `${state} after ${Math.round(seconds)} s`;
      say(`${how}: ${name}`);
    }
    shown = results.length;
    return results;
  };
  const watcher = watch(output, show);
  try {
    const [code] = (await once(child, "close")) as [number | null];
    return { results: show(), code };
  } finally {
    watcher.close();
  }
}

function commandOf(binaries: string, { folder, focus, leftOut, procs, dryRun }: Run): string[] {
  const ginkgo = [
    ...[`${binaries}/ginkgo`, `--focus=${focus}`, ...leftOut.map(({ name }) => `--skip=${verbatim(name)}`)],
    ...[...(dryRun ? ["--dry-run"] : [`--procs=${procs}`]), "-v", "--no-color", "--timeout=2h"],
    ...[`${binaries}/e2e.test`, "--", "--provider=local", `--num-nodes=${nodes.length}`, `--report-dir=${folder}`],
    ...[`--kubeconfig=${kubeconfig("admin")}`, `--kubectl-path=${kubectl}`],
  ];
  if (dryRun) return ginkgo;
  // The edge's names lead to the edge for these processes alone: a mount of their own over the machine's resolver.
  const resolver = `${folder}/resolv.conf`;
  writeFileSync(resolver, `nameserver ${control.address}\n`);
  const mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
  const resolving = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, resolver];
  return [...resolving, ...inside(control.netns), ...ginkgo];
}

/** As a regular expression of Go's. */
function verbatim(name: string): string {
  return name.replace(/[^\w ]/g, "\\$&");
}
