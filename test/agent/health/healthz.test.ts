// /healthz follows the facts, /readyz latches, /metrics speaks Prometheus.
import { describe, expect, it } from "vitest";
import { Health } from "../../../agent/health/healthz.ts";

describe("health", () => {
  it("answers each path by the facts of the moment, ready once and for all", async () => {
    const health = new Health();
    const server = await health.listen({ host: "127.0.0.1", port: 0 });
    const statuses = async () =>
      Promise.all(
        ["/healthz", "/readyz"].map(async (path) => (await fetch(`http://127.0.0.1:${server.port}${path}`)).status),
      );
    try {
      expect(await statuses()).toEqual([503, 503]);
      health.set({ synced: true });
      expect(await statuses()).toEqual([503, 503]);
      health.set({ programmed: true });
      expect(await statuses()).toEqual([200, 503]);
      health.set({ connected: true });
      expect(await statuses()).toEqual([200, 200]);
      health.set({ connected: false });
      expect(await statuses()).toEqual([200, 200]);
      const metrics = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
      expect(metrics).toContain('postern_state{fact="connected"} 0');
      expect(metrics).toContain('postern_state{fact="ready"} 1');
      expect((await fetch(`http://127.0.0.1:${server.port}/`)).status).toBe(404);
    } finally {
      server.close();
    }
  });
});
