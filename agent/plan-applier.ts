// Keeps the node doing what the latest plan says. It applies one plan at a time, always the latest, and applies it again after a
// while if a part of it could not be done (a port in use). It owns the timer; the caller says what applying means.
// Promise: `onAgreed` is called when plan and node agree, and never while they do not. Only then may the edge be told.
import { isDeepStrictEqual } from "node:util";
import type { Applied } from "./dataplane/executor.ts";
import type { ForwardingPlan } from "./plan/plan.ts";

export interface PlanApplierOptions {
  readonly apply: (plan: ForwardingPlan) => Applied | Promise<Applied>;
  /** Called after each apply, whether or not a newer plan waits. */
  readonly onApplied: (applied: Applied) => void;
  readonly onAgreed: () => void;
  readonly againMs?: number;
}

const AGAIN_MS = 2_000;

export class PlanApplier {
  readonly #options: PlanApplierOptions;
  #wanted: ForwardingPlan | undefined;
  #busy = false;
  #work: Promise<void> = Promise.resolve();
  #again: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: PlanApplierOptions) {
    this.#options = options;
  }

  /** The latest plan was applied, except for the parts that `problems` named. */
  get agrees(): boolean {
    return this.#wanted !== undefined && !this.#busy;
  }

  /** An equal plan is not applied again, but `onAgreed` is called again, at once or when the node agrees. */
  want(plan: ForwardingPlan): void {
    if (!isDeepStrictEqual(plan, this.#wanted)) {
      this.#wanted = plan;
      this.#start();
    } else if (this.agrees && !this.#stopped) this.#options.onAgreed();
  }

  /** Resolves when the apply under way has ended. None begins afterwards. */
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
    // Set in the same turn in which #wanted was compared last: the next want() starts a new run.
    this.#busy = false;
    if (this.#stopped) return;
    if (failed) this.#again = setTimeout(() => this.#start(), this.#options.againMs ?? AGAIN_MS);
    this.#options.onAgreed();
  }
}
