// One child process: its start, its output, its end. Each leads a process group of its own, so that Ctrl-C in the
// terminal reaches the supervisor alone (which stops things in order) and so that a child's own children end with it.
// Kills only groups that it started. Its output goes to a file of bounded size, and so does how it ended.
import { type ChildProcess, spawn } from "node:child_process";
import { relative } from "node:path";
import { createInterface } from "node:readline";
import { LogFile } from "./log-file.ts";
import { folder, type Program, programFile } from "./programs.ts";

/** After SIGTERM; workerd, for one, survives it while a stream is open. */
const GRACE_MS = 3_000;
const LAST_LINES = 20;
const LAST_LINE_MAX = 500;

export interface ChildOptions {
  /** For people: "node node-a". */
  readonly name: string;
  readonly program: Program;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly log: string;
  /** Each line that it prints. */
  readonly onLine?: (line: string, on: "stdout" | "stderr") => void;
}

export class Child {
  readonly name: string;
  readonly pid: number;
  /** How it ended, in words: "was killed (SIGKILL)", "ended with code 1". */
  readonly exited: Promise<string>;
  /** A shell command that starts the same again. */
  readonly command: string;
  ended = false;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];

  constructor(options: ChildOptions) {
    this.name = options.name;
    const file = programFile(options.program);
    const args = [file, ...options.args];
    this.command = [shown(process.execPath), shown(file), ...options.args].join(" ");
    const child = spawn(process.execPath, ["--import", programFile("tether"), ...args], {
      cwd: folder,
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, ...options.env },
    });
    this.#process = child;
    // What fails after the start (a message to one that is gone) shows as its end; what fails at it is thrown below.
    child.on("error", () => {});
    const { pid } = child;
    if (pid === undefined)
      throw new Error(`${options.name} could not be started: ${process.execPath} ${args.join(" ")}`);
    this.pid = pid;
    const log = new LogFile(options.log);
    log.note(`${options.name} started (pid ${pid})`);
    for (const on of ["stdout", "stderr"] as const) {
      const stream = child[on];
      if (!stream) continue;
      createInterface({ input: stream }).on("line", (line) => {
        log.write(line);
        this.#lines.push(line.slice(0, LAST_LINE_MAX));
        if (this.#lines.length > LAST_LINES) this.#lines.shift();
        options.onLine?.(line, on);
      });
    }
    // "close", not "exit": only then all of its last lines have arrived. But what it left behind may hold the pipes.
    child.once("exit", () => this.kill());
    this.exited = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        this.ended = true;
        const how = signal ? `was killed (${signal})` : `ended with code ${code}`;
        log.note(`${options.name} ${how}`);
        log.close();
        resolve(how);
      });
    });
  }

  /** The next message over the IPC channel; rejects, with its last lines, if it ends first. */
  async message(): Promise<unknown> {
    const message = new Promise<unknown>((resolve) => this.#process.once("message", resolve));
    const gone = this.exited.then((how) => {
      throw new Error(`${this.name} ${how} before it was ready. Its last lines:\n${this.lastLines()}`);
    });
    return Promise.race([message, gone]);
  }

  send(message: object): void {
    this.#process.send(message);
  }

  lastLines(): string {
    return this.#lines.map((line) => `  ${line}`).join("\n") || "  (it printed nothing)";
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.kill(), GRACE_MS);
    await this.exited;
    clearTimeout(timer);
  }

  /** At once, with all that it started. */
  kill(): void {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch (error) {
      // Nobody is left in its group, which is the aim. (ESRCH; macOS says EPERM while the last one is a zombie.)
      if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "EPERM")))
        throw error;
    }
  }
}

/** A path as short as it may be where the person is: relative, unless that leads up. */
function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}
