// The metrics of an agent in kube-proxy's place: kube-proxy's names and labels where the meaning is the same, so that dashboards
// and alerts go on. Whoever knows a figure sets it; this file only names them. Beside them stand those of the process.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** 1 ms, doubled 14 times. */
const SYNC_BUCKETS = Array.from({ length: 15 }, (_, index) => 0.001 * 2 ** index);
const steps = (first: number, last: number, by: number) =>
  Array.from({ length: (last - first) / by + 1 }, (_, index) => first + index * by);
const PROGRAMMING_BUCKETS = [0.25, 0.5, ...steps(1, 59, 1), ...steps(60, 115, 5), ...steps(120, 300, 30)];

export class ProxyMetrics {
  readonly #registry = new Registry();
  readonly sync = this.#histogram("sync_proxy_rules_duration_seconds", "Time of a sync of the rules");
  readonly syncFull = this.#histogram("sync_full_proxy_rules_duration_seconds", "Time of a sync of all rules");
  readonly syncPartial = this.#histogram("sync_partial_proxy_rules_duration_seconds", "Time of a sync of changes");
  readonly lastSync = this.#gauge("sync_proxy_rules_last_timestamp_seconds", "When a sync last succeeded", [
    "ip_family",
  ]);
  readonly lastQueued = this.#gauge("sync_proxy_rules_last_queued_timestamp_seconds", "When a change was last queued", [
    "ip_family",
  ]);
  readonly networkProgramming = this.#histogram(
    "network_programming_duration_seconds",
    "From the change of a pod or Service to its rules",
    PROGRAMMING_BUCKETS,
  );
  readonly endpointChangesPending = this.#gauge(
    "sync_proxy_rules_endpoint_changes_pending",
    "Changed EndpointSlices that no sync has",
    [],
  );
  readonly endpointChanges = this.#counter("sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices", []);
  readonly serviceChangesPending = this.#gauge(
    "sync_proxy_rules_service_changes_pending",
    "Changed Services that no sync has",
    [],
  );
  readonly serviceChanges = this.#counter("sync_proxy_rules_service_changes_total", "Changes of Services", []);
  readonly noLocalEndpoints = this.#gauge(
    "sync_proxy_rules_no_local_endpoints_total",
    "Service ports whose policy is Local, and which have no endpoint here",
    ["traffic_policy"],
  );
  readonly nftablesFailures = this.#counter("sync_proxy_rules_nftables_sync_failures_total", "Syncs that nft refused", [
    "ip_family",
  ]);
  readonly iptablesFailures = this.#counter(
    "sync_proxy_rules_iptables_restore_failures_total",
    "Syncs that iptables refused",
    ["ip_family"],
  );
  readonly healthz = this.#counter("proxy_healthz_total", "Answers of /healthz", ["code"]);
  readonly livez = this.#counter("proxy_livez_total", "Answers of /livez", ["code"]);
  readonly conntrackTime = this.#histogram("conntrack_reconciler_sync_duration_seconds", "Time of a clean-up of flows");
  readonly conntrackDeleted = this.#counter(
    "conntrack_reconciler_deleted_entries_total",
    "Entries of flows that were removed",
    ["ip_family"],
  );

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #named(name: string, help: string) {
    return { name: `kubeproxy_${name}`, help, registers: [this.#registry] };
  }

  #histogram(name: string, help: string, buckets = SYNC_BUCKETS): Histogram {
    return new Histogram({ ...this.#named(name, help), labelNames: ["ip_family"], buckets });
  }

  #gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ ...this.#named(name, help), labelNames });
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ ...this.#named(name, help), labelNames });
  }
}
