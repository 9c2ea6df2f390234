// What the programs that a person starts here do with their options before they begin: help goes to stdout, and wrong options
// end with what is wrong, the help, and exit code 2.

/** How a person starts a program, for its help: `npm start`, which takes options after "--", or `postern dev`. */
export interface Invoked {
  readonly bare: string;
  /** Before options. */
  readonly options: string;
}
export const npmRun = (script: string): Invoked => ({ bare: script, options: `${script} --` });
export const directly = (command: string): Invoked => ({ bare: command, options: command });

/** What was asked for on a command line: the options, "help", or what is wrong in words. */
export type Parsed<T> = T | "help" | { readonly wrong: string };

/** The options to run with; undefined where there is nothing to run: all has been said, and the exit code is set. */
export function optionsToRun<T extends object>(parsed: Parsed<T>, help: string): T | undefined {
  if (parsed === "help") {
    process.stdout.write(help);
    return undefined;
  }
  if ("wrong" in parsed) {
    process.stderr.write(`${parsed.wrong}\n\n${help}`);
    process.exitCode = 2;
    return undefined;
  }
  return parsed;
}
