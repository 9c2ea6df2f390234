// The metrics of the agent, as Prometheus reads them. Whoever knows a figure sets it; this file only names them.
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";

export class Metrics {
  readonly #registry = new Registry();
  /** By kind: Service, EndpointSlice, Node. */
  readonly observed = this.#gauge("postern_observed_objects", "Kubernetes objects observed", ["kind"]);
  /** By what they are about: source, executor, endpoints. */
  readonly problems = this.#gauge("postern_problems", "What the agent finds wrong now", ["about"]);
  readonly publishes = new Counter({
    name: "postern_snapshots_accepted_total",
    help: "Snapshots that the edge accepted",
    registers: [this.#registry],
  });
  /** By fact: synced, programmed, connected, ready. */
  readonly state = this.#gauge("postern_state", "1 where it is so", ["fact"]);

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }
}
