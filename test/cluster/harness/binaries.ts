// Kubernetes, CoreDNS and agnhost, built from their Go modules (harness/build/) into a cache outside the work tree (cache.ts), once for each
// content of those modules; likewise Kubernetes' own tests (upstream/e2e/) and the newest kube-proxy (proxy/build/), which
// are built only when they are asked for. Each set has a hash of its own, so that a new release of one rebuilds no other.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { globSync, readFileSync, symlinkSync } from "node:fs";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { onceInCache } from "./cache.ts";
import { succeeds } from "./command.ts";

const folderOfCluster = new URL("..", import.meta.url).pathname;

/** The names by which main.go knows what to be. */
const parts = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "kubectl",
];

const version = "k8s.io/component-base/version";
const release = [`-X ${version}.gitVersion=v1.34.4`, `-X ${version}.gitMajor=1`, `-X ${version}.gitMinor=34`];
const newest = [`-X ${version}.gitVersion=v1.37.2`, `-X ${version}.gitMajor=1`, `-X ${version}.gitMinor=37`];

interface Program {
  readonly name: string;
  /** Folder of its Go module, below that of the set. */
  readonly module: string;
  readonly package: string;
  readonly flags: string;
  /** The package's tests, as a program. */
  readonly tests?: true;
}

const programs: readonly Program[] = [
  { name: "kubernetes", module: ".", package: ".", flags: ["-s -w", ...release].join(" ") },
  { name: "agnhost", module: ".", package: "k8s.io/kubernetes/test/images/agnhost", flags: "-s -w" },
  { name: "coredns", module: "coredns", package: "github.com/coredns/coredns", flags: "-s -w" },
];

const testPrograms: readonly Program[] = [
  { name: "e2e.test", module: ".", package: ".", flags: ["-s -w", ...release].join(" "), tests: true },
  { name: "ginkgo", module: ".", package: "github.com/onsi/ginkgo/v2/ginkgo", flags: "-s -w" },
];

const proxyPrograms: readonly Program[] = [
  { name: "kube-proxy", module: ".", package: ".", flags: ["-s -w", ...newest].join(" ") },
];

/** The folder that has all of them, under their usual names. */
export function ensureBinaries(say: (line: string) => void): Promise<string> {
  const expectation = "Kubernetes from its Go modules: 6 to 8 minutes on two cores";
  return ensureSet("harness/build/", programs, expectation, say, (folder) => {
    for (const part of parts) symlinkSync("kubernetes", `${folder}/${part}`);
  });
}

/** The folder of e2e.test, Kubernetes' tests of the network, and of ginkgo, which runs them in parallel. */
export function ensureTestBinaries(say: (line: string) => void): Promise<string> {
  return ensureSet("upstream/e2e/", testPrograms, "Kubernetes' own tests: 2 to 8 minutes on two cores", say);
}

/** The folder of the newest kube-proxy; the cluster's own is as old as the rest of the cluster. */
export function ensureNewestProxy(say: (line: string) => void): Promise<string> {
  return ensureSet("proxy/build/", proxyPrograms, "kube-proxy 1.37.2: 6 to 7 minutes on two cores", say);
}

function ensureSet(
  source: string,
  set: readonly Program[],
  expectation: string,
  say: (line: string) => void,
  complete: (folder: string) => void = () => {},
): Promise<string> {
  const modules = folderOfCluster + source;
  return onceInCache(key(modules, set), async (partial) => {
    if (!(await succeeds(["go", "version"]))) {
      throw new Error("Kubernetes is built from source: install Go 1.24 or newer and put `go` on PATH");
    }
    say(`building ${expectation}, once for this machine`);
    for (const program of set) await build(modules, program, `${partial}/${program.name}`, say);
    complete(partial);
  });
}

function key(modules: string, set: readonly Program[]): string {
  const hash = createHash("sha256");
  const files = globSync("**/*.{mod,sum,go}", { cwd: modules }).sort();
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(modules + file));
  // How they are built counts too.
  return hash.update(JSON.stringify(set)).digest("hex").slice(0, 16);
}

async function build(modules: string, program: Program, output: string, say: (line: string) => void): Promise<void> {
  const started = Date.now();
  const seconds = (): number => Math.round((Date.now() - started) / 1000);
  // -v names a package once it is compiled; `go test` keeps that flag for the tests.
  const verb = program.tests ? ["test", "-c", "-vet=off"] : ["build", "-v"];
  const args = [...verb, "-trimpath", "-ldflags", program.flags, "-o", output, program.package];
  const go = spawn("nice", ["-n", "19", "go", ...args], {
    cwd: modules + program.module,
    // A module may ask for a newer Go than the machine's: then Go fetches that one as a module.
    env: { ...process.env, CGO_ENABLED: "0", GOTOOLCHAIN: "auto" },
    stdio: ["ignore", "inherit", "pipe"],
  });
  // Anything else that Go says is an error or a download.
  let compiled = 0;
  const said: string[] = [];
  const counted = (): string => (program.tests ? "" : `${compiled} packages compiled, `);
  const progress = setInterval(() => say(`  ${program.name}: ${counted()}${seconds()} s`), 15_000);
  createInterface({ input: go.stderr }).on("line", (line) => {
    compiled += 1;
    said.push(line);
    if (said.length > 20) said.shift();
  });
  try {
    const [code] = (await once(go, "close")) as [number | null];
    if (code !== 0) throw new Error(`go build of ${program.name} failed:\n${said.join("\n")}`);
  } finally {
    clearInterval(progress);
  }
  say(`  ${program.name}: built in ${seconds()} s`);
}
