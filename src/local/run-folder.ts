// The folder .postern: the demo's YAML, which its user edits and which outlives a run, and one folder for each run
// (secrets, logs, the edge's SQLite files), which does not. It ignores itself in git. Run folders of runs that were
// killed are removed at the next start.
import { randomBytes } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const demo = fileURLToPath(new URL("demo/manifests", import.meta.url));

export interface RunFolder {
  readonly path: string;
  /** Writes a file that only this user can read; returns its path. */
  secret(name: string, value: string): string;
  log(name: string): string;
  remove(): void;
}

export function createRunFolder(base: string): RunFolder {
  mkdirSync(base, { recursive: true });
  writeFileSync(join(base, ".gitignore"), "*\n");
  for (const name of readdirSync(base)) {
    const pid = /^run-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(base, name), { recursive: true, force: true });
  }
  const path = join(base, `run-${process.pid}`);
  mkdirSync(join(path, "logs"), { recursive: true, mode: 0o700 });
  return {
    path,
    secret(name, value) {
      const file = join(path, name);
      writeFileSync(file, `${value}\n`, { mode: 0o600 });
      return file;
    },
    log: (name) => join(path, "logs", `${name.replaceAll(/[^a-z0-9.-]/gi, "-")}.log`),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** 256 bits. */
export function randomToken(): string {
  return randomBytes(32).toString("base64url");
}

/**
 * The demo's YAML at `folder`, left alone where it is there already. `oneAddress`: this machine has no loopback address
 * but 127.0.0.1 (macOS): nodes and pods then share it, and differ by their ports.
 */
export function seedManifests(folder: string, oneAddress: boolean): void {
  if (existsSync(folder)) return;
  cpSync(demo, folder, { recursive: true });
  if (!oneAddress) return;
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    writeFileSync(file, readFileSync(file, "utf8").replaceAll(/127\.[01]\.\d+\.\d+/g, "127.0.0.1"));
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
