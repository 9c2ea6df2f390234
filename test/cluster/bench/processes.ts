// What a program and the tools that it starts have cost: processor time and memory, out of /proc. Nothing is asked of the program.
import { readdirSync, readFileSync } from "node:fs";

/** Of /proc's clock: 100 a second on all machines that Node.js runs on. */
const TICKS_A_SECOND = 100;
const PAGE_BYTES = 4096;

interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Its own and that of the children that have ended, s. */
  readonly cpuS: number;
  readonly residentBytes: number;
}

/** The line of /proc/PID/stat; undefined: no such line. */
export function parseStat(stat: string): Process | undefined {
  // "77 (name, which may hold blanks and parentheses) S 1 …"
  const name = stat.lastIndexOf(")");
  if (name < 0) return undefined;
  const fields = stat.slice(name + 2).split(" ");
  const at = (number: number): number => Number(fields[number - 3]);
  return {
    pid: Number.parseInt(stat, 10),
    parent: at(4),
    cpuS: (at(14) + at(15) + at(16) + at(17)) / TICKS_A_SECOND,
    residentBytes: at(24) * PAGE_BYTES,
  };
}

/** That process and all below it. The private namespace has few processes: to look at all of them costs little. */
function treeOf(root: number): Process[] {
  const all = readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const found = parseStat(readOrEmpty(`/proc/${name}/stat`));
    return found === undefined ? [] : [found];
  });
  const below = (pid: number): Process[] =>
    all.filter(({ parent }) => parent === pid).flatMap((each) => [each, ...below(each.pid)]);
  return [...all.filter(({ pid }) => pid === root), ...below(root).filter((each) => !isStillItsParent(each))];
}

/** Between fork and exec it shares its parent's memory, which would be counted twice. */
function isStillItsParent({ pid, parent }: Process): boolean {
  return readOrEmpty(`/proc/${pid}/cmdline`) === readOrEmpty(`/proc/${parent}/cmdline`);
}

export interface Cost {
  readonly cpuS: number;
  readonly residentMiB: number;
}

export function costOf(root: number): Cost {
  const tree = treeOf(root);
  const sum = (pick: (each: Process) => number): number => tree.reduce((total, each) => total + pick(each), 0);
  return { cpuS: sum(({ cpuS }) => cpuS), residentMiB: sum(({ residentBytes }) => residentBytes) / 2 ** 20 };
}

/** Busy share of all processors between two readings of the first line of /proc/stat, which was read like this. */
export function readBusy(): { readonly busy: number; readonly all: number } {
  const [, ...numbers] = (readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "").split(/ +/).map(Number);
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0] = numbers;
  const busy = user + nice + system + irq + softirq;
  return { busy, all: busy + idle + iowait };
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // it has ended meanwhile
  }
}
