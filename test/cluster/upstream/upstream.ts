// `npm run test:upstream -- SUITE [--focus REGEXP] [--procs N] [--proxy LIST] [--dry-run]`: Kubernetes' own e2e tests against the
// test cluster, held against expectations.ts. Owns dist/upstream/SUITE, and in it a folder for each proxy that the suite is run
// with, which each run writes anew: the JUnit report, the whole log, and one line a spec. The cluster is brought up where it is
// not, and stays up; between two proxies it is taken down.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ensureTestBinaries } from "../harness/binaries.ts";
import { bringUp } from "../harness/cluster.ts";
import { control, inside, kubeconfig, kubectl, nodes, type Proxy, work } from "../harness/places.ts";
import { stopCluster } from "../harness/stop.ts";
import { type Spec, type Suite, suites, verbatim } from "./expectations.ts";
import { judge, parseResults, type Result, table } from "./results.ts";

const root = new URL("../../..", import.meta.url).pathname;
const say = (line: string): void => console.error(`test:upstream: ${line}`);
const usage = `usage: npm run test:upstream -- SUITE [--focus REGEXP] [--procs N] [--proxy LIST] [--dry-run]
       # SUITE: ${Object.keys(suites).join(", ")}; --focus: only specs whose name goes on with it; --procs: specs at a time, 4;
       # --proxy: what forwards to Services, one run for each: kube-proxy,nftables (default: all that the suite has);
       # --dry-run: names the specs, needs no cluster`;

interface Selection {
  /** Regular expressions, for ginkgo. */
  readonly focus: string;
  readonly skip: readonly string[];
  /** The specs that are then left, and what is expected of them. */
  readonly specs: readonly Spec[];
  readonly procs: number;
}

/** One run of ginkgo. */
interface Run extends Omit<Selection, "specs"> {
  readonly folder: string;
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
      proxy: { type: "string" },
      "dry-run": { type: "boolean", default: false },
    },
  });
  const [name = ""] = positionals;
  const suite = suites[name];
  const procs = Number(values.procs);
  const proxies = suite && proxiesOf(suite, values.proxy);
  if (
    positionals.length !== 1 ||
    suite === undefined ||
    proxies === undefined ||
    !(Number.isInteger(procs) && procs > 0)
  ) {
    console.error(usage);
    return 2;
  }
  const focus = values.focus === "" ? suite.focus : `${suite.focus}.*(${values.focus})`;
  const chosen = suite.specs.filter((spec) => new RegExp(focus).test(spec.name));
  const leftOut = chosen.filter(({ expected }) => expected === "left out");
  const specs = chosen.filter(({ expected }) => expected !== "left out");
  if (specs.length === 0) throw new Error(`--focus ${values.focus}: no spec of ${name} has such a name`);

  const skip = [...leftOut.map((spec) => verbatim(spec.name)), ...(suite.skip === undefined ? [] : [suite.skip])];
  const binaries = await ensureTestBinaries(say);
  for (const { name, why } of leftOut) console.log(`left out: ${name}\n  ${why}`);
  const selection = { focus, skip, specs, procs };
  const well = values["dry-run"]
    ? await nameThem(binaries, name, selection)
    : await runThem(binaries, name, selection, suite, proxies);
  return well ? 0 : 1;
}

/** A dry run. It leaves alone what the last run found, and ginkgo calls each spec passed. */
async function nameThem(binaries: string, name: string, { specs, ...selection }: Selection): Promise<boolean> {
  const folder = anew(`${root}dist/upstream/${name}-dry-run`);
  const { results, code } = await runSpecs(binaries, { folder, ...selection, dryRun: true });
  const all = specs.map((spec) => ({ ...spec, expected: "passed" as const }));
  const well = conclude(judge(all, results).differences, code === 0, folder);
  console.log(`${results.length} specs would run`);
  return well;
}

/** True: with each proxy all went as expected. */
async function runThem(
  binaries: string,
  name: string,
  { specs, ...selection }: Selection,
  suite: Suite,
  proxies: readonly Proxy[],
): Promise<boolean> {
  if (proxies.length > 1 && existsSync(work)) {
    throw new Error("a cluster is up: npm run cluster:down first, or name the proxy that it has with --proxy");
  }
  const all = `${root}dist/upstream/${name}`;
  let allWell = true;
  for (const [at, proxy] of proxies.entries()) {
    if (at > 0) await stopCluster();
    await bringUp((line) => say(`cluster: ${line}`), { ...suite.cluster, ...(suite.proxies && { proxy }) });
    const folder = anew(suite.proxies === undefined ? all : folderOf(all, proxy));
    say(`${proxy}: ${specs.length} specs; report and log are in ${folder}`);
    const { results, code } = await runSpecs(binaries, { folder, ...selection, dryRun: false });
    const { differences, summary } = judge(specs, results);
    // Ginkgo fails where any spec does, also one that was expected to.
    const ended = code === 0 || (code !== null && specs.some(({ expected }) => expected === "failed"));
    if (!conclude(differences, ended, folder)) allWell = false;
    console.log(suite.proxies === undefined ? summary : `${proxy}: ${summary}`);
  }
  if (suite.proxies !== undefined) for (const line of table(found(all, suite.proxies))) console.log(line);
  return allWell;
}

/** Undefined: it names one that the suite does not have. */
function proxiesOf(suite: Suite, list: string | undefined): readonly Proxy[] | undefined {
  const { proxies = ["kube-proxy"] as const } = suite;
  if (list === undefined) return proxies;
  const wanted = list.split(",");
  const chosen = proxies.filter((proxy) => wanted.includes(proxy));
  return chosen.length === wanted.length ? chosen : undefined;
}

function folderOf(folder: string, proxy: Proxy): string {
  return `${folder}/${proxy}`;
}

function anew(folder: string): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** What was found with each proxy, by this run or an earlier one. */
function found(folder: string, proxies: readonly Proxy[]): Record<string, Result[]> {
  const ran = proxies.filter((proxy) => existsSync(`${folderOf(folder, proxy)}/results`));
  return Object.fromEntries(
    ran.map((proxy) => [proxy, parseResults(readFileSync(`${folderOf(folder, proxy)}/results`, "utf8"))]),
  );
}

/** True: all is as expected. */
function conclude(differences: readonly string[], endedWell: boolean, folder: string): boolean {
  for (const difference of differences) console.log(difference);
  const well = differences.length === 0 && endedWell;
  if (!well) console.log(`not as expected; what the specs and ginkgo did: ${folder}/log`);
  return well;
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

function commandOf(binaries: string, { folder, focus, skip, procs, dryRun }: Run): string[] {
  const ginkgo = [
    ...[`${binaries}/ginkgo`, `--focus=${focus}`, ...skip.map((names) => `--skip=${names}`)],
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
