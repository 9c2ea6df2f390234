// Runs the commands of the documents as their readers would: each document in a fresh checkout and home, one command after the other,
// against a real edge and a real API server. Prints one line of JSON for each command. To be started in network, mount and PID
// namespaces of its own, as root: it gives this machine the documents' address, and names in /etc/hosts.
//   unshare --net --pid --mount --fork --mount-proc --kill-child node test/documents/play.ts [document …]
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ensureBinaries } from "../cluster/harness/binaries.ts";
import { CloudflareStandIn } from "../cli/deploy/stand-in.ts";
import type { Command } from "./blocks.ts";
import { Cluster } from "./cluster.ts";
import { commands, documents, root } from "./documents.ts";
import { before, entryOf } from "./table.ts";

export interface Played {
  readonly document: string;
  readonly line: number;
  readonly command: string;
  /** null: it was ended, since it took too long. */
  readonly code: number | null;
  readonly output: string;
}

const COMMAND_MS = 300_000;
const RETRIED_MS = 60_000;

class Reader {
  readonly #folder: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #serving = new Map<string, ChildProcess>();
  /** All that was printed so far. */
  #printed = "";

  constructor(folder: string, environment: NodeJS.ProcessEnv) {
    this.#folder = folder;
    this.#environment = { ...environment, HOME: join(folder, "home") };
    mkdirSync(join(folder, "home"));
    mkdirSync(join(folder, "checkout"));
    const own = new Set([".git", ".postern", ".wrangler", "dist"]);
    for (const name of readdirSync(root).filter((each) => !own.has(each)))
      symlinkSync(join(root, name), join(folder, "checkout", name));
  }

  async run({ document, line, text, key }: Command): Promise<Played | undefined> {
    const { leftOut, testedBy, serves, retried, first, replace = [] } = entryOf(document, key);
    if (leftOut !== undefined || testedBy !== undefined) return undefined;
    let script = this.#filledIn(text);
    for (const [written, here] of replace) script = script.replace(written, () => here);
    const [, name, value] = /^export (\w+)=(\S*)$/.exec(script) ?? [];
    if (name !== undefined) this.#environment[name] = value;
    const played = (code: number | null, output: string) => ({ document, line, command: text, code, output });
    if (serves !== undefined) return played(...(await this.#serve(key, script, serves)));
    const end = performance.now() + (retried === undefined ? 0 : RETRIED_MS);
    if (first !== undefined) {
      const [code, output] = await this.#shell(first);
      if (code !== 0) return played(code, `${first}: ${output}`);
    }
    for (;;) {
      const [code, output] = await this.#shell(script);
      if (code === 0 || performance.now() >= end) return played(code, output);
      await pause(500);
    }
  }

  /** As Ctrl-C does, newest first. */
  async end(): Promise<void> {
    for (const child of [...this.#serving.values()].toReversed()) {
      if (child.exitCode !== null) continue;
      const closed = once(child, "close");
      process.kill(-(child.pid as number), "SIGINT");
      await closed;
    }
    this.#serving.clear();
  }

  /** An install code is the last one that was printed, as the reader would take it. */
  #filledIn(text: string): string {
    return text.replace(/psi_(\w+)_…/, (written, cluster: string) => {
      const printed = [...this.#printed.matchAll(new RegExp(`psi_${cluster}_[\\w-]+`, "g"))];
      return printed.at(-1)?.[0] ?? written;
    });
  }

  #spawn(script: string): ChildProcess {
    const child = spawn("bash", ["-c", script], {
      cwd: join(this.#folder, "checkout"),
      env: this.#environment,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (part) => (this.#printed += String(part)));
    return child;
  }

  async #shell(script: string): Promise<[number | null, string]> {
    const begin = this.#printed.length;
    const child = this.#spawn(script);
    const timer = setTimeout(() => process.kill(-(child.pid as number), "SIGKILL"), COMMAND_MS);
    const [code] = (await once(child, "close")) as [number | null];
    clearTimeout(timer);
    return [code, this.#printed.slice(begin)];
  }

  /** 0 once it is ready; then it runs on, until another one or the end of the document. One that runs already is not started again. */
  async #serve(key: string, script: string, ready: RegExp): Promise<[number | null, string]> {
    if (this.#serving.has(key)) return [0, "it runs already"];
    await this.end();
    const begin = this.#printed.length;
    const child = this.#spawn(`exec ${script}`);
    this.#serving.set(key, child);
    const output = () => this.#printed.slice(begin);
    const closed = once(child, "close");
    for (const end = performance.now() + COMMAND_MS; !ready.test(output()); )
      if ((await Promise.race([closed, pause(100)])) !== undefined || performance.now() >= end)
        return [child.exitCode, output()];
    return [0, output()];
  }
}

/** kubectl is the test cluster's own, and `postern` that of this checkout, as in a shell where both are installed. */
async function programs(folder: string): Promise<string> {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  symlinkSync(join(await ensureBinaries((line) => process.stderr.write(`${line}\n`)), "kubectl"), join(bin, "kubectl"));
  writeFileSync(join(bin, "postern"), `#!/bin/sh\nexec ${process.execPath} ${root}cli/main.ts "$@"\n`);
  chmodSync(join(bin, "postern"), 0o755);
  return bin;
}

function becomeTheirMachine(folder: string): void {
  const run = (program: string, ...args: string[]) => execFileSync(program, args, { stdio: "inherit" });
  run("ip", "link", "set", "lo", "up");
  for (const address of ["192.168.1.10/24", "10.244.0.2/24"]) run("ip", "address", "add", address, "dev", "lo");
  writeFileSync(join(folder, "hosts"), "127.0.0.1 localhost\n192.168.1.10 web-default-home.apps.home.arpa\n");
  run("mount", "--bind", join(folder, "hosts"), "/etc/hosts");
}

async function play(document: string, cluster: Cluster, folder: string, environment: NodeJS.ProcessEnv): Promise<void> {
  const own = commands.filter((each) => each.document === document);
  if (own.length === 0) return;
  // An account in which nothing is yet.
  const cloudflare = await CloudflareStandIn.start();
  cloudflare.tokens.set("token-of-cloudflare", new Set(["account", "scripts", "routes", "dns"]));
  for (const zone of ["example.com", "example.net"]) cloudflare.zones.set(zone, `zone${cloudflare.zones.size}`);
  const reader = new Reader(folder, { ...environment, CLOUDFLARE_API_BASE_URL: cloudflare.url });
  const prelude = (before[document] ?? []).map((text) => ({ document, line: 0, text, key: text }));
  try {
    for (const command of [...prelude, ...own]) {
      const played = await reader.run(command);
      if (played !== undefined) process.stdout.write(`${JSON.stringify(played)}\n`);
    }
    await cluster.clear();
  } finally {
    await reader.end();
    await cloudflare.stop();
  }
}

if (import.meta.main) {
  const folder = mkdtempSync(join(tmpdir(), "postern-documents-"));
  const cluster = new Cluster();
  try {
    becomeTheirMachine(folder);
    await cluster.start();
    const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD|NODE_|VITEST|POSTERN_)/.test(name));
    const environment = {
      ...Object.fromEntries(kept),
      PATH: `${await programs(folder)}:${process.env["PATH"]}`,
      KUBECONFIG: cluster.kubeconfig(["home", "rack"]),
    };
    const asked = process.argv.slice(2);
    for (const document of documents.filter((each) => asked.length === 0 || asked.includes(each)))
      await play(document, cluster, mkdtempSync(join(folder, "document-")), environment);
  } finally {
    await cluster.stop();
    rmSync(folder, { recursive: true });
  }
}
