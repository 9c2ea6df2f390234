// healthCheckNodePorts as a balancer sees them; and a port that is taken concerns its Service alone.
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServiceHealth } from "../../../agent/health/service-health.ts";
import { freePort } from "../../../src/host/process/free-port.ts";

let healthy: boolean;
let health: ServiceHealth;
let nodePort: number;
let blockers: Server[];
beforeEach(async () => {
  [healthy, blockers] = [true, []];
  health = new ServiceHealth(() => healthy);
  nodePort = await freePort();
});
afterEach(async () => {
  health.close();
  for (const blocker of blockers) blocker.close();
});
const one = ["127.0.0.1"];
const checks = (localEndpoints: number, port = nodePort, name = "web") =>
  new Map([[`default/${name}`, { nodePort: port, localEndpoints }]]);
const ask = async (host = "127.0.0.1", port = nodePort) => {
  const response = await fetch(`http://${host}:${port}/`);
  const weight = response.headers.get("x-load-balancing-endpoint-weight");
  return { code: response.status, weight, body: (await response.json()) as unknown };
};
const refused = (host = "127.0.0.1", port = nodePort) => expect(ask(host, port)).rejects.toThrow("fetch failed");
const block = async (host: string, port: number): Promise<Server> => {
  const blocker = createServer();
  blockers.push(blocker);
  await once(blocker.listen(port, host), "listening");
  return blocker;
};

describe("a healthCheckNodePort", () => {
  it.each([
    [2, true, 200],
    [0, true, 503],
    [2, false, 503],
  ])("with %i local endpoints, proxy healthy: %s, answers %i", async (localEndpoints, isHealthy, code) => {
    expect(await health.serve(checks(localEndpoints), one)).toEqual([]);
    healthy = isHealthy;
    expect(await ask()).toEqual({
      code,
      weight: String(localEndpoints),
      body: { service: { namespace: "default", name: "web" }, localEndpoints, serviceProxyHealthy: isHealthy },
    });
  });

  it("follows its Service: endpoints, port, end", async () => {
    await health.serve(checks(1), one);
    await health.serve(checks(0), one);
    expect((await ask()).code).toBe(503);
    const other = await freePort();
    await health.serve(checks(1, other), one);
    expect((await ask("127.0.0.1", other)).code).toBe(200);
    await refused();
    await health.serve(new Map(), one);
    await refused("127.0.0.1", other);
  });

  it("is at the addresses that it is told, and they may change", async () => {
    await health.serve(checks(1), ["127.0.0.1", "127.0.0.2"]);
    expect([(await ask()).code, (await ask("127.0.0.2")).code]).toEqual([200, 200]);
    await health.serve(checks(1), ["127.0.0.2"]);
    await refused();
    await health.serve(checks(1), "all");
    expect([(await ask()).code, (await ask("127.0.0.3")).code]).toEqual([200, 200]);
  });

  it("is at every address of one family alone, where the other has its own", async () => {
    const onIPv4 = await block("0.0.0.0", nodePort);
    expect(await health.serve(checks(1), ["::"])).toEqual([]);
    expect((await ask("[::1]")).code).toBe(200);
    onIPv4.close();
  });

  it("that is taken is named, the others go on, and it is opened when it is free", async () => {
    const taken = await freePort();
    const blocker = await block("127.0.0.1", taken);
    const both = new Map([...checks(1, taken, "taken"), ...checks(1)]);
    expect(await health.serve(both, one)).toEqual([
      {
        service: "default/taken",
        reason: "FailedToStartServiceHealthcheck",
        message: expect.stringMatching(
          new RegExp(`^healthCheckNodePort ${taken} at 127.0.0.1 cannot be opened: listen EADDRINUSE.*another program`),
        ),
      },
    ]);
    expect((await ask()).code).toBe(200);
    blocker.close();
    await once(blocker, "close");
    await vi.waitFor(async () => expect((await ask("127.0.0.1", taken)).code).toBe(200), { timeout: 10_000 });
    expect(await health.serve(both, one)).toEqual([]);
  });
});
