// Keeps the node doing what the latest plan says: one apply at a time, always of the latest plan, and again after a while where
// a part of it could not be done (a port in use). Owns the timer; what applying means is its caller's.
// Promise: `onAgreed` comes when plan and node agree, and never while they do not. It is what may be told to the edge.
import { isDeepStrictEqual } from "node:util";
import type { Applied } from "./dataplane/executor.ts";
import type { ForwardingPlan } from "./plan/plan.ts";

export interface ProgrammerOptions {
  readonly apply: (plan: ForwardingPlan) => Applied | Promise<Applied>;
  /** After each apply, of the latest plan or not. */
  readonly onApplied: (applied: Applied) => void;
  readonly onAgreed: () => void;
  readonly againMs?: number;
}

const AGAIN_MS = 2_000;

export class Programmer {
  readonly #options: ProgrammerOptions;
  #wanted: ForwardingPlan | undefined;
  #busy = false;
  #work: Promise<void> = Promise.resolve();
  #again: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ProgrammerOptions) {
    this.#options = options;
  }

  /** Plan and node agree, as far as the node could. */
  get agrees(): boolean {
    return this.#wanted !== undefined && !this.#busy;
  }

  /** An equal plan is not applied again; that it is done is said again, at once or when it is so. */
  want(plan: ForwardingPlan): void {
    if (!isDeepStrictEqual(plan, this.#wanted)) {
      this.#wanted = plan;
      this.#start();
    } else if (this.agrees && !this.#stopped) this.#options.onAgreed();
  }

  /** Resolves when nothing is being applied any more; nothing will be. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#again);
    await this.#work;
  }

  #start(): void {
    if (this.#busy || this.#stopped) return;
    this.#busy = true;
    clearTimeout(this.#again);
    this.#work = this.#run();
  }

  async #run(): Promise<void> {
    let failed = false;
    for (let plan: ForwardingPlan | undefined; this.#wanted !== plan && !this.#stopped; ) {
      plan = this.#wanted;
      if (plan === undefined) break;
      const applied = await this.#options.apply(plan);
      failed = applied.problems.length > 0;
      this.#options.onApplied(applied);
    }
    // In the same turn as the last look at what is wanted: from here on it begins anew.
    this.#busy = false;
    if (this.#stopped) return;
    if (failed) this.#again = setTimeout(() => this.#start(), this.#options.againMs ?? AGAIN_MS);
    this.#options.onAgreed();
  }
}
