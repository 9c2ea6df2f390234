// Makes this node do what the cluster wants of it: observed state → plan → executor. It looks up the names of ExternalNames,
// makes a new plan whenever the observed state or a looked-up address has changed, and says when the node serves the plan.
// Nothing survives a restart.
import type { Executor } from "./dataplane/executor.ts";
import type { LogOnce } from "./log-once.ts";
import type { NodeProblems } from "./node-problems.ts";
import { type ApplyObserver, type Pace, PlanApplier, type Standing } from "./plan-applier.ts";
import { externalNames, type PlanOptions, refusedAddresses } from "./plan/forwarding.ts";
import { Planner } from "./plan/planner.ts";
import type { Rules } from "./rules.ts";
import { type Lookup, Names } from "./source/names.ts";
import type { Observed } from "./source/source.ts";

export interface NodeProgrammerOptions {
  readonly node: string;
  readonly rules: Rules;
  readonly executor: Executor;
  readonly problems: Pick<NodeProblems, "setFailures" | "setLeftOut">;
  readonly logOnce: LogOnce;
  /** Called after each apply, whether or not a newer plan waits. */
  readonly onApplied: () => void;
  /** Called when the node serves the latest plan: `served` is defined now. Also called again for an equal plan. */
  readonly onServed: () => void;
  /** How applies are spread over time, and who hears of them. Only for an executor that may fail as a whole: `onFailed`. */
  readonly applying?: {
    readonly pace: Pace;
    readonly observer: ApplyObserver;
    readonly onFailed: (error: unknown) => void;
  };
  readonly lookup?: Lookup;
  /** The addresses of this machine. An ExternalName must not lead back to it. */
  readonly localAddresses: () => readonly string[];
}

export class NodeProgrammer {
  readonly #options: NodeProgrammerOptions;
  readonly #applier: PlanApplier;
  readonly #names: Names;
  readonly #planner: Planner;
  #observed: Observed | undefined;
  #stopped = false;

  constructor(options: NodeProgrammerOptions) {
    this.#options = options;
    const { executor, problems, logOnce } = options;
    this.#planner = new Planner(options.node);
    this.#applier = new PlanApplier({
      apply: (plan) => executor.apply(plan),
      onApplied: (applied) => {
        problems.setFailures(applied.problems);
        options.onApplied();
      },
      onAgreed: () => options.onServed(),
      ...options.applying,
    });
    this.#names = new Names(
      () => this.#program(),
      (failures) =>
        logOnce.warn(
          "names",
          failures.map(({ name, why }) => `externalName ${name} cannot be looked up on this node: ${why}`),
        ),
      options.lookup,
    );
  }

  /** The latest observed state, once the node does what it asks for. Undefined while it does not yet, and after stop(). */
  get served(): Observed | undefined {
    return this.#applier.agrees && !this.#stopped ? this.#observed : undefined;
  }

  /** The latest observed state, whether or not the node does what it asks for. */
  get observed(): Observed | undefined {
    return this.#observed;
  }

  get standing(): Standing {
    return this.#applier.standing;
  }

  /** As the plan applier's. */
  checkNow(): Promise<boolean> | undefined {
    return this.#applier.checkNow();
  }

  observe(observed: Observed): void {
    if (this.#stopped) return;
    this.#observed = observed;
    this.#names.watch(externalNames(observed, this.#options.rules));
    this.#program();
  }

  /** "namespace/name" → why addresses of that ExternalName are not dialled from this node. */
  refused(observed: Observed): ReadonlyMap<string, string> {
    return refusedAddresses(observed, this.#options.node, this.#planOptions());
  }

  /** Ends the apply under way, and has the executor take away what must not outlive this process. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#names.stop();
    await this.#applier.stop();
    await this.#options.executor.clear();
  }

  #program(): void {
    if (this.#observed === undefined || this.#stopped) return;
    this.#options.problems.setLeftOut(this.refused(this.#observed));
    this.#applier.want(this.#planner.plan(this.#observed, this.#planOptions()));
  }

  #planOptions(): PlanOptions {
    const { rules, localAddresses } = this.#options;
    return { ...rules, resolved: this.#names.addresses, localAddresses };
  }
}
