// `postern completion`: for the person's shell.
import { Argument, type Command } from "commander";
import { bashCompletion, zshCompletion } from "../completion.ts";
import type { Effects } from "../session.ts";

const scripts = { bash: bashCompletion, zsh: zshCompletion } as const;

export function addCompletion(program: Command, effects: Effects): void {
  program
    .command("completion")
    .description("a script for your shell, which then completes commands and options after TAB")
    .addArgument(new Argument("<shell>").choices(Object.keys(scripts)))
    .addHelpText(
      "after",
      "\nExamples:\n  $ source <(postern completion bash)\n  $ postern completion zsh > ~/.postern-completion",
    )
    .action((shell: keyof typeof scripts) => effects.print(scripts[shell](program)));
}
