// What this node cannot serve: endpoints that it finds unavailable, NodePorts that it could not open, and addresses of
// ExternalNames that it may not dial. Says all of it to the log, the metrics and the edge whenever a part of it changes.
import type { Report } from "../src/shared/wire/messages.ts";
import type { Applied } from "./dataplane/executor.ts";
import type { Backends } from "./endpoints/endpoints.ts";
import type { Metrics } from "./health/metrics.ts";
import type { LogOnce } from "./log-once.ts";

export interface NodeProblemsOptions {
  readonly backends: Pick<Backends, "problems" | "onProblems">;
  /** Names this node in what is reported of a NodePort: its address, or else its name. */
  readonly at: string;
  readonly logOnce: LogOnce;
  readonly metrics: Metrics;
  /** Gets the whole list each time. */
  readonly report: (endpoints: Report["endpoints"]) => void;
}

/** The edge takes reasons of this length. */
const REASON_MAX = 256;

export class NodeProblems {
  readonly #options: NodeProblemsOptions;
  readonly #subscription: Disposable;
  #failures: Applied["problems"] = [];
  #leftOut: ReadonlyMap<string, string> = new Map();

  constructor(options: NodeProblemsOptions) {
    this.#options = options;
    this.#subscription = options.backends.onProblems(() => this.#report());
  }

  /** What the executor could not do of the plan that it applied last. */
  setFailures(failures: Applied["problems"]): void {
    this.#failures = failures;
    this.#options.logOnce.warn(
      "executor",
      failures.map(({ service, message }) => `Service ${service}: ${message}`),
    );
    this.#report();
  }

  /** What the executor could not do of the plan that it applied last. */
  get failures(): Applied["problems"] {
    return this.#failures;
  }

  /** "namespace/name" → why addresses of that ExternalName are not dialled from this node. */
  setLeftOut(leftOut: ReadonlyMap<string, string>): void {
    this.#options.logOnce.warn(
      "external names",
      [...leftOut].map(([service, why]) => `Service ${service}: ${why}`),
    );
    const unchanged = JSON.stringify([...leftOut]) === JSON.stringify([...this.#leftOut]);
    this.#leftOut = leftOut;
    if (!unchanged) this.#report();
  }

  stop(): void {
    this.#subscription[Symbol.dispose]();
  }

  #report(): void {
    const { backends, at, logOnce, metrics, report } = this.#options;
    const broken = backends.problems();
    logOnce.warn(
      "endpoints",
      broken.map(({ endpoint, reason }) => `Service ${endpoint} ${reason}`),
    );
    const unopened = this.#failures.map(({ service, message }) => ({
      endpoint: `${service} ${at}`,
      reason: message,
    }));
    const leftOut = [...this.#leftOut].map(([endpoint, reason]) => ({ endpoint, reason }));
    report([...broken, ...unopened, ...leftOut].map((each) => ({ ...each, reason: each.reason.slice(0, REASON_MAX) })));
    metrics.problems.set({ about: "endpoints" }, broken.length);
    metrics.problems.set({ about: "executor" }, this.#failures.length);
  }
}
