// Runs the system's programs (nft, iptables-restore, conntrack, …) for the executors. The only place of the data plane that starts
// a process. It owns the process until it ends, kills it after a limit, and never throws for what the program does.
import { spawn } from "node:child_process";

export interface Ran {
  /** The exit code; undefined where the program could not be started or did not end by itself. */
  readonly code: number | undefined;
  readonly stdout: string;
  /** Of a program that did not start or was killed: why, in words. At most OUTPUT_MAX characters, from the beginning. */
  readonly stderr: string;
}

/** `input` goes to standard input as it is. */
export type Run = (program: string, args: readonly string[], input?: string) => Promise<Ran>;

/** A table of 30,000 Services took seconds on a small board; minutes mean that the program hangs. */
const LIMIT_MS = 5 * 60_000;
/** Standard error beyond this is dropped: nft repeats a line for each bad element. */
const OUTPUT_MAX = 64 * 1024;

export const run: Run = (program, args, input = "") =>
  new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], timeout: LIMIT_MS, killSignal: "SIGKILL" });
    const stdout: Buffer[] = [];
    let stderr = "";
    child.stdout.on("data", (bytes: Buffer) => stdout.push(bytes));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (stderr.length < OUTPUT_MAX) stderr = (stderr + text).slice(0, OUTPUT_MAX);
    });
    // A program that ends before it has read everything says why on standard error.
    child.stdin.on("error", () => undefined).end(input);
    const end = (code: number | undefined, why: string) =>
      resolve({ code, stdout: Buffer.concat(stdout).toString("utf8"), stderr: why === "" ? stderr : why });
    child.once("error", (error) => end(undefined, `${program} cannot be run: ${error.message}`));
    child.once("close", (code, signal) =>
      signal === null ? end(code ?? undefined, "") : end(undefined, `${program} was ended by ${signal}. ${stderr}`),
    );
  });
