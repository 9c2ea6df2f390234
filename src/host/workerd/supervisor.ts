// workerd, kept running: it is started, asked until it serves, and started again whenever it ends, until it is told to stop. Its files
// are written anew before each start, so that nobody's edit of them outlives one. Owns the process; promises nothing about the
// requests in it, but says for how long new ones have to wait.
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { request } from "undici";
import { ADMIN_LISTENER, FORWARDED } from "../../edge/http/forwarded.ts";
import { Child } from "../process/child.ts";
import { openFilesProblem } from "../process/open-files.ts";
import { keepFile } from "../state/state-folder.ts";

const UP_WITHIN_MS = 30_000;
/** If it ended sooner than that, it is started again only after AGAIN_MS. */
const HEALTHY_MS = 5_000;
const AGAIN_MS = 1_000;
/** workerd may take so long to say that it serves. */
const HEALTH_ANSWER_MS = 5_000;
const LOOK_MS = 20;

export interface WorkerdOptions {
  /** Where its files are written; workerd.capnp is the one that it is started with. */
  readonly folder: string;
  readonly log: string;
  /** Where it listens. */
  readonly url: URL;
  /** Proves to the Worker that the question for its health comes from here. */
  readonly secret: string;
  /** Takes what its owner should know. */
  readonly say: (line: string) => void;
  /** Takes what workerd itself complains of. */
  readonly relay: (line: string) => void;
  /** Called when it has ended, with when it serves again; also resolves when one start has failed. */
  readonly away: (up: Promise<void>) => void;
}

export class Workerd {
  readonly #options: WorkerdOptions;
  readonly #stopping = new AbortController();
  #files: Readonly<Record<string, string>> = {};
  #child: Child | undefined;
  #serving = false;
  #kept: Promise<void> | undefined;

  constructor(options: WorkerdOptions) {
    this.#options = options;
  }

  /** Resolves once it serves; rejects, with its last lines, if the first start fails. `files`: name → text. */
  async start(files: Readonly<Record<string, string>>): Promise<void> {
    this.#files = files;
    this.#spawn();
    await this.#untilServing();
    this.#kept = this.#keepUp();
  }

  get serving(): boolean {
    return this.#serving;
  }

  /** Ends it, so that it is started anew. Nothing while it is starting anyway. */
  restart(): void {
    if (this.#serving) this.#child?.kill();
  }

  /** When it resolves, workerd has ended, and is not started again. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#child?.stop();
    await this.#kept;
  }

  /** As stop(), at once, and without waiting for it. */
  kill(): void {
    this.#stopping.abort();
    this.#child?.kill();
  }

  #spawn(): void {
    const { folder, log, relay } = this.#options;
    if (this.#stopping.signal.aborted) throw new Error("stopped while it started");
    for (const [name, text] of Object.entries(this.#files)) keepFile(join(folder, name), text);
    this.#child = new Child({
      name: "workerd",
      program: "workerd",
      args: [join(folder, "workerd.capnp")],
      log,
      onLine: (line, on) => on === "stderr" && relay(`workerd says: ${line}`),
    });
  }

  async #keepUp(): Promise<void> {
    const { log, say, away } = this.#options;
    this.#serving = true;
    for (;;) {
      const begun = performance.now();
      const how = await this.#child?.exited;
      this.#serving = false;
      if (this.#stopping.signal.aborted) return;
      say(`workerd ${how}: starting it again. Its last lines (more in ${log}):\n${this.#child?.lastLines()}`);
      const tooFewFiles = openFilesProblem();
      if (tooFewFiles !== undefined) say(tooFewFiles);
      const up = Promise.withResolvers<void>();
      away(up.promise);
      if (performance.now() - begun < HEALTHY_MS) await this.#wait(AGAIN_MS);
      try {
        this.#spawn();
        await this.#untilServing();
        this.#serving = true;
        say("workerd serves again");
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        say(String(error));
        // One that is there and does not serve makes room for the next.
        this.#child?.kill();
      }
      up.resolve();
    }
  }

  async #untilServing(): Promise<void> {
    const deadline = performance.now() + UP_WITHIN_MS;
    while (!(await this.#serves())) {
      if (this.#stopping.signal.aborted) return;
      if (this.#child?.ended === true || performance.now() > deadline)
        throw new Error(`workerd does not serve. Its last lines:\n${this.#child?.lastLines()}`);
      await this.#wait(LOOK_MS);
    }
  }

  async #serves(): Promise<boolean> {
    const { url, secret } = this.#options;
    try {
      const { statusCode, body } = await request(new URL("/healthz", url), {
        headers: { [FORWARDED.secret]: secret, [FORWARDED.port]: ADMIN_LISTENER },
        signal: AbortSignal.timeout(HEALTH_ANSWER_MS),
      });
      await body.dump();
      return statusCode === 200;
    } catch {
      return false;
    }
  }

  /** Less where it stops meanwhile. */
  async #wait(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }
}
