// Where `postern deploy` works: one folder for each edge, which keeps what was deployed, and one for what was built, which all share.
// Whoever could write here could have his own Worker deployed; so it is this user's alone. Owns files and the child process of wrangler.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { holderOf, Lock } from "../../src/host/state/lock.ts";
import { keepFile } from "../../src/host/state/state-folder.ts";
import { builtWorker } from "../../src/host/workerd/built-worker.ts";
import { agentIndexPath, agentIndexSchema } from "../../src/shared/control/agent-index.ts";
import { parseJson } from "../../src/shared/net/reply.ts";
import { exitCodes, Failed } from "../failed.ts";
import type { Effects } from "../session.ts";
import { writeRefusal } from "./cloudflare.ts";
import { type Deployed, deployedSchema } from "./plan.ts";

export interface Built {
  readonly module: string;
  /** All of wrangler.toml, not judged. */
  readonly written: unknown;
  /** The folder of static assets. */
  readonly assets: string;
  /** SHA-256 of the agent that it hands out. */
  readonly agent: string;
}

/** A line of the file in which wrangler says how it ended. */
const outcomeSchema = z.object({ type: z.literal("command-failed"), code: z.int().optional(), message: z.string() });

const baseOf = ({ XDG_STATE_HOME: xdg = "" }: NodeJS.ProcessEnv): string =>
  join(xdg.startsWith("/") ? xdg : join(homedir(), ".local/state"), "postern/deploy");

/** What was deployed from this machine to that admin host last, and succeeded. Takes no lock: for who only looks. */
export const deployedFrom = (environment: NodeJS.ProcessEnv, adminHost: string): Deployed | undefined =>
  deployedIn(join(baseOf(environment), adminHost));

function deployedIn(folder: string): Deployed | undefined {
  try {
    return deployedSchema.safeParse(parseJson(readFileSync(join(folder, "deployed.json"), "utf8"))).data;
  } catch {
    return undefined;
  }
}

export class DeployFolder {
  readonly #base: string;
  readonly #own: string;
  #lock: Lock | undefined;

  /** Throws where another deployment of this edge runs. */
  constructor(environment: NodeJS.ProcessEnv, adminHost: string) {
    this.#base = baseOf(environment);
    this.#own = join(this.#base, adminHost);
    for (const name of ["logs", "tmp"]) mkdirSync(join(this.#own, name), { recursive: true, mode: 0o700 });
    const lock = join(this.#own, "lock");
    this.#lock = Lock.take(lock);
    if (this.#lock === undefined)
      throw new Failed(`${adminHost} is being deployed already (${holderOf(lock)})`, { next: "wait for it to end" });
  }

  release(): void {
    this.#lock?.release();
  }

  /** What was deployed from here last, and succeeded. */
  get deployed(): Deployed | undefined {
    return deployedIn(this.#own);
  }

  keepDeployed(deployed: Deployed): void {
    keepFile(join(this.#own, "deployed.json"), JSON.stringify(deployed));
  }

  /** The Worker and the agent that it hands out, as an edge of one's own has them. Those handed out before stay among the assets. */
  async build(tell: (line: string) => void): Promise<Built> {
    const folder = join(this.#base, "build");
    const assets = join(folder, "assets");
    mkdirSync(assets, { recursive: true, mode: 0o700 });
    const lock = Lock.take(join(folder, "lock"), 120_000);
    if (lock === undefined) throw new Failed(`${folder} is in use`, { next: "wait for the other deployment to end" });
    try {
      const { module, written } = await builtWorker(join(folder, "worker.json"), {
        assets,
        log: join(this.#own, "logs/build.log"),
        building: () => tell("Building the Worker and the agent …"),
      });
      const index = agentIndexSchema.parse(parseJson(readFileSync(join(assets, agentIndexPath), "utf8")));
      return { module, written, assets, agent: index.main };
    } catch (error) {
      throw new Failed(error instanceof Error ? error.message : String(error), { code: exitCodes.failed });
    } finally {
      lock.release();
    }
  }

  /** Runs `wrangler deploy` to its end. Throws what it says, with what to do about it. */
  async upload(
    { run }: Pick<Effects, "run">,
    { configuration, module, secrets }: Record<"configuration" | "secrets", object> & { readonly module: string },
  ): Promise<void> {
    const at = (name: string): string => join(this.#own, name);
    keepFile(at("worker.js"), module);
    keepFile(at("wrangler.json"), JSON.stringify(configuration, null, 2));
    rmSync(at("outcome.ndjson"), { force: true });
    this.#noUpdateCheck();
    keepFile(at("secrets.json"), JSON.stringify(secrets));
    const wrangler = join(dirname(createRequire(import.meta.url).resolve("wrangler/package.json")), "bin/wrangler.js");
    const args = ["deploy", "--config", at("wrangler.json"), "--secrets-file", at("secrets.json")];
    try {
      const { code, stdout, stderr } = await run(process.execPath, [wrangler, ...args], "", {
        WRANGLER_SEND_METRICS: "false",
        WRANGLER_HIDE_BANNER: "true",
        WRANGLER_LOG_PATH: at("logs"),
        WRANGLER_OUTPUT_FILE_PATH: at("outcome.ndjson"),
        TMPDIR: at("tmp"),
        CI: "true",
        FORCE_COLOR: "0",
      });
      if (code !== 0) throw this.#failure(`${stdout}\n${stderr}`);
    } finally {
      rmSync(at("secrets.json"), { force: true });
    }
  }

  /** wrangler asks a registry for its newest version, unless it believes to have asked within this hour. */
  #noUpdateCheck(): void {
    const folder = join(this.#own, "tmp/update-check");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "wrangler-latest.json"), JSON.stringify({ latest: null, lastUpdate: Date.now() }));
  }

  #failure(said: string): Failed {
    const log = join(this.#own, "logs");
    let lines: string[] = [];
    try {
      lines = readFileSync(join(this.#own, "outcome.ndjson"), "utf8").split("\n");
    } catch {
      // It ended before it could say.
    }
    const outcome = lines
      .map((line) => outcomeSchema.safeParse(parseJson(line)).data)
      .find((each) => each !== undefined);
    if (outcome === undefined)
      return new Failed(
        `wrangler ended without a word; its last lines:\n${said.trim().split("\n").slice(-8).join("\n")}`,
        {
          next: `look into ${log}, then deploy again`,
        },
      );
    // The API's own sentence, with its code, is on the terminal alone; a failure while wrangler explains one hides that one's code.
    const detail = /^ *(\S.*\[code: \d+\])/m.exec(said)?.[1];
    const codes = [...said.matchAll(/\[code: (\d+)\]/g)].map(([, code]) => Number(code));
    const what = `wrangler: ${outcome.message.replaceAll(/\s+/g, " ")}${detail === undefined ? "" : ` ${detail}`} (logs: ${log})`;
    return writeRefusal(what, outcome.code === undefined ? codes : [outcome.code, ...codes]);
  }
}

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
