// What the agent says about its source, in log and metrics: how much it observes, what it cannot read, and what is wrong with
// the Nodes, and for probes since when. Changes nothing.
import type { Health } from "./health/healthz.ts";
import type { LogOnce } from "./log-once.ts";
import { nodeProblems } from "./plan/nodes.ts";
import { REPORT_MAX, type SourceReport as Report } from "../src/shared/model/node-report.ts";
import type { Observed, SourceProblem } from "./source/source.ts";

export interface SourceReportOptions {
  /** The name of this agent's Node. */
  readonly node: string;
  readonly health: Health;
  readonly logOnce: LogOnce;
  readonly kind: Report["kind"];
  /** Epoch ms. */
  readonly now?: () => number;
}

export class SourceReport {
  readonly #options: SourceReportOptions;

  #problems: readonly SourceProblem[] = [];
  #state: Report["state"] = "reading";
  #since: number | null = null;
  #lastEvent: number | null = null;

  constructor(options: SourceReportOptions) {
    this.#options = options;
  }

  observed({ services, endpointSlices, nodes }: Observed): void {
    const { node, health, logOnce, now = Date.now } = this.#options;
    this.#lastEvent = now();
    this.#follow();
    health.set({ synced: true });
    health.metrics.observed.set({ kind: "Service" }, services.length);
    health.metrics.observed.set({ kind: "EndpointSlice" }, endpointSlices.length);
    health.metrics.observed.set({ kind: "Node" }, nodes.length);
    logOnce.warn("nodes", nodeProblems(nodes));
    const known = nodes.some(({ metadata }) => metadata.name === node);
    const unknown = `no Node is called ${node}: the edge will send nothing here. Start the agent with --node and the Node's name`;
    logOnce.warn("self", known ? [] : [unknown]);
  }

  /** All current problems, each time that they change. */
  problems(problems: readonly SourceProblem[]): void {
    const { health, logOnce } = this.#options;
    this.#problems = problems;
    this.#follow();
    health.metrics.problems.set({ about: "source" }, problems.length);
    logOnce.warn(
      "source",
      problems.map(({ where, message }) => `${where}: ${message}`),
    );
  }

  /** For a probe. */
  get report(): Report {
    const told = this.#problems.slice(0, REPORT_MAX.problems);
    const cut = (text: string): string => text.slice(0, REPORT_MAX.text);
    return {
      kind: this.#options.kind,
      state: this.#state,
      since: this.#since,
      lastEvent: this.#lastEvent,
      problems: told.map(({ where, message }) => ({ where: cut(where), message: cut(message) })),
      problemsLeftOut: this.#problems.length - told.length,
    };
  }

  #follow(): void {
    const { now = Date.now } = this.#options;
    const state = this.#problems.length > 0 ? "troubled" : this.#lastEvent === null ? "reading" : "in-step";
    if (state === this.#state) return;
    this.#state = state;
    this.#since = now();
  }
}
