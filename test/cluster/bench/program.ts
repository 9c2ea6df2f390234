// One run of the program under test, inside the node's namespace: its start, what it costs, its end. Owns the process.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync } from "node:fs";
import { inside } from "../harness/places.ts";
import { now } from "./clock.ts";
import { node } from "./places.ts";
import { costOf } from "./processes.ts";
import { environment } from "./programs.ts";

/** Memory is looked at so often, ms: often enough for a tool that reads a whole table, seldom enough to cost nothing. */
const SAMPLE_MS = 50;

export class Program {
  readonly startedAt = now();
  readonly log: string;
  readonly #child: ChildProcess;
  readonly #pid: number;
  readonly #sampler: NodeJS.Timeout;
  #peakMiB = 0;
  /** Rejects when it ends, though nobody has ended it. */
  readonly ended: Promise<never>;
  #isWanted = true;

  constructor(command: readonly string[], log: string) {
    this.log = log;
    const output = openSync(log, "a");
    // nsenter becomes the program: its pid is the program's.
    const [enter = "", ...args] = [...inside(node.netns), ...command];
    this.#child = spawn(enter, args, {
      stdio: ["ignore", output, output],
      env: { ...process.env, ...environment },
    });
    this.#pid = this.#child.pid ?? 0;
    this.#sampler = setInterval(() => this.#sample(), SAMPLE_MS);
    this.ended = new Promise((_, reject) => {
      this.#child.on("exit", (code, signal) => {
        clearInterval(this.#sampler);
        if (this.#isWanted) reject(new Error(`it ended by itself (${signal ?? code}); it said: ${this.lastWords()}`));
      });
    });
    // Whoever waits for something races with it; an end in between is found by the next one.
    this.ended.catch(() => {});
  }

  /** Its tools included; s. */
  get cpuS(): number {
    return costOf(this.#pid).cpuS;
  }

  /** Since the start; its tools included. */
  get peakMiB(): number {
    this.#sample();
    return this.#peakMiB;
  }

  lastWords(): string {
    const lines = readFileSync(this.log, "utf8").trim().split("\n").filter(Boolean);
    return lines.slice(-3).join(" | ").slice(-400);
  }

  /** With no word of warning; its rules stay. */
  async kill(): Promise<void> {
    this.#isWanted = false;
    clearInterval(this.#sampler);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exit;
  }

  #sample(): void {
    this.#peakMiB = Math.max(this.#peakMiB, costOf(this.#pid).residentMiB);
  }
}
