// A set of metrics as Prometheus reads them, those of the process among them. It knows what it is made of, so that docs/reference.md
// can be made of it.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export interface MetricFact {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  readonly help: string;
}

export class MetricSet {
  readonly #registry = new Registry();
  readonly #facts: MetricFact[] = [];

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Those of the process are not among them. */
  get facts(): readonly MetricFact[] {
    return this.#facts;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  protected counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return new Counter(this.#told({ name, type: "counter", labels, help }));
  }

  protected gauge(name: string, help: string, labels: readonly string[] = []): Gauge {
    return new Gauge(this.#told({ name, type: "gauge", labels, help }));
  }

  protected histogram(name: string, help: string, labels: readonly string[], buckets: readonly number[]): Histogram {
    return new Histogram({ ...this.#told({ name, type: "histogram", labels, help }), buckets: [...buckets] });
  }

  #told(fact: MetricFact) {
    this.#facts.push(fact);
    return { name: fact.name, help: fact.help, labelNames: [...fact.labels], registers: [this.#registry] };
  }
}
