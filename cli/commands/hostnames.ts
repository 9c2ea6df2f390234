// `postern hostnames`: which clusters serve a hostname, in which shares, and who takes over.
import type { Command } from "commander";
import type { DirectoryEntry } from "../../src/shared/control/answers.ts";
import type { SetMembers } from "../../src/shared/control/requests.ts";
import { exitCodes, Failed } from "../failed.ts";
import { type Effects, Session } from "../session.ts";

export function addHostnames(program: Command, effects: Effects): void {
  const hostnames = program
    .command("hostnames")
    .description("which clusters serve a hostname: shares, and who takes over");
  hostnames
    .command("show <hostname>")
    .description("its owner, and who serves it")
    .action(async (hostname: string, _, command: Command) => {
      const session = new Session(effects, command);
      const entry = await session.ask(session.client().hostname(hostname), "postern status");
      session.show(entry, () => tableOf(entry));
    });
  hostnames
    .command("set <hostname> <clusters...>")
    .description(
      "cluster=share for each that serves it; after the word `then` those that take over where none before can",
    )
    .addHelpText(
      "after",
      `
Examples:
  $ postern hostnames set shop.example.com home                    # home alone
  $ postern hostnames set shop.example.com home=3 rack=1           # three of four requests at home
  $ postern hostnames set shop.example.com home then rack          # rack where home cannot`,
    )
    .action(async (hostname: string, words: string[], _, command: Command) => {
      const session = new Session(effects, command);
      const entry = await session.ask(
        session.client().setMembers(hostname, { members: membersOf(words) }),
        "postern status",
      );
      session.show(entry, () => tableOf(entry));
    });
}

/** ["home=3", "rack", "then", "spare"]: home and rack 3 to 1, and spare where neither can. */
export function membersOf(words: readonly string[]): SetMembers["members"] {
  let priority = 0;
  const members = words.flatMap((word) => {
    if (word === "then") {
      priority++;
      return [];
    }
    const [, cluster = "", weight] = /^([^=]+)(?:=(\d{1,5}))?$/.exec(word) ?? [];
    if (cluster === "")
      throw new Failed(`${word}: must be a cluster's name, or name=share such as home=3`, {
        next: "postern hostnames set --help",
        code: exitCodes.usage,
      });
    return [{ cluster, priority, weight: weight === undefined ? 1 : Number(weight) }];
  });
  if (members.length > 0) return members;
  throw new Failed("no cluster is named", { next: "postern hostnames set --help", code: exitCodes.usage });
}

function tableOf({ hostname, owner, members }: DirectoryEntry) {
  const rows = [...members]
    .sort((a, b) => a.priority - b.priority)
    .map(({ cluster, priority, weight }) => [
      hostname,
      cluster,
      cluster === owner ? "owner" : "",
      String(priority),
      String(weight),
    ]);
  return { columns: ["HOSTNAME", "CLUSTER", "", "ORDER", "SHARE"], rows };
}
