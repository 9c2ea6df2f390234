// `postern cluster`: the clusters of an edge.
import type { Command } from "commander";
import type { ClusterRecord, TokenRecord } from "../../src/shared/control/answers.ts";
import { checkName, gathered, whole } from "../arguments.ts";
import { exitCodes, Failed } from "../failed.ts";
import { type Effects, Session } from "../session.ts";

export function addCluster(program: Command, effects: Effects): void {
  const cluster = program.command("cluster").description("the clusters of an edge");
  cluster
    .command("list", { isDefault: true })
    .description("list them")
    .action(async (_, command: Command) => {
      const session = new Session(effects, command);
      const { clusters } = await session.ask(session.client().clusters());
      const rows = clusters.map((each) => [
        each.name,
        day(each.createdAt),
        String(each.shards),
        each.hostnames.join(","),
      ]);
      const table = () => ({ columns: ["NAME", "CREATED", "SHARDS", "HOSTNAMES"], rows });
      session.show({ clusters }, table, "There is none yet. Next: postern cluster add home");
    });

  cluster
    .command("add <name>")
    .description("make one; it may then join")
    .option("--hostname <name>", "may be claimed by its Services; *.example.com: all below (repeatable)", gathered, [])
    .option("--shards <number>", "tunnel objects, 1 to 8; more for very many requests", whole, 1)
    .option("--token-file <file>", "where to put its owner's token, which nobody can read again (mode 0600)")
    .addHelpText(
      "after",
      `
Examples:
  $ postern cluster add home
  $ postern cluster add rack --hostname '*.apps.example.com' --hostname shop.example.com`,
    )
    .action(
      async (name: string, options: { hostname: string[]; shards: number; tokenFile?: string }, command: Command) => {
        const session = new Session(effects, command);
        checkName(name);
        const { hostname: hostnames, shards, tokenFile } = options;
        const create = () =>
          session.ask(session.client().createCluster({ name, hostnames, shards }), "postern cluster list");
        // The admin makes install codes without it, so it need not be kept.
        const created = tokenFile === undefined ? await create() : await effects.keepSecret(tokenFile, create);
        session.say({ cluster: created.cluster }, `Cluster ${name} is there. Next: postern join ${name}`);
      },
    );

  cluster
    .command("show [name]")
    .description("one of them, with its tokens")
    .action(async (named: string | undefined, _, command: Command) => {
      const session = new Session(effects, command);
      const name = await session.cluster(named);
      const client = session.client();
      const { cluster: found } = await session.ask(client.cluster(name), "postern cluster list");
      const { tokens } = await session.ask(client.tokens(name));
      session.show({ cluster: found, tokens }, () => factsOf(found, tokens));
    });

  cluster
    .command("rotate <name>")
    .description("give a token of it another secret; the old one stops at once")
    .requiredOption("--token <id>", "which one, as `postern cluster show` lists them")
    .requiredOption("--token-file <file>", "where to put the new one (mode 0600)")
    .addHelpText("after", "\nExample:\n  $ postern cluster rotate home --token 1f2e3d4c --token-file ./home.token")
    .action(async (name: string, { token: id, tokenFile }: { token: string; tokenFile: string }, command: Command) => {
      const session = new Session(effects, command);
      const rotate = () => session.ask(session.client().rotateToken(name, id), `postern cluster show ${name}`);
      await effects.keepSecret(tokenFile, rotate);
      session.say(
        { cluster: name, token: id, file: tokenFile },
        `Token ${id} of ${name} is another one now, in ${tokenFile}.`,
      );
    });

  cluster
    .command("revoke <name>")
    .description("withdraw a token and what came of it: its install codes, and agents that joined by them")
    .requiredOption("--token <id>", "which one, as `postern cluster show` lists them")
    .action(async (name: string, { token }: { token: string }, command: Command) => {
      const session = new Session(effects, command);
      await session.ask(session.client().revokeToken(name, token), `postern cluster show ${name}`);
      session.say({ cluster: name, revoked: token }, `Token ${token} of ${name} does not count any more.`);
    });

  cluster
    .command("remove <name>")
    .description("remove it with its tokens, connections, hostnames and state; agents that still run there are refused")
    .option("--yes", "without being asked for it once more")
    .action(async (name: string, { yes = false }: { yes?: boolean }, command: Command) => {
      const session = new Session(effects, command);
      if (!yes)
        throw new Failed(`this ends all that cluster ${name} serves`, {
          next: `postern cluster remove ${name} --yes`,
          code: exitCodes.usage,
        });
      await session.ask(session.client().deleteCluster(name), "postern cluster list");
      session.say(
        { removed: name },
        `Cluster ${name} is removed. In the cluster itself, see docs/install.md, Uninstall.`,
      );
    });
}

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace("T", " ");

function factsOf({ name, createdAt, shards, hostnames }: ClusterRecord, tokens: readonly TokenRecord[]) {
  const facts = [
    ["name", name],
    ["created", day(createdAt)],
    ["shards", String(shards)],
    ["may claim", ["its default hostnames", ...hostnames].join(", ")],
    ...tokens.map(({ id, role, label, createdAt: at }) => [`token ${id}`, `${role}, ${day(at)}: ${label}`]),
  ];
  return { columns: ["FIELD", "VALUE"], rows: facts };
}
