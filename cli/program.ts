// The command line as a whole. It ends no process: what is wrong is thrown.
import { Command, Option } from "commander";
import { addCluster } from "./commands/cluster.ts";
import { addCompletion } from "./commands/completion.ts";
import { addAnalyze } from "./commands/analyze.ts";
import { addDeploy } from "./commands/deploy.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addExpose } from "./commands/expose.ts";
import { addHostnames } from "./commands/hostnames.ts";
import { addJoin } from "./commands/join.ts";
import { addLocal } from "./commands/local.ts";
import { addLogs } from "./commands/logs.ts";
import { addLogin } from "./commands/login.ts";
import { addStatus } from "./commands/status.ts";
import { addUninstall } from "./commands/uninstall.ts";
import { addUpgrade } from "./commands/upgrade.ts";
import { addVersion } from "./commands/version.ts";
import { formats } from "./output.ts";
import type { Effects } from "./session.ts";

export function programOf(effects: Effects): Command {
  const program = new Command("postern")
    .description("Runs and administers Postern's edges, and lets Kubernetes clusters join them.")
    .addOption(new Option("-o, --output <format>", "how it answers").choices(formats).default("table"))
    .option("--edge <url>", "the edge's admin host (else $POSTERN_EDGE, else the context's)")
    .option("--context <name>", "which of the known edges (else $POSTERN_CONTEXT, else the current one)")
    .addHelpText(
      "after",
      `
The token comes from $POSTERN_TOKEN, or from the context that \`postern login\` made.

Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 3 what was named is not there, 4 no edge answers,
5 the token does not count or may not do that, 6 the doctor has found something wrong.

Examples:
  $ postern dev
  $ postern login https://postern.example.com
  $ postern join home --apply
  $ postern status home`,
    )
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ writeOut: effects.print, writeErr: (text) => effects.tell(text.trimEnd()) });
  for (const add of [
    addLocal,
    addDeploy,
    addLogin,
    addCluster,
    addJoin,
    addExpose,
    addStatus,
    addDoctor,
    addAnalyze,
    addLogs,
    addHostnames,
    addUpgrade,
    addUninstall,
    addVersion,
    addCompletion,
  ])
    add(program, effects);
  for (const command of everyCommand(program)) command.exitOverride().configureOutput(program.configureOutput());
  return program;
}

function* everyCommand(command: Command): Generator<Command> {
  for (const each of command.commands) {
    yield each;
    yield* everyCommand(each);
  }
}
