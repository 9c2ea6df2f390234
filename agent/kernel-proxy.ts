// The agent in kube-proxy's place, beside what programs the kernel: it spreads syncs over time, says on kube-proxy's ports whether
// the node keeps up, answers the health checks of Services, and counts. Wires these together and owns their ports; the rules are
// the executor's, and outlive the process.
import type { Logger } from "pino";
import type { Condition } from "../src/shared/model/conditions.ts";
import type { EventRecorder } from "./controller/event-recorder.ts";
import type { Applied, Executor } from "./dataplane/executor.ts";
import type { Cleaned } from "./dataplane/kernel/conntrack.ts";
import { createExecutor, type KernelEffects } from "./dataplane/kernel/create.ts";
import { KernelDataplane } from "./dataplane/kernel/dataplane.ts";
import type { HeldPort } from "./health/held-port.ts";
import { ProxyHealth } from "./health/proxy-health.ts";
import { ProxyMetrics } from "./health/proxy-metrics.ts";
import { ServiceHealth } from "./health/service-health.ts";
import { SyncHealth } from "./health/sync-health.ts";
import type { ProxySettings } from "./kube-proxy/settings.ts";
import type { LogOnce } from "./log-once.ts";
import { isStaying } from "./plan/nodes.ts";
import type { KernelFacts } from "./probe/kernel-report.ts";
import type { ForwardingPlan, KernelService } from "./plan/plan.ts";
import type { ApplyObserver, Pace } from "./plan-applier.ts";
import { ServiceProblems } from "./service-problems.ts";
import type { Observed } from "./source/source.ts";
import { SyncMetrics } from "./sync-metrics.ts";

export interface KernelProxyOptions {
  readonly settings: ProxySettings;
  /** The name of this agent's Node. */
  readonly node: string;
  readonly effects: KernelEffects;
  /** Serves the tunnel's streams by the same plan, and gets it first. */
  readonly streams: Executor;
  /** Undefined where there is no API server to write Events to. */
  readonly events: Pick<EventRecorder, "record" | "stop"> | undefined;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  readonly logOnce: LogOnce;
  /** Monotonic, ms. */
  readonly now?: () => number;
  /** For tests. */
  readonly makeExecutor?: typeof createExecutor;
}

/** As kube-proxy: after so long all is written anew, ms, whether or not anything has changed. That mends what check() does not see. */
const RENEW_MS = 3_600_000;

export class KernelProxy implements Executor {
  readonly #options: KernelProxyOptions;
  readonly #dataplane: KernelDataplane;
  readonly #sync: SyncHealth;
  readonly #metrics = new ProxyMetrics();
  readonly #counts: SyncMetrics;
  readonly #health: ProxyHealth;
  readonly #serviceHealth: ServiceHealth;
  readonly #problems: ServiceProblems;
  readonly #ports: HeldPort[] = [];
  readonly #now: () => number;
  /** When all was written anew, or this process began. */
  #renewedAt: number;
  #yielded = false;
  #lastCheck: KernelFacts["lastCheck"];
  /** Ports of Services were not ours in the last apply, and the agent before had them, as it seemed. */
  #unsure = false;

  /** Throws where this agent has no executor for the mode. */
  constructor(options: KernelProxyOptions) {
    this.#options = options;
    const { settings, effects, events, node, log, logOnce, makeExecutor = createExecutor } = options;
    const { kernel, conntrack } = settings;
    const now = () => Date.now();
    this.#now = options.now ?? (() => performance.now());
    this.#renewedAt = this.#now();
    this.#dataplane = new KernelDataplane({
      ...{ settings: kernel, conntrack, effects, executor: makeExecutor(kernel, effects) },
      isAlone: () => this.#isAlone,
      warn: (topic, texts) => logOnce.warn(topic, texts),
      info: (text) => log.info(text),
      onCleaned: (cleaned, ms) => this.#countFlows(cleaned, ms),
    });
    this.#sync = new SyncHealth({ limitMs: 2 * kernel.syncPeriodMs, now });
    this.#counts = new SyncMetrics({ metrics: this.#metrics, mode: kernel.mode, families: kernel.families, now });
    const { families, mode } = kernel;
    this.#health = new ProxyHealth({ mode, families, sync: this.#sync, metrics: this.#metrics, now });
    this.#serviceHealth = new ServiceHealth(() => this.#health.healthy);
    const record = events && events.record.bind(events);
    this.#problems = new ServiceProblems({ node, metrics: this.#metrics, record, now: this.#now });
  }

  /** For the plan applier: how syncs are spread, and who is told of them. */
  get applying(): { pace: Pace; observer: ApplyObserver; onFailed: (error: unknown) => void } {
    const { syncPeriodMs, minSyncPeriodMs } = this.#options.settings.kernel;
    const check = { everyMs: syncPeriodMs, intact: () => this.#check() };
    const both = [this.#sync, this.#counts];
    return {
      pace: { restMs: minSyncPeriodMs, againMs: syncPeriodMs, check },
      observer: {
        queued: () => both.forEach((each) => each.queued()),
        began: () => both.forEach((each) => each.began()),
        ended: (done) => both.forEach((each) => each.ended(done)),
      },
      onFailed: (err) =>
        this.#options.log.error({ err }, `the rules were not synced; trying again within ${syncPeriodMs / 1000} s`),
    };
  }

  /**
   * Opens kube-proxy's ports, each as soon as it is free. `onAlone` is called once no other agent works in the kernel of this node any more:
   * something may have waited for that, which the next check does.
   */
  listen(onAlone: () => void): { readonly health: HeldPort; readonly metrics: HeldPort } {
    const { healthAddress, metricsAddress } = this.#options.settings;
    const busy = (flag: string) => (error: Error) =>
      this.#options.log.warn(
        { err: error },
        `--${flag} is not free yet: another agent, or a kube-proxy, holds it; trying on`,
      );
    const health = this.#health.holdHealth(healthAddress, busy("proxy-health-address"));
    const metrics = this.#health.holdMetrics(metricsAddress, busy("proxy-metrics-address"));
    this.#ports.push(health, metrics);
    void Promise.race([health.held, metrics.held]).then(onAlone);
    return { health, metrics };
  }

  /** An agent holds both ports until it has retired. */
  get #isAlone(): boolean {
    return this.#ports.some(({ isHeld }) => isHeld);
  }

  /** Before the plan of it is wanted. */
  observe(observed: Observed): void {
    this.#health.eligible = isStaying(observed.nodes.find(({ metadata }) => metadata.name === this.#options.node));
    this.#counts.observed(observed);
    this.#problems.observed(observed.services);
  }

  /** "namespace/name" → what the kernel of this node does not do of it, of the plan that was applied last. */
  get incomplete(): ReadonlyMap<string, Condition> {
    return this.#problems.conditions;
  }

  /** For a probe. */
  get facts(): KernelFacts {
    return { lastSync: this.#sync.lastUpdated, keepsUp: this.#sync.healthy, lastCheck: this.#lastCheck };
  }

  /** The node does what was observed last. */
  agreed(): void {
    this.#counts.agreed();
  }

  async apply(plan: ForwardingPlan): Promise<Applied> {
    const streams = await this.#options.streams.apply(plan);
    if (this.#yielded) return streams;
    const renewing = this.#isTimeToRenew();
    if (renewing) {
      this.#dataplane.renew();
      this.#counts.renews();
    }
    const kernel = await this.#dataplane.apply(plan);
    if (renewing) this.#renewedAt = this.#now();
    this.#counts.applied(plan, kernel);
    // After the rules: a balancer that hears of an endpoint here sends at once.
    const checks = new Map<string, NonNullable<KernelService["healthCheck"]>>();
    for (const { key, kernel: service } of plan.services)
      if (service?.healthCheck !== undefined) checks.set(key, service.healthCheck);
    if (this.#yielded) return streams;
    const taken = await this.#serviceHealth.serve(checks, this.#dataplane.healthCheckAddresses(plan));
    this.#unsure = taken.length > 0 && !this.#isAlone;
    const unchecked = this.#unsure ? [] : taken;
    this.#problems.set([...kernel.problems, ...unchecked]);
    return { problems: [...streams.problems, ...kernel.problems, ...unchecked] };
  }

  /** The rules stay. */
  clear(): Promise<void> {
    return this.#options.streams.clear();
  }

  /** Leaves kernel and ports to the agent that takes over; the tunnel's streams still follow the plan. */
  yield(): void {
    this.#yielded = true;
    this.#serviceHealth.close();
    this.#options.events?.stop();
    // Not before the last rules of this process are written: whoever holds the ports is alone.
    void this.#dataplane.retire().then(() => this.#ports.forEach((port) => port.close()));
  }

  #isTimeToRenew(): boolean {
    return this.#now() - this.#renewedAt >= RENEW_MS;
  }

  async #check(): Promise<boolean> {
    // The apply that follows does it.
    if (this.#isTimeToRenew() || (this.#unsure && this.#isAlone)) return false;
    const found = await this.#dataplane.check();
    this.#lastCheck = { at: Date.now(), intact: found !== "changed" };
    if (found === "changed")
      this.#options.log.warn("the rules are not as they were left: another program changed them; making all anew");
    return found === "intact";
  }

  #countFlows(cleaned: readonly Cleaned[], ms: number): void {
    for (const { family, deleted } of cleaned) {
      this.#metrics.conntrackTime.observe({ ip_family: family }, ms / 1000);
      this.#metrics.conntrackDeleted.inc({ ip_family: family }, deleted);
    }
  }
}
