// What an agent in kube-proxy's place counts of its syncs. Told by the plan applier of each step, by the source of what changed, and
// by the executor of what is applied. It measures and decides nothing.
import { type Difference, differences } from "../src/shared/sorted.ts";
import type { Applied } from "./dataplane/executor.ts";
import type { ProxyMetrics } from "./health/proxy-metrics.ts";
import type { Family } from "./plan/endpoints.ts";
import type { ForwardingPlan, KernelPort } from "./plan/plan.ts";
import { byName } from "./source/order.ts";
import type { Observed } from "./source/source.ts";

/** Kubernetes writes into a slice when the change happened that it is about. */
export const TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time";

export interface SyncMetricsOptions {
  readonly metrics: ProxyMetrics;
  readonly mode: string;
  readonly families: readonly Family[];
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface Trigger {
  readonly at: number;
  readonly family: string;
}

export class SyncMetrics {
  readonly #options: SyncMetricsOptions;
  /** Changes from before are not ours to have been slow with. */
  readonly #started: number;
  #objects: Pick<Observed, "services" | "endpointSlices"> = { services: [], endpointSlices: [] };
  #began = 0;
  /** The next sync is about everything: the first one, and one after a failure. */
  #full = true;
  /** Changed since the last sync began, and in the sync under way. */
  #services = { waiting: 0, underWay: 0 };
  #slices = { waiting: 0, underWay: 0 };
  /** When the changes of endpoints happened that no sync has yet, ms since 1970. */
  #triggers: Trigger[] = [];
  #triggersUnderWay: Trigger[] = [];

  constructor(options: SyncMetricsOptions) {
    this.#options = options;
    this.#started = options.now();
  }

  /** An object that did not change is the same one as before. */
  observed({ services, endpointSlices }: Observed): void {
    const { metrics } = this.#options;
    const changedServices = countOf(differences(this.#objects.services, services, byName));
    const slices = differences(this.#objects.endpointSlices, endpointSlices, byName);
    this.#objects = { services, endpointSlices };
    metrics.serviceChanges.inc(changedServices);
    metrics.endpointChanges.inc(countOf(slices));
    this.#services.waiting += changedServices;
    this.#slices.waiting += countOf(slices);
    for (const { after } of slices) {
      const at = Date.parse(after?.metadata.annotations[TRIGGER] ?? "");
      if (after !== undefined && at >= this.#started) this.#triggers.push({ at, family: after.addressType });
    }
    this.#setPending();
  }

  queued(): void {
    const { metrics, now } = this.#options;
    this.#each((labels) => metrics.lastQueued.set(labels, now() / 1000));
  }

  began(): void {
    this.#began = performance.now();
    for (const kind of [this.#services, this.#slices]) {
      kind.underWay += kind.waiting;
      kind.waiting = 0;
    }
    this.#triggersUnderWay.push(...this.#triggers.splice(0));
  }

  ended(done: boolean): void {
    const { metrics, mode, now } = this.#options;
    const seconds = (performance.now() - this.#began) / 1000;
    const ofKind = this.#full ? metrics.syncFull : metrics.syncPartial;
    const failures = mode === "nftables" ? metrics.nftablesFailures : metrics.iptablesFailures;
    this.#full = !done;
    this.#each((labels) => {
      metrics.sync.observe(labels, seconds);
      ofKind.observe(labels, seconds);
      if (done) metrics.lastSync.set(labels, now() / 1000);
      else failures.inc(labels);
    });
    // What failed is under way still: the next sync is about it, too.
    if (!done) return;
    [this.#services.underWay, this.#slices.underWay] = [0, 0];
    for (const { at, family } of this.#triggersUnderWay.splice(0)) {
      metrics.networkProgramming.observe({ ip_family: family }, Math.max(0, now() - at) / 1000);
    }
    this.#setPending();
  }

  /** The node does what was observed. What changed since the last sync asked for no other rules. */
  agreed(): void {
    [this.#services.waiting, this.#slices.waiting] = [0, 0];
    this.#triggers.length = 0;
    this.#setPending();
  }

  /** The sync that begins now is about everything. */
  renews(): void {
    this.#full = true;
  }

  applied({ services }: ForwardingPlan, { written = [] }: Applied): void {
    const { metrics, families } = this.#options;
    const without = { internal: [] as KernelPort[], external: [] as KernelPort[] };
    for (const { kernel } of services) {
      for (const port of kernel?.ports ?? []) {
        if (port.local.length > 0 || !port.anywhere) continue;
        if (port.internalPolicy === "Local") without.internal.push(port);
        if (port.externalPolicy === "Local") without.external.push(port);
      }
    }
    for (const family of families) {
      const count = (ports: readonly KernelPort[]) => ports.filter((port) => port.family === family).length;
      metrics.noLocalEndpoints.set({ traffic_policy: "internal", ip_family: family }, count(without.internal));
      metrics.noLocalEndpoints.set({ traffic_policy: "external", ip_family: family }, count(without.external));
    }
    for (const each of written) this.#written(each);
  }

  #written({ family, rules, refused, failedCleanups = 0 }: NonNullable<Applied["written"]>[number]): void {
    const { metrics } = this.#options;
    const labels = { ip_family: family };
    metrics.nftablesCleanupFailures.inc(labels, failedCleanups);
    metrics.iptablesPartialFailures.inc(labels, refused?.changes ?? 0);
    metrics.iptablesFailures.inc(labels, refused?.everything ?? 0);
    if (rules === undefined) return;
    for (const table of ["filter", "nat"] as const) {
      metrics.iptablesRules.set({ table, ...labels }, rules[table].total);
      metrics.iptablesRulesLast.set({ table, ...labels }, rules[table].last);
    }
  }

  #setPending(): void {
    const { metrics } = this.#options;
    metrics.serviceChangesPending.set(this.#services.waiting + this.#services.underWay);
    metrics.endpointChangesPending.set(this.#slices.waiting + this.#slices.underWay);
  }

  /** A sync is about all families at once, and each one's series shows it. */
  #each(record: (labels: { ip_family: string }) => void): void {
    for (const family of this.#options.families) record({ ip_family: family });
  }
}

/** One under the name of another that is gone counts twice. */
function countOf(found: readonly Difference<{ readonly metadata: { readonly uid: string } }>[]): number {
  const isAnother = ({ before, after }: (typeof found)[number]): boolean =>
    before !== undefined && after !== undefined && before.metadata.uid !== after.metadata.uid;
  return found.reduce((sum, each) => sum + (isAnother(each) ? 2 : 1), 0);
}
