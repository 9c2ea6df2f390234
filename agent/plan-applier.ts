// Keeps the node doing what the latest plan says. It applies one plan at a time, always the latest, and applies it again after a
// while if a part of it, or all of it, could not be done. It owns the timers; the caller says what applying means.
// Promises: `onAgreed` is called when plan and node agree, and never while they do not: only then may the edge be told. After two
// applies without a rest between them, each rests for `restMs`, so that a burst of changes becomes few applies. Applies and
// checks never overlap.
import { isDeepStrictEqual } from "node:util";
import type { Applied } from "./dataplane/executor.ts";
import type { ForwardingPlan } from "./plan/plan.ts";

/** Told of each step, for health and metrics. */
export interface ApplyObserver {
  /** The plan has changed, and the node does not do it yet. */
  queued(): void;
  /** An apply of the latest plan begins. */
  began(): void;
  /** It ended. `done`: false where nothing of the plan was applied. */
  ended(done: boolean): void;
}

/** How applies are spread over time. The defaults are those of an executor that costs nothing. */
export interface Pace {
  /**
   * For each apply so long a rest, ms, of which one may be taken later: a Service that is created comes in two changes, itself and
   * its endpoints, and nobody should have to wait for the second.
   */
  readonly restMs?: number;
  /** After this time, ms, what could not be done is tried again. */
  readonly againMs?: number;
  /**
   * Asked every `everyMs`: is the node as the last apply left it? Where it is not, the latest plan is applied again. Between two applies where
   * changes leave no quiet: nothing that an executor puts off until it is asked may wait for ever.
   */
  readonly check?: { readonly everyMs: number; readonly intact: () => Promise<boolean> };
}

export interface PlanApplierOptions {
  readonly apply: (plan: ForwardingPlan) => Applied | Promise<Applied>;
  /** Called after each apply that did at least a part of its plan, whether or not a newer plan waits. */
  readonly onApplied: (applied: Applied) => void;
  /** Called when an apply or a check rejected. Nothing of that plan may have been done. */
  readonly onFailed?: (error: unknown) => void;
  readonly onAgreed: () => void;
  readonly pace?: Pace;
  readonly observer?: ApplyObserver;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

/** What the node does of the latest plan: nothing yet, it is being applied, all of it failed, or it is applied, but for problems. */
export type Standing = "nothing" | "busy" | "failed" | "applied";

const AGAIN_MS = 2_000;

export class PlanApplier {
  readonly #options: PlanApplierOptions;
  readonly #pace: Pace;
  readonly #now: () => number;
  #wanted: ForwardingPlan | undefined;
  #busy = false;
  /** The last apply of the latest plan failed as a whole. */
  #failed = false;
  /** A part of the last apply could not be done. */
  #partial = false;
  #work: Promise<void> = Promise.resolve();
  /** The check under way. */
  #checking: Promise<void> | undefined;
  /** When the last one began, or this applier. */
  #checkedAt: number;
  /** When the next apply may begin. */
  #restUntil = Number.NEGATIVE_INFINITY;
  /** While nothing is under way: the next repetition, or the next check. */
  #timer: NodeJS.Timeout | undefined;
  /** Ends the rest between two applies early. */
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(options: PlanApplierOptions) {
    this.#options = options;
    this.#pace = options.pace ?? {};
    this.#now = options.now ?? (() => performance.now());
    this.#checkedAt = this.#now();
  }

  /** The latest plan was applied, except for the parts that `problems` named. */
  get agrees(): boolean {
    return this.#wanted !== undefined && !this.#busy && !this.#failed;
  }

  get standing(): Standing {
    if (this.#wanted === undefined) return "nothing";
    return this.#busy ? "busy" : this.#failed ? "failed" : "applied";
  }

  /**
   * Makes the check that would come later now; what it finds is dealt with in the same way. Undefined: there is none, or the node is at
   * work already.
   */
  checkNow(): Promise<boolean> | undefined {
    const { check } = this.#pace;
    if (check === undefined || !this.agrees || this.#checking !== undefined || this.#stopped) return undefined;
    clearTimeout(this.#timer);
    const intact = this.#ask(check);
    this.#checking = this.#check(intact, false).finally(() => (this.#checking = undefined));
    return intact;
  }

  /** An equal plan is not applied again, but `onAgreed` is called again, at once or when the node agrees. */
  want(plan: ForwardingPlan): void {
    if (this.#stopped) return;
    if (!isDeepStrictEqual(plan, this.#wanted)) {
      this.#wanted = plan;
      this.#options.observer?.queued();
      this.#start();
    } else if (this.agrees) this.#options.onAgreed();
  }

  /** Resolves when the apply or check under way has ended. None begins afterwards. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#wake?.();
    await this.#checking;
    await this.#work;
  }

  #start(): void {
    if (this.#busy || this.#stopped) return;
    this.#busy = true;
    clearTimeout(this.#timer);
    this.#work = this.#checking === undefined ? this.#run() : this.#checking.then(() => this.#run());
  }

  async #run(): Promise<void> {
    let again = false;
    for (let plan: ForwardingPlan | undefined; this.#wanted !== plan && !this.#stopped; ) {
      if (this.#restUntil > this.#now()) await this.#rest();
      if (this.#stopped) break;
      plan = this.#wanted;
      if (plan === undefined) break;
      again = await this.#apply(plan);
      this.#restUntil = Math.max(this.#restUntil + (this.#pace.restMs ?? 0), this.#now());
      const { check } = this.#pace;
      const isDue = check !== undefined && this.#now() - this.#checkedAt >= check.everyMs;
      if (isDue && !this.#stopped && (await this.#isChanged(this.#ask(check)))) {
        this.#options.observer?.queued();
        plan = undefined;
      }
    }
    // Set in the same turn in which #wanted was compared last: the next want() starts a new run.
    this.#busy = false;
    this.#partial = again;
    if (this.#stopped) return;
    this.#later(again);
    if (!this.#failed) this.#options.onAgreed();
  }

  /** Returns whether it must be applied again. */
  async #apply(plan: ForwardingPlan): Promise<boolean> {
    const { apply, onApplied, onFailed, observer } = this.#options;
    observer?.began();
    let applied: Applied;
    try {
      applied = await apply(plan);
    } catch (error) {
      // An executor that cannot fail as a whole has no listener for it: then this is a fault of the program.
      if (onFailed === undefined) throw error;
      this.#failed = true;
      observer?.ended(false);
      onFailed(error);
      return true;
    }
    this.#failed = false;
    observer?.ended(true);
    onApplied(applied);
    return applied.problems.length > 0;
  }

  /** Also where that cannot be told. */
  async #isChanged(intact: Promise<boolean>): Promise<boolean> {
    try {
      if (await intact) return false;
    } catch (error) {
      this.#options.onFailed?.(error);
    }
    return true;
  }

  #ask({ intact }: NonNullable<Pace["check"]>): Promise<boolean> {
    this.#checkedAt = this.#now();
    return intact();
  }

  #rest(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#restUntil - this.#now());
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** `again`: whatever a check says, the latest plan is applied once more. */
  #later(again: boolean): void {
    const { check, againMs = AGAIN_MS } = this.#pace;
    if (check !== undefined) {
      const afterMs = again ? againMs : check.everyMs;
      this.#timer = setTimeout(() => {
        this.#checking = this.#check(this.#ask(check), again).finally(() => (this.#checking = undefined));
      }, afterMs);
    } else if (again) this.#timer = setTimeout(() => this.#start(), againMs);
  }

  async #check(intact: Promise<boolean>, again: boolean): Promise<void> {
    const changed = await this.#isChanged(intact);
    // Where a plan came meanwhile, its apply waits for this check.
    if (this.#busy || this.#stopped) return;
    if (changed) this.#options.observer?.queued();
    if (changed || again) queueMicrotask(() => this.#start());
    else this.#later(this.#partial);
  }
}
