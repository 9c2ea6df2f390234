// What the agent says about its source, in log and metrics: how much it observes, what it cannot read, and what is wrong with
// the Nodes. Changes nothing.
import type { Health } from "./health/healthz.ts";
import type { LogOnce } from "./log-once.ts";
import { nodeProblems } from "./plan/nodes.ts";
import type { Observed, SourceProblem } from "./source/source.ts";

export interface SourceReportOptions {
  /** The name of this agent's Node. */
  readonly node: string;
  readonly health: Health;
  readonly logOnce: LogOnce;
}

export class SourceReport {
  readonly #options: SourceReportOptions;

  constructor(options: SourceReportOptions) {
    this.#options = options;
  }

  observed({ services, endpointSlices, nodes }: Observed): void {
    const { node, health, logOnce } = this.#options;
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
    health.metrics.problems.set({ about: "source" }, problems.length);
    logOnce.warn(
      "source",
      problems.map(({ where, message }) => `${where}: ${message}`),
    );
  }
}
