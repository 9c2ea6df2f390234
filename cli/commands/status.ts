// `postern status`: what a cluster serves, and its nodes.
import type { Command } from "commander";
import { dataText, tableText } from "../output.ts";
import { type Effects, Session } from "../session.ts";
import { nodeTable, serviceTable, type Status, statusOf } from "../status.ts";

const LOOK_MS = 2_000;

export function addStatus(program: Command, effects: Effects): void {
  program
    .command("status [cluster]")
    .description("what a cluster serves at which addresses, its nodes, and what is wrong with either")
    .option("--watch", "again whenever something has changed, until Ctrl-C")
    .addHelpText(
      "after",
      "\nExamples:\n  $ postern status\n  $ postern status home -o wide --watch\n  $ postern status home -o json",
    )
    .action(async (named: string | undefined, { watch = false }: { watch?: boolean }, command: Command) => {
      const session = new Session(effects, command);
      const cluster = await session.cluster(named);
      for (let last = ""; ; await effects.pause(LOOK_MS)) {
        const text = textOf(session, await look(session, cluster));
        if (text !== last) effects.print(last === "" ? text : `\n${text}`);
        last = text;
        if (!watch) return;
      }
    });
}

async function look(session: Session, cluster: string): Promise<Status> {
  const client = session.client();
  const [table, conditions, nodes] = await Promise.all([
    session.ask(client.table(cluster), "postern cluster list"),
    session.ask(client.conditions(cluster), "postern cluster list"),
    session.ask(client.nodes(cluster), "postern cluster list"),
  ]);
  // Undefined only where a known generation is named.
  if (table === undefined) throw new Error("the edge answered 304 to a request without a generation");
  return statusOf(table, conditions, nodes);
}

function textOf({ format }: Session, status: Status): string {
  if (format === "json" || format === "yaml") return dataText(format, status);
  const isWide = format === "wide";
  const services = tableText(serviceTable(status, isWide)) || "It serves nothing yet.\n";
  const nodes = tableText(nodeTable(status, isWide)) || `No node is connected. Next: postern join ${status.cluster}\n`;
  return [services, nodes, ...status.troubles.map((trouble) => `${trouble}\n`)].join("\n");
}
