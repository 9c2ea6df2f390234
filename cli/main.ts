// `postern`: owns the process, its terminal and its exit code. See program.ts for what it can do.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { CommanderError } from "commander";
import { directly } from "../src/host/command-line.ts";
import { sendByHttp } from "../src/host/send.ts";
import { configFile, readConfig, writeConfig } from "./config/store.ts";
import { exitCodes, Failed } from "./failed.ts";
import { printable } from "./output.ts";
import { keepSecret, replaceOwn } from "./own-file.ts";
import { programOf } from "./program.ts";
import type { Effects } from "./session.ts";

const config = configFile(process.env);
const effects: Effects = {
  environment: process.env,
  send: sendByHttp,
  readConfig: () => readConfig(config),
  writeConfig: (next) => writeConfig(config, next),
  print: (written) => void process.stdout.write(written),
  tell: (line) => void process.stderr.write(`${line}\n`),
  readText: (file) => (file === "-" ? text(process.stdin) : Promise.resolve(read(file))),
  keepSecret,
  askSecret,
  run: (program, args, input = "", environment = {}) =>
    new Promise((resolve, reject) => {
      const options = { maxBuffer: 64 * 1024 * 1024, env: { ...process.env, ...environment } };
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        const { code } = error ?? {};
        if (typeof code === "string")
          reject(new Failed(`${program} cannot be run: ${code}`, { next: `install ${program}` }));
        else resolve({ code: code ?? (error === null ? 0 : 1), stdout, stderr });
      });
      // It may end without having read all; what it says counts.
      child.stdin?.on("error", () => {});
      child.stdin?.end(input);
    }),
  startHere: async (program, args) => {
    // What serves goes on when nobody reads what it says, or ends by itself.
    process.stdout.off("error", onStdoutError);
    const invoked = directly(`postern ${program}`);
    if (program === "dev") await (await import("../src/demo/start.ts")).start(args, invoked);
    else await (await import("../src/host/serve.ts")).serve(args, invoked);
  },
  writeBytes: replaceOwn,
  // https://no-color.org
  colour: process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "",
  pause: (ms) => pause(ms),
  now: () => performance.now(),
};

/** What reads the output may go early, as `head` does. */
process.stdout.on("error", onStdoutError);

try {
  await programOf(effects).parseAsync(process.argv);
} catch (error) {
  process.exitCode = codeOf(error);
}

function onStdoutError(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(0);
}

function codeOf(error: unknown): number {
  // It has said all itself; help is no failure.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage;
  if (!(error instanceof Failed)) {
    effects.tell(`This is a bug in Postern: ${error instanceof Error ? error.stack : String(error)}`);
    return exitCodes.failed;
  }
  effects.tell(`postern: ${printable(error.message)}`);
  if (error.next !== undefined) effects.tell(`Next: ${error.next}`);
  return error.code;
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Failed(`${file} cannot be read: ${(error as Error).message}`, { code: exitCodes.usage });
  }
}

/** The terminal shows the question and nothing of the answer. */
async function askSecret(question: string): Promise<string | undefined> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY) return undefined;
  stderr.write(question);
  stdin.setRawMode(true);
  try {
    let typed = "";
    for await (const chunk of stdin) {
      for (const char of String(chunk)) {
        if (char === "\r" || char === "\n") return typed;
        if (char === "\u0003") throw new Failed("ended by Ctrl-C");
        typed = char === "\u007f" ? typed.slice(0, -1) : typed + char;
      }
    }
    return typed;
  } finally {
    stdin.setRawMode(false);
    stderr.write("\n");
  }
}
