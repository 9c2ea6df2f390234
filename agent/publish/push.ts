// Keeps the edge's snapshot equal to this agent's. It is a shell around after-publish.ts that owns timers, generation and
// connections. The first change is sent at once. Of a burst only the latest state is sent, at most one each 500 ms.
// Nothing survives a restart: a new process claims a new epoch. After a refused token it waits until the file has another one.
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { PublishResult, Snapshot } from "../../src/shared/model/snapshot.ts";
import { EdgeClient, type Target } from "./client.ts";
import { afterPublish, freshMemory, type Memory, type PublishOutcome } from "./after-publish.ts";

export interface PublisherOptions extends Target {
  readonly log: Logger;
  readonly random?: () => number;
  /** The edge has taken `snapshot`; called for each publish that was accepted. */
  readonly onResult?: (result: PublishResult, snapshot: Snapshot) => void;
  /** The term of the leader. Without a leader epochs come from the edge. */
  readonly term?: Term;
}

/** What a publisher needs of a leadership. It is declared here, so that agents with files can publish without a Lease. */
export interface Term {
  /** The first epoch to publish in. */
  readonly epoch: number;
  /** Writes a newer epoch to the Lease, for all agents. False if this agent does not lead any more. */
  raise(epoch: number): Promise<boolean>;
  /** Whether this agent leads at this moment. Ask before each write that nothing else fences. */
  holds(): boolean;
}

export interface Publisher {
  /** Makes `snapshot` what the edge should have. The latest one counts. */
  offer(snapshot: Snapshot): void;
  /**
   * Call when the edge is reachable again. Sends the latest snapshot again, in case the edge lost it, but gives way if another
   * agent has published since. A snapshot that waits for the edge is sent now.
   */
  repeat(): void;
  /** Aborts the publish under way. */
  stop(): Promise<void>;
}

const SPACING_MS = 500;
/** How often a refused token is compared with its file. It costs no network, and a person waits for it. */
const TOKEN_CHECK_MS = 1_000;

export function startPublisher(options: PublisherOptions): Publisher {
  return new Pusher(options);
}

class Pusher implements Publisher {
  readonly #options: PublisherOptions;
  readonly #client: EdgeClient;
  readonly #random: () => number;
  /** What the edge should have, and the same as JSON, by which snapshots are compared. */
  #snapshot: Snapshot = { version: 1, nodes: [], services: [] };
  #wanted = "";
  /** The JSON that the edge accepted, or refused for good. */
  #handled = "";
  #memory: Memory = freshMemory;
  #epoch: number | undefined;
  #sequence = 0;
  #running = false;
  /** While it waits for an edge that could not be reached: ends the wait. */
  #wake: (() => void) | undefined;
  readonly #stopping = new AbortController();
  #lastSentAt = Number.NEGATIVE_INFINITY;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#client = new EdgeClient(options);
    this.#random = options.random ?? Math.random;
    this.#epoch = options.term?.epoch;
  }

  offer(snapshot: Snapshot): void {
    const wanted = JSON.stringify(snapshot);
    if (wanted === this.#wanted) return;
    [this.#wanted, this.#snapshot] = [wanted, snapshot];
    // The leader skips the grace period: nobody else publishes.
    this.#memory = { ...this.#memory, graceSpent: this.#options.term !== undefined, insists: true };
    this.#start();
  }

  repeat(): void {
    if (this.#running) return this.#wake?.();
    if (this.#wanted === "") return;
    this.#handled = "";
    this.#memory = { ...freshMemory, insists: false };
    this.#start();
  }

  #start(): void {
    if (this.#running || this.#wanted === this.#handled || this.#stopping.signal.aborted) return;
    this.#running = true;
    void this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#client.close();
  }

  async #run(): Promise<void> {
    while (this.#wanted !== this.#handled && !this.#stopping.signal.aborted) {
      await this.#sleep(this.#lastSentAt + SPACING_MS - performance.now());
      if (this.#stopping.signal.aborted) return;
      this.#lastSentAt = performance.now();
      const [sent, snapshot] = [this.#wanted, this.#snapshot];
      const token = this.#token();
      const outcome = await this.#attempt(sent, snapshot);
      if (this.#stopping.signal.aborted) return;
      this.#log(outcome, this.#memory);
      // A newer snapshot came meanwhile. It is sent next, whatever became of the old one.
      if (sent !== this.#wanted && outcome.kind !== "unreachable" && outcome.kind !== "unauthorised") continue;
      const step = afterPublish(outcome, this.#memory, this.#random);
      switch (step.do) {
        case "rest":
          this.#handled = sent;
          this.#memory = freshMemory;
          break;
        case "publish":
          this.#memory = step.memory;
          if (outcome.kind === "unreachable" && outcome.afterMs === undefined) await this.#sleepLightly(step.afterMs);
          else await this.#sleep(step.afterMs);
          break;
        case "claim":
          this.#memory = step.memory;
          this.#epoch = undefined;
          break;
        case "await-token":
          await this.#awaitToken(token);
          break;
      }
    }
    // Set in the same turn in which #wanted was compared last: the next offer() starts a new run.
    this.#running = false;
  }

  /** One publish, with a claim before it where there is no epoch yet. */
  async #attempt(body: string, snapshot: Snapshot): Promise<PublishOutcome> {
    const { term } = this.#options;
    if (this.#epoch === undefined) {
      const { outcome, value } = await this.#client.claimEpoch();
      if (value === undefined) return outcome;
      // If the Lease was created anew, the edge remembers a higher epoch than the Lease does.
      if (term !== undefined && !(await term.raise(value.epoch)))
        return { kind: "unreachable", why: "another agent leads by now" };
      this.#epoch = value.epoch;
      this.#sequence = 0;
    }
    const generation = { epoch: this.#epoch, sequence: ++this.#sequence };
    const { outcome, value } = await this.#client.putSnapshot(generation, body);
    if (value !== undefined) {
      this.#options.log.info({ ...generation, changed: value.changed, table: value.table }, "snapshot published");
      this.#options.onResult?.(value, snapshot);
    }
    return outcome;
  }

  #log(outcome: PublishOutcome, { failures }: Memory): void {
    const { log } = this.#options;
    switch (outcome.kind) {
      case "accepted":
        return;
      case "superseded":
        return log.info("another agent published something else; comparing again in a moment");
      case "unreachable":
        // Warned of once and then logged quietly, because it may last for hours.
        return failures === 0 ? log.warn(`snapshot not published, trying on: ${outcome.why}`) : log.debug(outcome.why);
      case "unauthorised":
        return log.error(
          `the edge does not accept this agent's token: put a valid one into the token file (${outcome.why})`,
        );
      case "refused":
        return log.error(`the edge refused the snapshot and keeps serving the last good one: ${outcome.why}`);
    }
  }

  async #awaitToken(refused: string | undefined): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#sleep(TOKEN_CHECK_MS);
      const token = this.#token();
      if (token !== undefined && token !== refused) return;
    }
  }

  /** Undefined while the file is being replaced. */
  #token(): string | undefined {
    try {
      return this.#options.token();
    } catch {
      return undefined;
    }
  }

  /** Ends early when repeat() is called or the publisher is stopped. */
  async #sleepLightly(ms: number): Promise<void> {
    const woken = Promise.withResolvers<void>();
    this.#wake = woken.resolve;
    await Promise.race([this.#sleep(ms), woken.promise]);
    this.#wake = undefined;
  }

  /** Ends early when stopped. */
  async #sleep(ms: number): Promise<void> {
    if (ms > 0) await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
