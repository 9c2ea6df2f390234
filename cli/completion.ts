// What a shell offers after TAB, as a script that asks nobody: the words at each place of the command line. Pure.
import type { Command } from "commander";
import { PassedOn } from "./passed-on.ts";

/** Path of commands, " cluster add", or "" at the beginning → what may come next: commands, then options. */
export function wordsByPath(program: Command): ReadonlyMap<string, readonly string[]> {
  const shared = optionsOf(program);
  const found = new Map<string, readonly string[]>();
  const add = (command: Command, path: string): void => {
    const below = command.commands.map((each) => each.name());
    const own = command === program ? [] : optionsOf(command);
    found.set(path, [...below, ...(below.length === 0 ? [] : ["help"]), ...own, ...shared, "--help"]);
    for (const each of command.commands) add(each, `${path} ${each.name()}`);
  };
  add(program, "");
  return found;
}

const optionsOf = (command: Command): string[] =>
  command instanceof PassedOn ? command.longOptions : command.options.flatMap(({ long }) => long ?? []);

/** For bash; and for zsh, which runs bash's by `bashcompinit`. */
export function bashCompletion(program: Command): string {
  const words = wordsByPath(program);
  const name = program.name();
  const paths = [...words.keys()].filter((path) => path !== "");
  return `_${name}() {
  local word path=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
      ${paths.map((path) => `"${path}"`).join(" | ")}) path="$path $word" ;;
    esac
  done
  case "$path" in
${[...words].map(([path, list]) => `    "${path}") word="${list.join(" ")}" ;;`).join("\n")}
  esac
  COMPREPLY=($(compgen -W "$word" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _${name} ${name}
`;
}

export const zshCompletion = (program: Command): string =>
  `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bashCompletion(program)}`;
