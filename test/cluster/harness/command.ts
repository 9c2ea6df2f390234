// Runs one program to its end. Owns nothing: a program that fails is an error that shows what it said.
import { execFile } from "node:child_process";

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Milliseconds until it is killed; default 2 minutes, so that nothing hangs for ever. */
  readonly timeout?: number;
}

export function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const [program = "", ...args] = command;
  const { input, env, cwd, timeout = 120_000 } = options;
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { timeout, maxBuffer: 64 << 20, env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }) },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const said = (stderr || stdout).trim().split("\n").slice(-15).join("\n");
        reject(new Error(`${command.join(" ")}\n${said || error.message}`, { cause: error }));
      },
    );
    // A program that ends without reading its input is no failure of ours.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/** Whether it ran to its end without an error. */
export async function succeeds(command: readonly string[], options: RunOptions = {}): Promise<boolean> {
  return run(command, options).then(
    () => true,
    () => false,
  );
}
