// Kubernetes, CoreDNS and agnhost, built from their Go modules (build/) into a cache outside the work tree, once for each
// content of those modules. Owns that cache; a build that broke off is never taken for a whole one.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { once } from "node:events";
import { homedir } from "node:os";
import { createInterface } from "node:readline";
import { succeeds } from "./command.ts";

const modules = new URL("build/", import.meta.url).pathname;
const cache = `${homedir()}/.cache/postern-cluster`;

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

const programs = [
  { name: "kubernetes", module: ".", package: ".", flags: ["-s -w", ...release].join(" ") },
  { name: "agnhost", module: ".", package: "k8s.io/kubernetes/test/images/agnhost", flags: "-s -w" },
  { name: "coredns", module: "coredns", package: "github.com/coredns/coredns", flags: "-s -w" },
];

/** The folder that has all of them, under their usual names. */
export async function ensureBinaries(say: (line: string) => void): Promise<string> {
  const folder = `${cache}/${key()}`;
  if (existsSync(folder)) return folder;
  if (!(await succeeds(["go", "version"]))) {
    throw new Error("Kubernetes is built from source: install Go 1.24 or newer and put `go` on PATH");
  }
  say("building Kubernetes from its Go modules: 6 to 8 minutes on two cores, once for this machine");
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(`${cache}/building-`);
  try {
    for (const program of programs) await build(program, `${partial}/${program.name}`, say);
    for (const part of parts) symlinkSync("kubernetes", `${partial}/${part}`);
    renameSync(partial, folder);
  } catch (error) {
    // Another `up` may have been quicker; then its result is as good.
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return folder;
}

function key(): string {
  const hash = createHash("sha256");
  const files = globSync("**/*.{mod,sum,go}", { cwd: modules }).sort();
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(modules + file));
  // How they are built counts too.
  return hash.update(JSON.stringify(programs)).digest("hex").slice(0, 16);
}

async function build(program: (typeof programs)[number], output: string, say: (line: string) => void): Promise<void> {
  const started = Date.now();
  const args = ["-n", "19", "go", "build", "-v", "-trimpath", "-ldflags", program.flags, "-o", output, program.package];
  const go = spawn("nice", args, {
    cwd: modules + program.module,
    env: { ...process.env, CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "pipe"],
  });
  // -v names a package once it is compiled; anything else that Go says is an error or a download.
  let compiled = 0;
  const said: string[] = [];
  const progress = setInterval(() => say(`  ${program.name}: ${compiled} packages compiled`), 15_000);
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
  say(`  ${program.name}: built in ${Math.round((Date.now() - started) / 1000)} s`);
}
