// A helper process inside a network namespace, which is asked over its IPC channel and answers each question once. Owns the
// process, which ends with the run (isolation.ts).
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { z } from "zod";
import { inside } from "../harness/places.ts";

export class Channel<Question, Answer> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #ids = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** `file` is beside this one. The helper says that it is ready by its first message, and is sent nothing before. */
  static async open<Question, Answer>(
    place: string,
    file: string,
    args: readonly string[],
    answers: z.ZodType<Answer>,
  ): Promise<Channel<Question, Answer>> {
    const [program = "", ...prefix] = inside(place);
    const path = new URL(file, import.meta.url).pathname;
    const child = spawn(program, [...prefix, process.execPath, path, ...args], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    child.on("exit", (code) => {
      // Without it the table says nothing: the run ends, and all that it started.
      console.error(`${file} in ${place} has ended with ${code}`);
      process.exit(2);
    });
    const channel = new Channel<Question, Answer>(child);
    await once(child, "message");
    const replies = z.strictObject({ id: z.int(), answer: answers });
    child.on("message", (message) => {
      const { id, answer } = replies.parse(message);
      channel.#waiting.get(id)?.(answer);
      channel.#waiting.delete(id);
    });
    return channel;
  }

  ask(question: Question): Promise<Answer> {
    const id = this.#ids++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.send({ id, question });
    });
  }
}

/** The helper's end of it. Ends the helper with its parent. */
export function answerQuestions<Question, Answer>(
  questions: z.ZodType<Question>,
  answer: (question: Question) => Promise<Answer>,
): void {
  const asked = z.strictObject({ id: z.int(), question: questions });
  process.on("message", (message) => {
    const { id, question } = asked.parse(message);
    void answer(question).then((given) => process.send?.({ id, answer: given }));
  });
  process.on("disconnect", () => process.exit());
  process.send?.("ready");
}
