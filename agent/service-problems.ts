// What this node's kernel, or its ports, refuse of single Services, in kube-proxy's place. Says it on the Service as an Event, in the
// metrics, and to whoever leads: of its own node it makes conditions. Nothing survives a restart: the next agent says it again.
// Promises: a problem that lasts is said again once an hour, for the API server keeps an Event no longer; and whatever is wrong with
// however many Services, this agent writes EVENTS_AT_ONCE Events at once and then one in EVENT_EVERY_MS.
import { type Condition, condition, conditionReasons } from "../src/shared/model/conditions.ts";
import type { ServiceEvent } from "./controller/event.ts";
import { type Bucket, spend } from "./controller/event-recorder.ts";
import type { NodeProblem } from "./dataplane/executor.ts";
import type { ProxyMetrics } from "./health/proxy-metrics.ts";
import { keyOf } from "./plan/keys.ts";
import type { KubeService } from "./source/resources.ts";

export interface ServiceProblemsOptions {
  /** The name of this agent's Node. */
  readonly node: string;
  readonly metrics: Pick<ProxyMetrics, "problems" | "serviceProblems">;
  /** Undefined where there is no API server to write to. */
  readonly record: ((service: KubeService, events: readonly ServiceEvent[]) => void) | undefined;
  /** Monotonic, ms. */
  readonly now: () => number;
}

const AGAIN_MS = 3_600_000;
const EVENTS_AT_ONCE = 50;
const EVENT_EVERY_MS = 30_000;
/** Each is a series of its own; beyond them only the number of Services is told. */
const SERIES_MAX = 100;

export class ServiceProblems {
  readonly #options: ServiceProblemsOptions;
  #services: readonly KubeService[] = [];
  #problems: readonly NodeProblem[] = [];
  /** When each was said, by Service and content. Those that are no problem any more are forgotten. */
  #said = new Map<string, number>();
  #bucket: Bucket | undefined;

  constructor(options: ServiceProblemsOptions) {
    this.#options = options;
  }

  observed(services: readonly KubeService[]): void {
    this.#services = services;
  }

  /** All that is wrong now. */
  set(problems: readonly NodeProblem[]): void {
    this.#problems = problems;
    this.#count();
    this.#record();
  }

  /** "namespace/name" → what this node's kernel does not do of it. */
  get conditions(): ReadonlyMap<string, Condition> {
    const found = new Map<string, Condition>();
    for (const reason of conditionReasons.ForwardingIncomplete)
      for (const { service, message } of this.#problems.filter((problem) => problem.reason === reason)) {
        const before = found.get(service);
        const text = `On node ${this.#options.node}: ${message}`;
        found.set(
          service,
          before === undefined
            ? condition("ForwardingIncomplete", reason, text)
            : { ...before, message: `${before.message}. ${message}` },
        );
      }
    return found;
  }

  #count(): void {
    const { problems, serviceProblems } = this.#options.metrics;
    problems.reset();
    serviceProblems.reset();
    this.#problems.forEach(({ service, reason }, at) => {
      problems.inc({ reason });
      const [namespace = "", name = ""] = service.split("/");
      if (at < SERIES_MAX) serviceProblems.set({ namespace, service: name, reason }, 1);
    });
  }

  #record(): void {
    const { node, record, now } = this.#options;
    const said = new Map<string, number>();
    // Mostly nothing is wrong, and there are thousands of Services.
    const named = this.#problems.length === 0 ? [] : this.#services;
    const services = new Map(named.map((each) => [keyOf(each), each]));
    for (const { service: key, reason, message } of this.#problems) {
      const service = services.get(key);
      if (service === undefined || record === undefined) continue;
      const id = JSON.stringify([service.metadata.uid, reason, message]);
      const before = this.#said.get(id);
      const isDue = before === undefined || now() - before >= AGAIN_MS;
      const bucket = isDue ? spend(this.#bucket, now(), { burst: EVENTS_AT_ONCE, everyMs: EVENT_EVERY_MS }) : undefined;
      if (bucket !== undefined) {
        this.#bucket = bucket;
        record(service, [{ type: "Warning", reason, message: `node ${node}: ${message}` }]);
        said.set(id, now());
      } else if (before !== undefined) said.set(id, before);
    }
    this.#said = said;
  }
}
