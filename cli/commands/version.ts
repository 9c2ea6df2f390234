// `postern version`: this command, the edge and its agents.
import type { Command } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { type Effects, Session } from "../session.ts";
import { short, versionsOf } from "../versions.ts";

export const software = `postern ${manifest.version}`;

export function addVersion(program: Command, effects: Effects): void {
  program
    .command("version")
    .description("of this command, of the edge and of its agents, and whether they differ")
    .option("--client", "of this command alone; asks nobody")
    .addHelpText("after", "\nExamples:\n  $ postern version\n  $ postern version --client")
    .action(async ({ client: isAlone = false }: { client?: boolean }, command: Command) => {
      const session = new Session(effects, command);
      if (isAlone) return session.say({ command: software }, software);
      const client = session.client();
      const edge = await session.ask(client.version());
      const { cluster } = session.target;
      const names =
        cluster === undefined ? (await session.ask(client.clusters())).clusters.map(({ name }) => name) : [cluster];
      const nodes = await Promise.all(
        names.map(async (name) => [name, (await session.ask(client.nodes(name))).nodes] as const),
      );
      const versions = versionsOf(software, edge, nodes);
      const rows = [
        ...[
          ["command", "", software, ""],
          ["edge", session.target.edge, versions.edge, hands(versions.edgeBundle)],
        ],
        ...versions.agents.map(({ cluster: of, node, software: its, bundle = "" }) => [
          ...["agent", `${of}/${node}`, its, short(bundle)],
        ]),
      ];
      session.show(versions, () => ({ columns: ["PART", "WHERE", "VERSION", "AGENT'S BUNDLE"], rows }));
      for (const sentence of versions.skew) effects.tell(sentence);
    });
}

const hands = (bundle: string | undefined): string => (bundle === undefined ? "" : `${short(bundle)} handed out`);
