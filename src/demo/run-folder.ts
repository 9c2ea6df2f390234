// The folder .postern: the demo's YAML, which its user edits and which outlives a run, and one folder for each run
// (secrets, logs, the edge's SQLite files), which does not. It ignores itself in git. Run folders of runs that were
// killed are removed at the next start: a run holds its folder's lock, which says more than a process id in a name, for
// ids come again, and others' containers have their own.
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { demoManifests } from "../host/process/programs.ts";
import { holderOf, Lock } from "../host/state/lock.ts";

/** Others are done with making their folder sooner. */
const MAKING_MS = 10_000;

export interface RunFolder {
  readonly path: string;
  /** Writes a file that only this user can read; returns its path. */
  secret(name: string, value: string): string;
  log(name: string): string;
  remove(): void;
}

export function createRunFolder(base: string): RunFolder {
  mkdirSync(base, { recursive: true, mode: 0o700 });
  writeFileSync(join(base, ".gitignore"), "*\n");
  // One run at a time looks and makes: a folder that is not locked yet would look like a dead one's.
  const making = locked(join(base, "making.lock"), "the start of another run", MAKING_MS);
  let path: string;
  let lock: Lock;
  try {
    for (const name of readdirSync(base)) if (name.startsWith("run-")) removeIfDead(join(base, name));
    path = mkdtempSync(join(base, "run-"));
    lock = locked(join(path, "lock"), path);
  } finally {
    making.release();
  }
  mkdirSync(join(path, "logs"), { mode: 0o700 });
  return {
    path,
    secret(name, value) {
      const file = join(path, name);
      writeFileSync(file, `${value}\n`, { mode: 0o600 });
      return file;
    },
    log: (name) => join(path, "logs", `${name.replaceAll(/[^a-z0-9.-]/gi, "-")}.log`),
    remove: () => {
      rmSync(path, { recursive: true, force: true });
      lock.release();
    },
  };
}

/** One run for a folder of YAML: two would start the same nodes and pods, and each stop the other's. */
export function lockManifests(base: string, manifests: string): Lock {
  const digest = createHash("sha256").update(realpathSync(manifests)).digest("hex").slice(0, 16);
  return locked(join(base, `manifests-${digest}.lock`), manifests);
}

function locked(file: string, what: string, waitMs = 0): Lock {
  const lock = Lock.take(file, waitMs);
  if (lock === undefined)
    throw new Error(
      `${what} is in use by another demo (${holderOf(file)}): stop that one, or give --manifests another folder.`,
    );
  return lock;
}

function removeIfDead(path: string): void {
  try {
    const lock = Lock.take(join(path, "lock"));
    if (lock === undefined) return;
    rmSync(path, { recursive: true, force: true });
    lock.release();
  } catch {
    // Another user's, and not ours to remove.
  }
}

/**
 * The demo's YAML at `folder`, left alone where it is there already. `oneAddress`: this machine has no loopback address
 * but 127.0.0.1 (macOS): nodes and pods then share it, and differ by their ports.
 */
export function seedManifests(folder: string, oneAddress: boolean): void {
  if (existsSync(folder)) return;
  cpSync(demoManifests, folder, { recursive: true });
  if (!oneAddress) return;
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    writeFileSync(file, readFileSync(file, "utf8").replaceAll(/127\.[01]\.\d+\.\d+/g, "127.0.0.1"));
  }
}
