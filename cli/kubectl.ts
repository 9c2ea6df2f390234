// The Kubernetes cluster of whoever runs a command, by his own kubectl and with his own rights.
import type { z } from "zod";
import { parseJson } from "../src/shared/net/reply.ts";
import { exitCodes, Failed } from "./failed.ts";
import type { Effects } from "./session.ts";

export class Kubectl {
  readonly #run: Effects["run"];
  readonly #own: readonly string[];

  /** `context`: absent: kubectl's current one. */
  constructor({ run }: Pick<Effects, "run">, context: string | undefined) {
    this.#run = run;
    this.#own = context === undefined ? [] : ["--context", context];
  }

  /** Its output. Throws what it says. */
  async call(args: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.#run("kubectl", [...this.#own, ...args], input);
    if (code === 0) return stdout;
    const why = stderr.trim().split("\n").slice(-3).join(" ");
    const isMissing = /\(NotFound\)/.test(stderr);
    throw new Failed(`kubectl ${args[0]} failed: ${why}`, {
      next: `kubectl ${[...this.#own, "cluster-info"].join(" ")}`,
      code: isMissing ? exitCodes.missing : exitCodes.failed,
    });
  }

  /** `what`: "deployment/web", or several words. */
  async get<T>(schema: z.ZodType<T>, ...what: readonly string[]): Promise<T> {
    const text = await this.call(["get", ...what, "-o", "json"]);
    const parsed = schema.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new Failed(`kubectl get ${what.join(" ")} shows something else: ${issue?.path.join(".")}: ${issue?.message}`);
  }
}
