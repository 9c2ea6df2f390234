// The processes that serve, ask and watch while a program is measured: each is one file, run inside a network namespace, and
// is spoken to by messages (messages.ts). Owns them; end() waits until they are gone.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { inside } from "../harness/places.ts";
import { answerSchemas, type Answers, type Command, replySchema, requestSchema } from "./messages.ts";

export class Helper {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();
  #ids = 0;

  private constructor(child: ChildProcess, name: string) {
    this.#child = child;
    child.on("message", (message) => {
      const { id, answer } = replySchema.parse(message);
      this.#waiting.get(id)?.resolve(answer);
      this.#waiting.delete(id);
    });
    child.on("exit", (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the ${name} has ended: ${signal ?? code}`));
      this.#waiting.clear();
    });
  }

  /** Resolves when it is ready. `prefix`: what runs it elsewhere, or on one processor. */
  static async start(file: string, args: readonly string[], prefix: readonly string[]): Promise<Helper> {
    const path = new URL(file, import.meta.url).pathname;
    const [program = "", ...rest] = [...prefix, process.execPath, path, ...args];
    const child = spawn(program, rest, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const ready = await Promise.race([once(child, "message"), once(child, "exit")]);
    if (child.exitCode !== null) throw new Error(`${file} has ended with ${String(ready[0])} before it was ready`);
    return new Helper(child, file);
  }

  async ask<Verb extends Command["do"]>(command: Extract<Command, { do: Verb }>): Promise<Answers[Verb]> {
    const id = this.#ids++;
    const answer = await new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, command });
    });
    return answerSchemas[command.do].parse(answer) as Answers[Verb];
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

export const helperIn = (netns: string, file: string, args: readonly string[] = []): Promise<Helper> =>
  Helper.start(file, args, inside(netns));

/** The other side: answers commands until the run goes. */
export function serveCommands(answer: (command: Command) => Promise<unknown> | unknown): void {
  process.on("disconnect", () => process.exit(0));
  process.on("message", (message) => {
    const { id, command } = requestSchema.parse(message);
    void Promise.resolve(answer(command)).then((answered) => process.send?.({ id, answer: answered }));
  });
  process.send?.("ready");
}
