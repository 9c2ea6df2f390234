// The metrics of an agent in kube-proxy's place: kube-proxy's names and labels where the meaning is the same, so that dashboards
// and alerts go on. Whoever knows a figure sets it; this file only names them. Beside them stand those of the process. Not here, for
// nothing of ours would set them: kubeproxy_iptables_ct_state_invalid_dropped_packets_total and
// kubeproxy_iptables_localhost_nodeports_accepted_packets_total (nfacct counters in the rules), and kubeproxy_nftables_localhost_nodeport_*
// (of a proxy in userspace that kube-proxy has as an alpha feature).
import { MetricSet } from "./metric-set.ts";

/** 1 ms, doubled 14 times. */
const SYNC_BUCKETS = Array.from({ length: 15 }, (_, index) => 0.001 * 2 ** index);
const steps = (first: number, last: number, by: number) =>
  Array.from({ length: (last - first) / by + 1 }, (_, index) => first + index * by);
const PROGRAMMING_BUCKETS = [0.25, 0.5, ...steps(1, 59, 1), ...steps(60, 115, 5), ...steps(120, 300, 30)];

export class ProxyMetrics extends MetricSet {
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
    ["traffic_policy", "ip_family"],
  );
  readonly iptablesRules = this.#gauge("sync_proxy_rules_iptables_total", "Rules of ours", ["table", "ip_family"]);
  readonly iptablesRulesLast = this.#gauge(
    "sync_proxy_rules_iptables_last",
    "Rules that the last sync wrote, of those that wrote some",
    ["table", "ip_family"],
  );
  readonly iptablesPartialFailures = this.#counter(
    "sync_proxy_rules_iptables_partial_restore_failures_total",
    "Changes that iptables refused, so that everything was written",
    ["ip_family"],
  );
  readonly nftablesCleanupFailures = this.#counter(
    "sync_proxy_rules_nftables_cleanup_failures_total",
    "Removals of unused chains that nft refused",
    ["ip_family"],
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

  /** Ours: kube-proxy loses all Services with one that the kernel refuses, and has nothing to count. */
  readonly problems = this.gauge(
    "postern_proxy_services_with_problems",
    "Services of which this node cannot do a part, by reason",
    ["reason"],
  );
  /** Of the first hundred. */
  readonly serviceProblems = this.gauge(
    "postern_proxy_service_problem",
    "1 where this node cannot do a part of the Service",
    ["namespace", "service", "reason"],
  );

  #histogram(name: string, help: string, buckets = SYNC_BUCKETS) {
    return this.histogram(`kubeproxy_${name}`, help, ["ip_family"], buckets);
  }

  #gauge(name: string, help: string, labels: readonly string[]) {
    return this.gauge(`kubeproxy_${name}`, help, labels);
  }

  #counter(name: string, help: string, labels: readonly string[]) {
    return this.counter(`kubeproxy_${name}`, help, labels);
  }
}
