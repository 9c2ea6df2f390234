// `postern login` and `postern context`: whose edges this machine knows.
import type { Command } from "commander";
import { configSchema, contextNamed, type Context, withContext, withoutContext } from "../config/config.ts";
import { exitCodes, Failed } from "../failed.ts";
import { type Effects, Session } from "../session.ts";

interface LoginOptions {
  readonly name?: string;
  readonly tokenFile?: string;
  readonly cluster?: string;
}

export function addLogin(program: Command, effects: Effects): void {
  program
    .command("login <edge>")
    .description("keep an edge and a token for it, and make it the current one")
    .option("--name <name>", "what to call it (default: the host of the edge)")
    .option("--token-file <file>", "the token's file; - for stdin. Without it the terminal is asked")
    .option("--cluster <name>", "the cluster that commands mean; needed with a cluster's token")
    .addHelpText(
      "after",
      `
Examples:
  $ postern login https://postern.example.com
  $ postern login http://192.168.1.10:8080 --token-file ~/.local/state/postern/admin-token
  $ pass show postern | postern login https://postern.example.com --token-file -`,
    )
    .action(async (edge: string, options: LoginOptions, command: Command) => {
      const session = new Session(effects, command);
      const token = (await secretOf(effects, options.tokenFile, edge)).trim();
      const name = options.name ?? hostOf(edge);
      const written = { name, edge, token, ...(options.cluster === undefined ? {} : { cluster: options.cluster }) };
      const parsed = configSchema.shape.contexts.unwrap().safeParse([written]);
      if (!parsed.success) throw wrong(parsed.error.issues[0]);
      const [context] = parsed.data as [Context];
      await tryOut(session, context);
      effects.writeConfig(withContext(effects.readConfig(), context));
      const { cluster } = context;
      session.say({ name, edge, cluster }, `Logged in to ${edge} as context ${name}. Next: postern cluster list`);
    });

  const contexts = program.command("context").description("the edges that this machine knows");
  contexts
    .command("list", { isDefault: true })
    .description("list them; the current one is marked")
    .action((_, command: Command) => {
      const session = new Session(effects, command);
      const { current, contexts: all } = effects.readConfig();
      const value = all.map(({ name, edge, cluster }) => ({ name, edge, cluster, current: name === current }));
      const rows = all.map(({ name, edge, cluster = "" }) => [name === current ? "*" : "", name, edge, cluster]);
      const table = () => ({ columns: ["CURRENT", "NAME", "EDGE", "CLUSTER"], rows });
      session.show({ contexts: value }, table, "None is known. Next: postern login https://postern.example.com");
    });
  contexts
    .command("use <name>")
    .description("make it the one that commands mean")
    .action((name: string, _, command: Command) => {
      const config = effects.readConfig();
      present(contextNamed(config, name), name);
      effects.writeConfig({ ...config, current: name });
      new Session(effects, command).say({ current: name }, `Commands mean ${name} now.`);
    });
  contexts
    .command("remove <name>")
    .description("forget it and its token; the token itself stays valid")
    .action((name: string, _, command: Command) => {
      const config = effects.readConfig();
      present(contextNamed(config, name), name);
      effects.writeConfig(withoutContext(config, name));
      new Session(effects, command).say(
        { removed: name },
        `Forgot ${name}. Its token stays valid until it is rotated.`,
      );
    });
}

async function secretOf(effects: Effects, file: string | undefined, edge: string): Promise<string> {
  if (file !== undefined) return await effects.readText(file);
  const typed = await effects.askSecret(`Token for ${edge}: `);
  if (typed !== undefined) return typed;
  const next = `postern login ${edge} --token-file FILE`;
  throw new Failed("there is no terminal to ask for the token", { next, code: exitCodes.usage });
}

/** An edge that does not take the token is not kept. */
async function tryOut(session: Session, context: Context): Promise<void> {
  const { edge, cluster } = context;
  const client = session.client(context);
  const answer = cluster === undefined ? await client.clusters() : await client.cluster(cluster);
  if (answer.ok) return;
  const { status, why } = answer;
  if (status === undefined)
    throw new Failed(why, { next: `curl -i ${new URL("healthz", edge).href}`, code: exitCodes.unreachable });
  if (status === 403 && cluster === undefined)
    throw new Failed("this is a cluster's token: say which cluster's", {
      next: `postern login ${edge} --cluster NAME`,
      code: exitCodes.usage,
    });
  const code = status === 401 || status === 403 ? exitCodes.unauthorised : exitCodes.failed;
  throw new Failed(`${edge} does not take this token: ${why}`, {
    next: "look for a line's end or a missing part in it",
    code,
  });
}

function present(context: Context | undefined, name: string): void {
  if (context === undefined)
    throw new Failed(`there is no context ${name}`, { next: "postern context list", code: exitCodes.missing });
}

function hostOf(edge: string): string {
  return URL.canParse(edge) ? new URL(edge).host.replaceAll(/[^\w.-]/g, "-").slice(0, 64) : "edge";
}

function wrong(issue: { readonly path: readonly PropertyKey[]; readonly message: string } | undefined): Failed {
  const field = String(issue?.path.at(-1) ?? "");
  const named = (
    { edge: "the edge", name: "--name", cluster: "--cluster", token: "the token" } as Record<string, string>
  )[field];
  return new Failed(`${named ?? field}: ${issue?.message}`, { next: "postern login --help", code: exitCodes.usage });
}
