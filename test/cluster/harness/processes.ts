// Programs that outlive the command that started them: start, find again, end. Each has a record in `work`, by pid and
// start time, so that a pid which the kernel gave to somebody else is never signalled.
// Survives: the programs and their records. A record is written right after its program started.
import { spawn } from "node:child_process";
import { mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { run } from "./command.ts";
import { work } from "./places.ts";

const records = `${work}/processes`;
const recordSchema = z.strictObject({ pid: z.int().positive(), started: z.string() });
type Recorded = z.infer<typeof recordSchema>;

/** Starts it unless it runs already; its output goes to `work`/logs/<name>.log. */
export function ensureProcess(name: string, command: readonly string[]): void {
  if (isRunning(name)) return;
  mkdirSync(records, { recursive: true });
  mkdirSync(`${work}/logs`, { recursive: true });
  const log = openSync(logOf(name), "a");
  const [program = "", ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: ["ignore", log, log] });
  child.on("error", () => {}); // the caller waits for what it serves, and names the log when that does not come
  if (child.pid === undefined) throw new Error(`${program} cannot be started: is it installed?`);
  const record: Recorded = { pid: child.pid, started: startOf(child.pid) ?? "gone" };
  writeFileSync(`${records}/${name}.json`, JSON.stringify(record));
  child.unref();
}

export const logOf = (name: string): string => `${work}/logs/${name}.log`;

export const isRunning = (name: string): boolean => pidOf(name) !== undefined;

/** Undefined: it does not run. */
export function pidOf(name: string): number | undefined {
  const record = readRecord(name);
  return record !== undefined && startOf(record.pid) === record.started ? record.pid : undefined;
}

/** Processes in a network namespace that were called with this argument; one that ends meanwhile is not among them. */
export async function pidsIn(netns: string, argument: string): Promise<number[]> {
  const pids = (await run(["ip", "netns", "pids", netns])).trim().split("\n").map(Number);
  return pids.filter((pid) => readOrEmpty(`/proc/${pid}/cmdline`).split("\0").includes(argument));
}

export function recordedNames(): string[] {
  return listOrNone(records).map((file) => file.replace(/\.json$/, ""));
}

/** Ends it at once and waits until it is gone. Nothing of it is needed afterwards, so it is not asked politely. */
export async function endProcess(name: string, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
  const record = readRecord(name);
  if (record !== undefined && startOf(record.pid) === record.started) await end(record, signal);
  rmSync(`${records}/${name}.json`, { force: true });
}

/** Ends what containerd's shims and containers are: they have no record, but name `work` or belong to our groups. */
export async function endPids(pids: readonly number[]): Promise<void> {
  await Promise.all(
    pids.map(async (pid) => {
      const started = startOf(pid);
      if (started !== undefined) await end({ pid, started }, "SIGKILL");
    }),
  );
}

/** Shims of our containerds: each is told the socket of its own. */
export function shims(): number[] {
  return listOrNone("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const [program = "", ...args] = readOrEmpty(`/proc/${pid}/cmdline`).split("\0");
      return program.includes("containerd-shim") && args.some((arg) => arg.startsWith(`${work}/`));
    });
}

/** Until it is true; `what` says what was waited for, and which log tells why it did not come. */
export async function until(what: string, met: () => Promise<boolean> | boolean, seconds = 60): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await met())) {
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await delay(100);
  }
}

async function end({ pid, started }: Recorded, signal: NodeJS.Signals): Promise<void> {
  try {
    process.kill(pid, signal);
  } catch {
    return; // gone in this instant
  }
  await until(`the end of process ${pid}`, () => startOf(pid) !== started, 30);
}

/** Clock ticks since boot, a name for this very process; undefined when it is gone, or dead and only not yet buried. */
function startOf(pid: number): string | undefined {
  // "77 (name, which may hold blanks and parentheses) S 1 …": the state is the third field, the start the 22nd.
  const stat = readOrEmpty(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return stat === "" || fields[0] === "Z" ? undefined : fields[19];
}

function readRecord(name: string): Recorded | undefined {
  const text = readOrEmpty(`${records}/${name}.json`);
  return text === "" ? undefined : recordSchema.parse(JSON.parse(text));
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function listOrNone(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
