// Later than the installation: an upgrade leaves a connected agent on every node at every moment and cuts nothing off, and what
// cannot work says why and takes nothing down.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  agentPods,
  connectedNodes,
  inSystem,
  limitTo,
  restart,
  rollout,
  setSettings,
  watchPods,
} from "../../tools/agents.ts";
import { run } from "../../harness/command.ts";
import { edgePlace } from "../../harness/edge.ts";
import { control, edge, inside, nodes } from "../../harness/places.ts";
import { until } from "../../harness/processes.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

/** Of what fetches the agent, and of the agent; "" where nothing has begun. */
const logsOf = async (pod: string): Promise<string> => {
  const logs = ["fetch", "agent"].map((container) => inSystem("logs", pod, "-c", container).catch(() => ""));
  return (await Promise.all(logs)).join("\n");
};

const everywhere = nodes.map(({ name }) => name);
let test: TestNamespace;

/** From outside, through the edge. */
function ask(path: string, ...options: string[]): Promise<string> {
  const host = `Host: web-${test.name}-${edge.cluster}.${edge.domain}`;
  const curl = [...inside(control.netns), "curl", "-sS", "--fail", ...options, "-H", host];
  return run([...curl, `http://${control.address}${path}`]);
}

beforeAll(async () => {
  test = await TestNamespace.create();
  await test.apply(webService("web", { type: "LoadBalancer", ports: [{ port: 80, targetPort: 8080 }] }));
  await test.deployWeb({ replicas: 3 });
  await ask("/hostname", "--retry", "60", "--retry-delay", "1", "--retry-all-errors");
});
afterAll(async () => test[Symbol.asyncDispose]());

describe("an upgrade", () => {
  /** Each node of `of` has an agent that is Ready and stays, in every state of the pods, and the edge is connected to it. */
  async function neverWithout(of: readonly string[]): Promise<void> {
    const before = await agentPods();
    const upgrade = { over: false };
    const states = await watchPods(async () => {
      // At each node's turn some are under way: sent once (POST), and cut where an agent ends too early.
      const slow = Array.from({ length: 6 }, async () => {
        do expect(await ask("/shell", "--data-urlencode", "cmd=sleep 8; echo done")).toContain("done");
        while (!upgrade.over);
      });
      const watched = async () => {
        while (!upgrade.over) expect(await connectedNodes()).toEqual(expect.arrayContaining([...of]));
      };
      const turned = restart()
        .then(rollout)
        .finally(() => (upgrade.over = true));
      await Promise.all([turned, watched(), ...slow]);
    });
    const pods = new Map(before.map((pod) => [pod.name, pod]));
    for (const state of states) {
      pods.set(state.name, state);
      const staying = [...pods.values()].filter(({ ready, leaving }) => ready && !leaving).map(({ node }) => node);
      expect(staying).toEqual(expect.arrayContaining([...of]));
    }
    const after = await agentPods();
    const stayed = after.filter(({ name, leaving }) => !leaving && before.some((pod) => pod.name === name));
    expect(stayed).toEqual([]);
  }

  it("of three nodes leaves each of them an agent that is Ready and connected", async () => {
    await neverWithout(everywhere);
  });

  it("of a single node does the same", async () => {
    try {
      await limitTo("n1");
      await rollout();
      await until("agents elsewhere are gone", async () => (await connectedNodes()).join() === "n1");
      await neverWithout(["n1"]);
    } finally {
      await limitTo(undefined);
      await rollout();
    }
    expect(await connectedNodes()).toEqual(everywhere);
  });
});

describe("what cannot work", () => {
  const good = { POSTERN_EDGE: edgePlace.url, POSTERN_CLUSTER: edge.cluster, POSTERN_PROXY: null };
  let serving: string[];

  beforeAll(async () => {
    const staying = (await agentPods()).filter(({ leaving }) => !leaving);
    serving = staying.map(({ name }) => name).sort();
  });
  afterAll(async () => {
    await setSettings(good);
    await rollout();
  });

  it.each<[what: string, settings: Readonly<Record<string, string>>, says: RegExp]>([
    [
      "an edge that is not there",
      { POSTERN_EDGE: "http://10.90.0.1:10" },
      /main.mjs cannot be had from http:\/\/10.90.0.1:10 \(ECONNREFUSED\)/,
    ],
    [
      "a name that is not known",
      { POSTERN_EDGE: "https://edge.invalid" },
      /main.mjs cannot be had from https:\/\/edge.invalid \(E/,
    ],
    [
      "a server that is no edge",
      { POSTERN_EDGE: "http://10.90.0.1:6443" },
      /HTTP 400\): what answers there is no edge of Postern/,
    ],
    [
      "another cluster's name",
      { POSTERN_CLUSTER: "other" },
      /does not accept this agent's token for cluster other: put/,
    ],
    ["an option that is wrong", { POSTERN_PROXY: "userspace" }, /--address is needed with --proxy userspace/],
  ])("%s: the log says so, and the agents that serve stay", async (_what, settings, says) => {
    await setSettings({ ...good, ...settings });
    await until("a pod that says why", async () => {
      const trying = (await agentPods()).filter(({ name, leaving }) => !leaving && !serving.includes(name));
      const logs = await Promise.all(trying.map(({ name }) => logsOf(name)));
      return logs.some((log) => says.test(log));
    });
    const pods = await agentPods();
    expect(
      pods
        .filter(({ ready, leaving }) => ready && !leaving)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(serving);
    expect(await ask("/hostname")).toMatch(/^web-/);
  });

  it("a token that the edge does not know, and then one that it does", async () => {
    await setSettings(good);
    await rollout();
    const secret = (token: string) =>
      inSystem("patch", "secret/postern-agent", "-p", JSON.stringify({ stringData: { token } }));
    const old = Buffer.from(
      await inSystem("get", "secret/postern-agent", "-o", "jsonpath={.data.token}"),
      "base64",
    ).toString();
    await secret(`pst_${edge.cluster}_${"x".repeat(43)}`);
    await restart();
    await until("a pod that says why", async () => {
      const [trying] = (await agentPods()).filter(({ ready, leaving }) => !ready && !leaving);
      const log = trying === undefined ? "" : await logsOf(trying.name);
      return /does not accept this agent's token/.test(log);
    });
    expect((await agentPods()).filter(({ ready }) => ready)).toHaveLength(3);
    await secret(old);
    // A pod that runs would see it as well, but a kubelet takes a minute and more to bring it.
    await restart();
    await rollout();
  });
});
