// Services on the bare cluster, as Kubernetes' own parts serve them: what Postern stands on.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run, succeeds } from "../../harness/command.ts";
import { control, inside, kubectl, nodes } from "../../harness/places.ts";
import { askFrom, TestNamespace, webService } from "../../tools/web.ts";

let test: TestNamespace;
let names: string[];
let fromPod: string[];

beforeAll(async () => {
  test = await TestNamespace.create();
  await test.apply(
    webService("web", {}),
    webService("web-nodeport", { type: "NodePort" }),
    webService("web-headless", { clusterIP: "None" }),
  );
  await test.deployWeb({ replicas: 3, onEveryNode: true });
  const pods = await test.pods();
  names = pods.map(({ name }) => name).sort();
  fromPod = [kubectl, "--namespace", test.name, "exec", names[0] ?? "", "--"];
});

afterAll(async () => test[Symbol.asyncDispose]());

it("a Deployment of three has a pod on every node", async () => {
  const pods = await test.pods();
  expect(pods.map(({ node }) => node).sort()).toEqual(["n1", "n2", "n3"]);
  expect(new Set(pods.map(({ address }) => address)).size).toBe(3);
});

/** Every pod comes to answer: a node learns of a change a moment after the API server. */
async function allAnswer(prefix: readonly string[], target: string): Promise<void> {
  const answers = async (): Promise<string[]> => [...new Set(await askFrom(prefix, target, 40))].sort();
  await expect.poll(answers, { timeout: 20_000 }).toEqual(names);
}

describe("ClusterIP", () => {
  it.each(nodes)("is reached from node $name and spread over all pods", async ({ netns }) => {
    const address = await test.field("service/web", ".spec.clusterIP");
    await allAnswer(inside(netns), `${address}:8888`);
  });

  it("is reached from a pod by name, itself among those who answer", async () => {
    await allAnswer(fromPod, "web:8888");
  });

  it("is not reached from outside, while pods are routed there", async () => {
    const address = await test.field("service/web", ".spec.clusterIP");
    const outside = inside(control.netns);
    expect(await succeeds([...outside, "curl", "-sS", "--max-time", "2", `http://${address}:8888/hostname`])).toBe(
      false,
    );
    const [pod] = await test.pods();
    expect(await askFrom(outside, `${pod?.address}:8080`)).toEqual([pod?.name]);
  });
});

it.each(nodes)("a NodePort is reached at node $name from outside", async ({ address }) => {
  const port = Number(await test.field("service/web-nodeport", ".spec.ports[0].nodePort"));
  expect(port).toBeGreaterThanOrEqual(30_000);
  expect(port).toBeLessThanOrEqual(32_767);
  await allAnswer(inside(control.netns), `${address}:${port}`);
});

it("DNS gives a Service's ClusterIP, a headless Service's pods, and a quick no for what is not there", async () => {
  const dig = async (name: string): Promise<string[]> => {
    const answer = await run([...fromPod, "dig", "+short", "+search", name]);
    return answer
      .split("\n")
      .filter((line) => line !== "")
      .sort();
  };
  const addresses = (await test.pods()).map(({ address }) => address).sort();
  expect(await dig("web")).toEqual([await test.field("service/web", ".spec.clusterIP")]);
  expect(await dig("web-headless")).toEqual(addresses);
  expect(await dig("nothing")).toEqual([]);
});

it("kubectl exec and logs reach the pod's kubelet", async () => {
  const [name = ""] = names;
  expect((await test.kubectl("exec", name, "--", "hostname")).trim()).toBe(name);
  expect(await test.kubectl("logs", name)).toContain("8080");
});
