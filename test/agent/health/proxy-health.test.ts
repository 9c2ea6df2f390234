// kube-proxy's ports as whoever asks them sees them, and how an agent tells another agent's from a kube-proxy's.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Closable } from "../../../agent/health/held-port.ts";
import { mayRun, otherProxy } from "../../../agent/health/other-proxy.ts";
import { ProxyHealth } from "../../../agent/health/proxy-health.ts";
import { ProxyMetrics } from "../../../agent/health/proxy-metrics.ts";
import { SyncHealth } from "../../../agent/health/sync-health.ts";

const host = "127.0.0.1";
let now: number;
let sync: SyncHealth;
let metrics: ProxyMetrics;
let health: ProxyHealth;
let open: Closable[];
let port: number;
let metricsPort: number;
const start = Date.parse("2026-01-01T00:00:00Z");

beforeEach(async () => {
  now = start;
  sync = new SyncHealth({ limitMs: 60_000, now: () => now });
  metrics = new ProxyMetrics();
  health = new ProxyHealth({ mode: "nftables", families: ["IPv4", "IPv6"], sync, metrics, now: () => now });
  const busy = (error: Error) => expect.unreachable(error.message);
  const [first, second] = [health.holdHealth({ host, port: 0 }, busy), health.holdMetrics({ host, port: 0 }, busy)];
  open = [first, second];
  await first.tried;
  await vi.waitFor(() => expect(second.port).not.toBe(0));
  [port, metricsPort] = [first.port, second.port];
});
afterEach(() => {
  for (const each of open) each.close();
});
const ask = async (path: string, at = port) => {
  const response = await fetch(`http://${host}:${at}${path}`);
  return { code: response.status, body: await response.text(), headers: response.headers };
};
const codes = async () => [(await ask("/healthz")).code, (await ask("/livez")).code];
const synced = () => {
  sync.queued();
  sync.began();
  sync.ended(true);
};

describe("the health port", () => {
  it("says in JSON what is true, of the node on /healthz alone", async () => {
    synced();
    now += 5_000;
    const family = { lastUpdated: "2026-01-01T00:00:00.000Z", healthy: true };
    const facts = {
      ...{ lastUpdated: "2026-01-01T00:00:05.000Z", currentTime: "2026-01-01T00:00:05.000Z", healthy: true },
      status: { IPv4: family, IPv6: family },
    };
    const { code, body, headers } = await ask("/healthz?a=b");
    expect([code, JSON.parse(body)]).toEqual([200, { ...facts, nodeEligible: true }]);
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(JSON.parse((await ask("/livez")).body)).toEqual(facts);
  });

  it("lets no traffic come before the first sync, but is alive", async () => {
    expect(await codes()).toEqual([503, 200]);
    synced();
    expect(await codes()).toEqual([200, 200]);
  });

  it("is unwell on both when a change waits too long, and says since when", async () => {
    synced();
    now += 1_000;
    sync.queued();
    now += 60_001;
    expect(await codes()).toEqual([503, 503]);
    expect(JSON.parse((await ask("/livez")).body)).toMatchObject({
      healthy: false,
      lastUpdated: "2026-01-01T00:00:00.000Z",
    });
    sync.began();
    sync.ended(true);
    expect(await codes()).toEqual([200, 200]);
  });

  it("lets no traffic come to a node that goes, but is alive", async () => {
    synced();
    health.eligible = false;
    expect(await codes()).toEqual([503, 200]);
    expect(JSON.parse((await ask("/healthz")).body)).toMatchObject({ nodeEligible: false, healthy: true });
  });
});

describe("the metrics port", () => {
  it("has kube-proxy's names, with what was answered, and the mode", async () => {
    await codes();
    synced();
    await codes();
    const { body } = await ask("/metrics", metricsPort);
    expect(body).toContain('kubeproxy_proxy_healthz_total{code="503"} 1');
    expect(body).toContain('kubeproxy_proxy_healthz_total{code="200"} 1');
    expect(body).toContain('kubeproxy_proxy_livez_total{code="200"} 2');
    expect(body).toMatch(/^process_cpu_seconds_total /m);
    expect((await ask("/proxyMode", metricsPort)).body).toBe("nftables");
    expect((await ask("/elsewhere", metricsPort)).code).toBe(404);
  });
});

describe("another proxy", () => {
  it("is whoever answers on that port and is no agent", async () => {
    expect(await otherProxy({ host, port })).toBeUndefined();
    expect(await mayRun({ host, port })).toBe(false);
    const kubeProxy = createServer((_request, response) => response.end("{}"));
    await once(kubeProxy.listen(0, host), "listening");
    const at = (kubeProxy.address() as AddressInfo).port;
    expect(await otherProxy({ host: "0.0.0.0", port: at })).toMatch(
      new RegExp(`^a kube-proxy, or another service proxy, answers at http://127.0.0.1:${at}/healthz`),
    );
    expect(await mayRun({ host, port: at })).toBe(true);
    kubeProxy.close();
    await once(kubeProxy, "close");
    expect(await otherProxy({ host, port: at })).toBeUndefined();
    expect(await mayRun({ host, port: at })).toBe(false);
  });

  it("may run where somebody listens and says nothing in time, and does not forbid a start", async () => {
    const silent = createServer(() => {});
    await once(silent.listen(0, host), "listening");
    const at = (silent.address() as AddressInfo).port;
    expect(await otherProxy({ host, port: at })).toBeUndefined();
    expect(await mayRun({ host, port: at }, 50)).toBe(true);
    silent.closeAllConnections();
    silent.close();
  });
});
