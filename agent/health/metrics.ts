// The metrics of the agent. Whoever knows a figure sets it; this file only names them.
import { MetricSet } from "./metric-set.ts";

export class Metrics extends MetricSet {
  /** By kind: Service, EndpointSlice, Node. */
  readonly observed = this.gauge("postern_observed_objects", "Kubernetes objects observed", ["kind"]);
  /** By what they are about: source, executor, endpoints. */
  readonly problems = this.gauge("postern_problems", "What the agent finds wrong now", ["about"]);
  readonly publishes = this.counter("postern_snapshots_accepted_total", "Snapshots that the edge accepted");
  /** By fact: synced, programmed, connected, ready. */
  readonly state = this.gauge("postern_state", "1 where it is so", ["fact"]);
}
