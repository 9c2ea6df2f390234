// `postern deploy`: an edge on Cloudflare. May be repeated: what is so already is left as it is, and what broke off goes on.
import type { Command } from "commander";
import { z } from "zod";
import { randomToken } from "../../src/host/state/random-token.ts";
import { whole } from "../arguments.ts";
import { contextNamed, withContext } from "../config/config.ts";
import { Cloudflare } from "../deploy/cloudflare.ts";
import { DeployFolder, sha256 } from "../deploy/folder.ts";
import { type Facts, type Plan, planOf } from "../deploy/plan.ts";
import { configurationOf, type Settings, wrongIn } from "../deploy/settings.ts";
import { exitCodes, Failed } from "../failed.ts";
import { type Effects, Session } from "../session.ts";
import { software } from "./version.ts";

const optionsSchema = z.object({
  domain: z.string(),
  adminHost: z.string(),
  name: z.string(),
  account: z.string().optional(),
  newAdminToken: z.boolean().default(false),
  replaceDns: z.boolean().default(false),
  dryRun: z.boolean().default(false),
  timeout: z.number(),
});
type DeployOptions = z.output<typeof optionsSchema>;

const SECRET = "ADMIN_TOKEN_SHA256";
const LOOK_MS = 2_000;

export function addDeploy(program: Command, effects: Effects): void {
  program
    .command("deploy")
    .description("an edge on Cloudflare, new or with other settings; safe to repeat")
    .requiredOption("--domain <zone>", "your zone: Services are called <service>-<namespace>-<cluster>.<zone>")
    .requiredOption("--admin-host <host>", "API and tunnels; best under another domain than Services'")
    .option("--name <name>", "what the Worker is called there", "postern")
    .option("--account <id>", "whose (else $CLOUDFLARE_ACCOUNT_ID, else the only one that the token reaches)")
    .option("--new-admin-token", "where the edge has one that this machine does not know: replace it")
    .option("--replace-dns", "where the admin host has a DNS record, or is another Worker's: take it over")
    .option("--dry-run", "say what would be done, and write nothing")
    .option("--timeout <seconds>", "how long to wait for the edge to answer, which takes its certificate", whole, 180)
    .addHelpText(
      "after",
      `
Cloudflare's token comes from $CLOUDFLARE_API_TOKEN alone.

Examples:
  $ postern deploy --domain example.com --admin-host postern.example.net --dry-run
  $ postern deploy --domain example.com --admin-host postern.example.net
  $ postern deploy --domain example.com --admin-host postern.example.net --name postern-test -o json`,
    )
    .action(async (given: unknown, command: Command) => {
      await new Deployment(new Session(effects, command), optionsSchema.parse(given)).run();
    });
}

class Deployment {
  readonly #session: Session;
  readonly #options: DeployOptions;

  constructor(session: Session, options: DeployOptions) {
    this.#session = session;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { domain, adminHost, name, account } = this.#options;
    const wrong = wrongIn({ "--domain": domain, "--admin-host": adminHost, "--name": name, "--account": account });
    if (wrong !== undefined) throw new Failed(wrong, { next: "postern deploy --help", code: exitCodes.usage });
    const { environment, send } = this.#session.effects;
    const cloudflare = new Cloudflare(send, environment);
    const folder = new DeployFolder(environment, adminHost);
    try {
      await this.#deploy(cloudflare, folder);
    } finally {
      folder.release();
    }
  }

  async #deploy(cloudflare: Cloudflare, folder: DeployFolder): Promise<void> {
    const { effects } = this.#session;
    const { domain, adminHost, name, dryRun } = this.#options;
    const own = effects.environment["CLOUDFLARE_ACCOUNT_ID"];
    const account = this.#options.account ?? (own === undefined || own === "" ? await cloudflare.account() : own);
    const settings: Settings = { domain, adminHost, name, account };
    const live = await cloudflare.liveVersion(account, name);
    const token = await this.#adminToken(cloudflare, settings, live !== undefined);
    await this.#checkHost(cloudflare, settings);
    const { module, written, assets, agent } = await folder.build(effects.tell);
    const configuration = configurationOf(written, settings, { main: "worker.js", assets });
    const facts: Facts = {
      worker: name,
      account,
      domain,
      "admin host": adminHost,
      "admin token": sha256(sha256(token.value)).slice(0, 12),
      software,
      code: sha256(module).slice(0, 12),
      agent: agent.slice(0, 12),
      settings: sha256(JSON.stringify({ ...configuration, assets: "" })).slice(0, 12),
    };
    const plan = planOf(facts, folder.deployed, live);
    if (dryRun) return this.#show(plan, "would be", undefined);
    if (plan.action === "none") return await this.#end(plan, token.value);
    // Before the first write: a deployment that breaks off must not leave an edge whose token nobody has.
    this.#keep(token.value, false);
    effects.tell(`Deploying ${name} to account ${account}, by wrangler …`);
    await folder.upload(effects, { configuration, module, secrets: { [SECRET]: sha256(token.value) } });
    const version = await cloudflare.liveVersion(account, name);
    if (version !== undefined) folder.keepDeployed({ facts: { ...facts }, version });
    await this.#end(plan, token.value);
  }

  get #edge(): string {
    return `https://${this.#options.adminHost}`;
  }

  /** The context's, or a new one where the edge has none yet. */
  async #adminToken(cloudflare: Cloudflare, { account, name, adminHost }: Settings, exists: boolean) {
    const kept = contextNamed(this.#session.effects.readConfig(), adminHost);
    const isKept = kept !== undefined && new URL(kept.edge).host === adminHost && kept.cluster === undefined;
    if (isKept && !this.#options.newAdminToken) return { value: kept.token };
    const hasOne = exists && (await cloudflare.secrets(account, name)).includes(SECRET);
    if (hasOne && !this.#options.newAdminToken)
      throw new Failed(`the Worker ${name} has an admin's token, which this machine does not know`, {
        next: `postern login ${this.#edge} --name ${adminHost}, or --new-admin-token, which ends the old one`,
        code: exitCodes.unauthorised,
      });
    return { value: randomToken() };
  }

  async #checkHost(cloudflare: Cloudflare, { account, name, adminHost }: Settings): Promise<void> {
    if (this.#options.replaceDns) return;
    const taken = await cloudflare.hostTaken(account, name, adminHost);
    if (taken === undefined) return;
    throw new Failed(`${adminHost} is taken: ${taken}`, {
      next: "choose another --admin-host, remove that, or take it over with --replace-dns",
    });
  }

  /** As `postern login` does. `isCurrent`: commands mean it from now on. */
  #keep(token: string, isCurrent: boolean): void {
    const { readConfig, writeConfig } = this.#session.effects;
    const before = readConfig();
    const next = withContext(before, { name: this.#options.adminHost, edge: this.#edge, token });
    const { current } = before;
    if (isCurrent) return writeConfig(next);
    const { current: _, ...others } = next;
    writeConfig(current === undefined ? others : { ...others, current });
  }

  async #end(plan: Plan, token: string): Promise<void> {
    this.#keep(token, true);
    this.#show(plan, "is", await this.#answers(token));
  }

  /** Whether the edge takes the token within the time that was given. */
  async #answers(token: string): Promise<boolean> {
    const { now, pause, tell } = this.#session.effects;
    const client = this.#session.client({ edge: this.#edge, token });
    const end = now() + this.#options.timeout * 1000;
    for (let told = false; ; told = true) {
      const answer = await client.version();
      if (answer.ok) return true;
      if (now() >= end) {
        tell(`${this.#edge} does not answer yet: ${answer.why}. DNS and certificate take some minutes at first.`);
        return false;
      }
      if (!told) tell(`Waiting for ${this.#edge} to answer …`);
      await pause(LOOK_MS);
    }
  }

  #show(plan: Plan, verb: "is" | "would be", answers: boolean | undefined): void {
    const { adminHost, name } = this.#options;
    const { action, changes, why } = plan;
    const done = { create: "created", update: "updated", none: "unchanged" }[action];
    const value = { edge: this.#edge, context: adminHost, worker: name, action, changes, why, answers };
    const next =
      verb === "is" ? (answers === true ? "postern join home" : "postern version") : "the same without --dry-run";
    const list = changes.map(({ what, from, to }) => `  ${what}: ${from === undefined ? to : `${from} → ${to}`}\n`);
    const reason = why === undefined ? "" : ` (${why})`;
    this.#session.say(value, `${list.join("")}${this.#edge} ${verb} ${done}${reason}. Next: ${next}`);
  }
}
