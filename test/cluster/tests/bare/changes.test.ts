// The bare cluster through what Postern's own tests will do to it: rollout, drain, an API server that restarts, nodes'
// programs that die. It must keep serving, or each of those tests would blame Postern for it.
import { afterAll, beforeAll, expect, it } from "vitest";
import { bringUp } from "../../harness/cluster.ts";
import { run } from "../../harness/command.ts";
import { control, inside, kubectl, nodes } from "../../harness/places.ts";
import { endProcess, isRunning } from "../../harness/processes.ts";
import { uncordon } from "../../tools/nodes.ts";
import { askFrom, TestNamespace, webService } from "../../tools/web.ts";

let test: TestNamespace;
let target: string;

beforeAll(async () => {
  test = await TestNamespace.create();
  await test.apply(webService("web", {}));
  await test.deployWeb({ replicas: 3 });
  target = `${await test.field("service/web", ".spec.clusterIP")}:8888`;
});

afterAll(async () => {
  await uncordon("n2");
  await test[Symbol.asyncDispose]();
});

const silently = (): void => {};

it("up again changes nothing", async () => {
  const first = await bringUp(silently);
  const startTimes = () =>
    run([kubectl, "get", "--raw", "/metrics"]).then((text) => /^process_start_time_seconds .*/m.exec(text)?.[0]);
  const before = await startTimes();
  expect(await bringUp(silently)).toEqual(first);
  expect(await startTimes()).toBe(before);
});

it("a rollout replaces every pod while each request is answered", async () => {
  const before = (await test.pods()).map(({ name }) => name);
  const rollout = test.deployWeb({ replicas: 3, version: "2" });
  const asked = await askDuring(rollout);
  expect(asked).toBeGreaterThan(20);
  expect((await test.pods()).map(({ name }) => name).filter((name) => before.includes(name))).toEqual([]);
});

it("a drain moves the node's pods while each request is answered", async () => {
  // Else the drain may evict all pods of the Service at once.
  await test.apply({
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "web" },
    spec: { minAvailable: 2, selector: { matchLabels: { app: "web" } } },
  });
  await askDuring(run([kubectl, "drain", "n2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"]));
  expect((await test.pods()).filter(({ node }) => node === "n2")).toEqual([]);
  await test.kubectl("rollout", "status", "--timeout=60s", "deployment/web");
  await uncordon("n2");
});

it.each([["kube-apiserver"], ["kubelet-n1"], ["kube-proxy-n1"], ["containerd-n1"]])(
  "%s is killed: traffic goes on, and up starts it again",
  async (name) => {
    await endProcess(name);
    expect(isRunning(name)).toBe(false);
    expect(await askFrom(inside("n1"), target, 5)).toHaveLength(5);
    await askDuring(bringUp(silently));
    expect(isRunning(name)).toBe(true);
    await run([kubectl, "wait", "--for=condition=Ready", "--timeout=60s", ...nodes.map((node) => `node/${node.name}`)]);
    // A change arrives at every node: watches were taken up again.
    await everyNodeLearnsOf(`after-${name}`);
  },
);

/** Makes a NodePort Service and waits until every node answers at it. */
async function everyNodeLearnsOf(name: string): Promise<void> {
  await test.apply(webService(name, { type: "NodePort" }));
  const port = await test.field(`service/${name}`, ".spec.ports[0].nodePort");
  const patience = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors", "--connect-timeout", "2"];
  for (const { address } of nodes) {
    await run([...inside(control.netns), "curl", "-sS", "--fail", ...patience, `http://${address}:${port}/hostname`]);
  }
}

/** Requests one after the other until it is done; a single one that fails is an error. Returns how many they were. */
async function askDuring(change: Promise<unknown>): Promise<number> {
  const watched = { done: false };
  const end = change.finally(() => {
    watched.done = true;
  });
  let asked = 0;
  while (!watched.done) asked += (await askFrom(inside("n1"), target, 5)).length;
  await end;
  return asked;
}
