// What all commands share: which edge and cluster are meant, questions to the edge, and how answers are printed. The effects come
// from main.ts, so that tests may give their own.
import type { Command } from "commander";
import { type Answer, ControlClient, type Failure, type Send } from "../src/shared/control/client.ts";
import { type Config, type Target, targetOf } from "./config/config.ts";
import { Failed, exitCodes } from "./failed.ts";
import { dataText, type Format, type Table, tableText } from "./output.ts";

export interface Effects {
  readonly environment: NodeJS.ProcessEnv;
  readonly send: Send;
  readonly readConfig: () => Config;
  readonly writeConfig: (config: Config) => void;
  /** What was asked for: stdout. */
  readonly print: (text: string) => void;
  /** For the person who waits: stderr, a line each. */
  readonly tell: (line: string) => void;
  /** The text of a file, or of stdin for "-". */
  readonly readText: (file: string) => Promise<string>;
  /**
   * Puts what `make` gives into the file, which only its owner may read then. `make` is not called where the file cannot be
   * written, and where it rejects the file stays as it was.
   */
  readonly keepSecret: <T extends { readonly token: string }>(file: string, make: () => Promise<T>) => Promise<T>;
  /** A secret from the terminal, not shown; undefined where there is none. */
  readonly askSecret: (question: string) => Promise<string | undefined>;
  /** Runs a program to its end. `input`: for its stdin; `environment`: beside this process's. Rejects where it is not there. */
  readonly run: (
    program: string,
    args: readonly string[],
    input?: string,
    environment?: Readonly<Record<string, string>>,
  ) => Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
  /** Starts what serves on this machine for as long as this process lives. */
  readonly startHere: (program: "dev" | "edge", args: readonly string[]) => Promise<void>;
  /** Replaces the file; only its owner may read it. */
  readonly writeBytes: (file: string, bytes: Uint8Array) => void;
  /** Whether stdout is a terminal that shows colours. */
  readonly colour: boolean;
  /** Ends early, and rejects, when the person has had enough. */
  readonly pause: (ms: number) => Promise<void>;
  /** Monotonic, ms. */
  readonly now: () => number;
}

/** Options that every command has. */
export interface SharedOptions {
  readonly edge?: string;
  readonly context?: string;
  readonly output?: Format;
}

export class Session {
  readonly effects: Effects;
  readonly #options: SharedOptions;

  constructor(effects: Effects, command: Command) {
    this.effects = effects;
    this.#options = command.optsWithGlobals<SharedOptions>();
  }

  get format(): Format {
    return this.#options.output ?? "table";
  }

  /** Throws where no edge, or no token for it, is known. */
  get target(): Target {
    const { readConfig, environment } = this.effects;
    const found = targetOf(readConfig(), this.#options, environment);
    if ("wrong" in found) throw new Failed(found.wrong, { next: found.next, code: exitCodes.usage });
    return found.target;
  }

  /** `withinMs`: how long an answer may take, where a person waits for several. */
  client(target = this.target, withinMs?: number): ControlClient {
    const within = withinMs === undefined ? {} : { withinMs };
    return new ControlClient({ edge: new URL(target.edge), token: () => target.token, ...within }, this.effects.send);
  }

  /** The one that was named, the context's, or the only one that there is. */
  async cluster(named: string | undefined): Promise<string> {
    const known = named ?? this.target.cluster;
    if (known !== undefined) return known;
    const { clusters } = await this.ask(this.client().clusters(), "postern --help");
    const [only, ...more] = clusters;
    if (only === undefined)
      throw new Failed("the edge has no cluster yet", { next: "postern cluster add home", code: exitCodes.missing });
    if (more.length === 0) return only.name;
    const names = clusters.map(({ name }) => name).join(", ");
    throw new Failed(`the edge has several clusters: ${names}`, { next: "name one of them", code: exitCodes.usage });
  }

  /** Throws what the edge says against it. `next`: what a person may do where what is named is not there. */
  async ask<T>(answer: Promise<Answer<T>>, next?: string): Promise<T> {
    const answered = await answer;
    if (answered.ok) return answered.value;
    throw failure(answered, this.target.edge, next);
  }

  /** The same facts for whoever reads them: `value` for programs, a table for people, or `none` where it is empty. */
  show(value: unknown, table: () => Table, none = ""): void {
    const { format } = this;
    const { print, tell } = this.effects;
    if (format === "json" || format === "yaml") return print(dataText(format, value));
    const text = tableText(table());
    if (text === "") tell(none);
    else print(text);
  }

  /** A sentence, where programs get the value. */
  say(value: unknown, sentence: string): void {
    const { format } = this;
    this.effects.print(format === "json" || format === "yaml" ? dataText(format, value) : `${sentence}\n`);
  }
}

function failure({ status, why, asked }: Failure, edge: string, next: string | undefined): Failed {
  if (status === undefined)
    return new Failed(why, { code: exitCodes.unreachable, next: `curl -i ${new URL("healthz", edge).href}` });
  if (status === 401)
    return new Failed(`${edge} does not know the token: ${why}`, {
      code: exitCodes.unauthorised,
      next: `postern login ${edge}`,
    });
  if (status === 403)
    return new Failed(`the token may not do that: ${why}`, {
      code: exitCodes.unauthorised,
      next: "log in with the admin's token",
    });
  if (status === 404) return new Failed(why, { code: exitCodes.missing, next });
  if (status === 400) return new Failed(why, { code: exitCodes.usage, next });
  return new Failed(`${asked}: ${why}`, { next });
}
