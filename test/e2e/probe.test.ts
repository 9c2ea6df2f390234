// POST …/probe against `npm start`: agents, sockets and pods as they are, and what is said of those that are stopped or gone.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ControlClient, orThrow } from "../../src/shared/control/client.ts";
import { PROBE_MS } from "../../src/shared/control/probe.ts";
import { sendByHttp } from "../../src/host/send.ts";
import { Emulation } from "./emulation.ts";

let emulation: Emulation;
let client: ControlClient;
beforeAll(async () => {
  emulation = await Emulation.start();
  const { url, tokenFile } = emulation.ready.api;
  const token = readFileSync(tokenFile, "utf8").trim();
  client = new ControlClient({ edge: new URL(url), token: () => token }, sendByHttp);
});
afterAll(() => emulation.stop());

const probe = async (service?: string) => orThrow(await client.probe("home", service === undefined ? {} : { service }));
type Answer = Awaited<ReturnType<typeof probe>>;

const outcomes = ({ connections }: Answer): string[] =>
  connections.map(({ node, probe: found }) => `${node}: ${found.ok ? "ok" : found.stage}`);

/** Results of the dials of all nodes to the endpoints of the first port, by address. */
function dialled({ connections }: Answer): Record<string, string[]> {
  const endpoints = connections.flatMap(({ probe: found }) =>
    found.ok ? (found.report.service?.ports[0]?.endpoints ?? []) : [],
  );
  const byPort = Object.groupBy(endpoints, ({ address, port }) => `${address}:${port}`);
  return Object.fromEntries(
    Object.entries(byPort).map(([at, found = []]) => [at, found.map(({ dial }) => dial.result)]),
  );
}

describe("all is well", () => {
  test("each node answers, of itself and of the Service", async () => {
    const answer = await probe("default/web");
    const names = emulation.ready.nodes.map(({ name }) => name).sort();
    expect(outcomes(answer)).toEqual(names.map((name) => `${name}: ok`));
    for (const { node, probe: found } of answer.connections) {
      if (!found.ok) throw new Error(found.why);
      const { report, roundTripMs, clockSkewMs } = found;
      expect(report).toMatchObject({ node, proxy: "userspace", planApplied: true, kernel: { state: "off" } });
      expect(report.source).toMatchObject({ kind: "files", state: "in-step", problems: [] });
      expect(report.service?.state).toBe("planned");
      expect(report.tookMs).toBeLessThan(PROBE_MS);
      expect([roundTripMs < PROBE_MS, Math.abs(clockSkewMs) < PROBE_MS]).toEqual([true, true]);
    }
    expect(new Set(Object.values(dialled(answer)).flat())).toEqual(new Set(["connected"]));
    const [web] = answer.services;
    expect(web?.hostnames[0]).toMatchObject({ served: true, owner: "home" });
    expect(answer.edge.yourAddress).toBe("127.0.0.1");
    // Who publishes says its node.
    expect(names).toContain(answer.cluster.lastAccepted?.node);
  });

  test("NodePorts are tried at each node's own address", async () => {
    const { connections } = await probe("default/web-direct");
    expect(connections.map(({ node }) => node)).toEqual(["node-a", "node-b"]);
    for (const { node, probe: found } of connections) {
      if (!found.ok) throw new Error(found.why);
      const [own] = found.report.service?.ports[0]?.nodePorts ?? [];
      const address = emulation.ready.nodes.find(({ name }) => name === node)?.address;
      expect(own).toMatchObject({ address, nodePort: 31_889, dial: { result: "connected" } });
    }
  });

  test("many that ask at once are answered or told to wait, and none makes an agent work twice", async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.probe("home", {})));
    for (const answer of answers) {
      if (answer.ok) expect(outcomes(answer.value)).toEqual(["node-a: ok", "node-b: ok"]);
      else expect(answer.status).toBe(429);
    }
    expect(answers.some(({ ok }) => ok)).toBe(true);
  });
});

test("a token that is not the owner's is refused", async () => {
  const { url } = orThrow(await client.createInstallCode("home"));
  const manifest = await (await fetch(url)).text();
  const agents = /token: "(pst_home_[^"]+)"/.exec(manifest)?.[1] ?? "";
  const edge = new URL(emulation.ready.api.url);
  const ask = async (token: string) => await new ControlClient({ edge, token: () => token }, sendByHttp).probe("home");
  expect(await ask(agents)).toMatchObject({ ok: false, status: 403, reason: "not-allowed" });
  expect(await ask(`pst_home_${"A".repeat(43)}`)).toMatchObject({ ok: false, status: 401 });
});

test("a stopped agent is said not to answer, after its time and not later, while the other one answers", async () => {
  const { pid } = emulation.node("node-b");
  process.kill(pid, "SIGSTOP");
  const began = performance.now();
  try {
    const answer = await probe("default/web");
    const took = performance.now() - began;
    expect(outcomes(answer)).toEqual(["node-a: ok", "node-b: not-answered"]);
    expect(answer.connections[1]?.probe).toMatchObject({ heard: false });
    expect(answer.unconnectedNodes).toEqual([]);
    expect(took).toBeGreaterThanOrEqual(PROBE_MS - 50);
    expect(took).toBeLessThan(PROBE_MS + 2_000);
  } finally {
    process.kill(pid, "SIGCONT");
  }
});

test("a pod that is gone is refused, as each node finds", async () => {
  const [pod] = emulation.ready.pods;
  if (pod === undefined) throw new Error("no pod");
  process.kill(pod.pid, "SIGKILL");
  const at = `${pod.address}:${pod.port}`;
  let found = dialled(await probe("default/web"));
  // The process may take a moment to go.
  while (found[at]?.every((result) => result === "refused") !== true) found = dialled(await probe("default/web"));
  expect(found[at]).toEqual(["refused", "refused"]);
  expect(
    Object.entries(found)
      .filter(([other]) => other !== at)
      .flatMap(([, results]) => results),
  ).toContain("connected");
});
