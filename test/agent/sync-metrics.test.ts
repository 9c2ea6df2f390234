// What is counted of syncs, as a dashboard for kube-proxy reads it.
import { beforeEach, describe, expect, it } from "vitest";
import { ProxyMetrics } from "../../agent/health/proxy-metrics.ts";
import { SyncMetrics, TRIGGER } from "../../agent/sync-metrics.ts";
import { dnsPort, planOf, planService } from "./dataplane/kernel-plans.ts";
import { observe } from "./plan/observe.ts";
import { endpoint, service, slice } from "./source/objects.ts";

const start = Date.parse("2026-01-01T00:00:00Z");
let now: number;
let metrics: ProxyMetrics;
let counts: SyncMetrics;
beforeEach(() => {
  now = start;
  metrics = new ProxyMetrics();
  counts = new SyncMetrics({ metrics, mode: "nftables", families: ["IPv4", "IPv6"], now: () => now });
});
const value = async (name: string): Promise<number | undefined> => {
  const line = (await metrics.text()).split("\n").find((each) => each.startsWith(`kubeproxy_${name} `));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
};
const sync = (done: boolean) => {
  counts.queued();
  counts.began();
  counts.ended(done);
};
/** A slice whose change happened then. */
const changed = (at: number, ...addresses: readonly string[]) => {
  const made = slice(
    "web",
    addresses.map((address) => endpoint(address)),
  );
  return { ...made, metadata: { ...made.metadata, annotations: { [TRIGGER]: new Date(at).toISOString() } } };
};

describe("sync metrics", () => {
  it("tell the first sync, and one after a failure, from the others", async () => {
    for (const done of [true, true, false, true, true]) sync(done);
    const ofFamily = 'ip_family="IPv6"';
    expect(await value(`sync_proxy_rules_duration_seconds_count{${ofFamily}}`)).toBe(5);
    expect(await value(`sync_full_proxy_rules_duration_seconds_count{${ofFamily}}`)).toBe(2);
    expect(await value(`sync_partial_proxy_rules_duration_seconds_count{${ofFamily}}`)).toBe(3);
    expect(await value(`sync_proxy_rules_nftables_sync_failures_total{${ofFamily}}`)).toBe(1);
    counts.renews();
    sync(true);
    expect(await value(`sync_full_proxy_rules_duration_seconds_count{${ofFamily}}`)).toBe(3);
  });

  it("say when something was queued, and when it was last done", async () => {
    sync(true);
    now += 5_000;
    counts.queued();
    expect(await value('sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"}')).toBe(start / 1000);
    expect(await value('sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"}')).toBe(start / 1000 + 5);
  });

  it("count changes, and those that wait: also during a sync, also after one that failed", async () => {
    const pending = async () => [
      await value("sync_proxy_rules_service_changes_pending"),
      await value("sync_proxy_rules_endpoint_changes_pending"),
    ];
    const first = observe(service("a"), service("b"), changed(start, "10.1.0.1"));
    counts.observed(first);
    counts.observed(first);
    expect(await pending()).toEqual([2, 1]);
    counts.began();
    counts.observed({ ...first, services: first.services.slice(1) });
    expect(await pending()).toEqual([3, 1]);
    counts.ended(false);
    expect(await pending()).toEqual([3, 1]);
    counts.began();
    counts.ended(true);
    expect(await pending()).toEqual([0, 0]);
    expect(await value("sync_proxy_rules_service_changes_total")).toBe(3);
    counts.observed({ ...first, services: [] });
    counts.agreed();
    expect(await pending()).toEqual([0, 0]);
  });

  it("measure from the change of a pod to its rules, once, and nothing from before the start", async () => {
    const of = (what: string) => value(`network_programming_duration_seconds_${what}{ip_family="IPv4"}`);
    counts.observed(observe(service("web"), changed(start - 1_000, "10.1.0.1")));
    now += 10_000;
    sync(true);
    expect(await of("count")).toBeUndefined();
    counts.observed(observe(service("web"), changed(now, "10.1.0.2")));
    now += 2_000;
    sync(false);
    now += 1_000;
    sync(true);
    sync(true);
    expect([await of("count"), await of("sum")]).toEqual([1, 3]);
  });

  it("count ports whose policy is Local and which have nothing here", async () => {
    const [here] = [{ address: "10.1.0.1", port: 53, weight: 1, local: true }];
    const six = { family: "IPv6", internalPolicy: "Local" } as const;
    counts.applied(
      planOf([
        planService("default/a", [
          ...[dnsPort({ internalPolicy: "Local" }), dnsPort({ internalPolicy: "Local", local: [here] })],
          ...[dnsPort(six), dnsPort(six), dnsPort({ ...six, anywhere: false })],
        ]),
        planService("default/b", [
          dnsPort({ externalPolicy: "Local", cluster: [here] }),
          dnsPort({ externalPolicy: "Local", anywhere: false }),
        ]),
      ]),
      { problems: [] },
    );
    const of = (policy: string, family: string) =>
      value(`sync_proxy_rules_no_local_endpoints_total{traffic_policy="${policy}",ip_family="${family}"}`);
    expect([await of("internal", "IPv4"), await of("external", "IPv4")]).toEqual([1, 1]);
    expect([await of("internal", "IPv6"), await of("external", "IPv6")]).toEqual([2, 0]);
  });

  it("count rules of iptables, and what was refused on the way", async () => {
    const rules = { filter: { total: 9, last: 2 }, nat: { total: 40, last: 3 } };
    const apply = (refused: { changes: number; everything: number }) =>
      counts.applied(planOf([]), { problems: [], written: [{ family: "IPv4", rules, refused }] });
    apply({ changes: 1, everything: 2 });
    apply({ changes: 1, everything: 0 });
    // Nothing was written: the figures stay.
    counts.applied(planOf([]), { problems: [], written: [] });
    const of = (name: string, more = "") => value(`sync_proxy_rules_iptables_${name}{${more}ip_family="IPv4"}`);
    expect([await of("total", 'table="nat",'), await of("last", 'table="filter",')]).toEqual([40, 2]);
    expect([await of("partial_restore_failures_total"), await of("restore_failures_total")]).toEqual([2, 2]);
    counts.applied(planOf([]), { problems: [], written: [{ family: "IPv6", failedCleanups: 3 }] });
    expect(await value('sync_proxy_rules_nftables_cleanup_failures_total{ip_family="IPv6"}')).toBe(3);
  });
});
