// The Kubernetes cluster of whoever runs a command, by his own kubectl and with his own rights.
import { z } from "zod";
import { parseJson } from "../src/shared/net/reply.ts";
import { exitCodes, Failed } from "./failed.ts";
import type { Effects } from "./session.ts";

/** What could be read of several kinds, and what could not. */
export interface Listed {
  readonly items: readonly unknown[];
  /** `what`: a kind in plural, "everything" where the cluster did not answer at all. */
  readonly refused: readonly { readonly what: string; readonly why: string }[];
}

const LIST_SECONDS = 5;

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
    const why = lastLines(stderr);
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

  /** The API server's, such as "v1.34.2"; undefined where it does not say. */
  async serverVersion(): Promise<string | undefined> {
    const asked = this.call(["get", "--raw", "/version", `--request-timeout=${LIST_SECONDS}s`]);
    return versionSchema.safeParse(parseJson(await asked.catch(() => ""))).data?.gitVersion;
  }

  /**
   * Objects of several kinds. Never throws for what the cluster says: kinds that this user may not list, or that there are none of, are
   * left out and named. `where`: "-A", or "-n" and a namespace; a namespace that is not there has nothing in it.
   */
  async list(kinds: readonly string[], where: readonly string[]): Promise<Listed> {
    const args = [...this.#own, "get", kinds.join(","), ...where, "-o", "json", `--request-timeout=${LIST_SECONDS}s`];
    let said: Awaited<ReturnType<Effects["run"]>>;
    try {
      said = await this.#run("kubectl", args);
    } catch (error) {
      return { items: [], refused: [{ what: "everything", why: (error as Error).message }] };
    }
    const items = listSchema.safeParse(parseJson(said.stdout)).data?.items;
    if (said.code === 0) return { items: items ?? [], refused: [] };
    const refused = refusedKinds(said.stderr);
    if (items !== undefined) return { items, refused };
    const left = kinds.filter((kind) => !refused.some(({ what }) => what === kind));
    // Some versions print nothing where one kind of several is refused.
    if (left.length === 0 || left.length === kinds.length)
      return {
        items: [],
        refused: refused.length > 0 ? refused : [{ what: "everything", why: lastLines(said.stderr) }],
      };
    const rest = await this.list(left, where);
    return { items: rest.items, refused: [...refused, ...rest.refused] };
  }
}

const versionSchema = z.object({ gitVersion: z.string() });
const listSchema = z.object({ items: z.array(z.unknown()) });

const lastLines = (text: string): string => text.trim().split("\n").slice(-3).join(" ");

/** Out of kubectl's words: one line for each kind. */
function refusedKinds(stderr: string): Listed["refused"] {
  return stderr.split("\n").flatMap((line) => {
    const [, what] =
      /cannot list resource "([a-z]+)"|the server doesn't have a resource type "([a-z]+)"/.exec(line) ?? [];
    const kind = what ?? /resource type "([a-z]+)"/.exec(line)?.[1];
    return kind === undefined ? [] : [{ what: kind, why: line.trim() }];
  });
}
