// Where the agent comes from: the edge, checked by the manifest's hashes and kept as long as its pod; or an image that has it.
import { globSync, readFileSync } from "node:fs";
import { afterEach, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import manifest from "../../../../package.json" with { type: "json" };
import { agentIsReady, applyManifest, loadImage } from "../../harness/agent.ts";
import { edgePlace, ensureEdge, handedOut } from "../../harness/edge.ts";
import { nodeImage } from "../../harness/images.ts";
import { nodes } from "../../harness/places.ts";
import { endProcess, until } from "../../harness/processes.ts";
import { agentPids, agentPods, connectedNodes, inSystem, restart } from "../../tools/agents.ts";
import { changeOneByte } from "../../tools/hand-out.ts";

const ended = z.object({ exitCode: z.number(), message: z.string().default("") });
const podsSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({
        initContainers: z.array(z.object({ image: z.string(), args: z.array(z.string()) })).default([]),
        containers: z.array(z.object({ image: z.string() })),
      }),
      status: z.object({
        initContainerStatuses: z
          .array(
            z.object({
              state: z.object({ terminated: ended.optional() }),
              lastState: z.object({ terminated: ended.optional() }),
            }),
          )
          .default([]),
      }),
    }),
  ),
});
const pods = async () => podsSchema.parse(JSON.parse(await inSystem("get", "pods", "-o", "json"))).items;
const everywhere = nodes.map(({ name }) => name);
const connected = () => until("all nodes are connected", async () => (await connectedNodes()).length === 3);

/** Of the pod that this process is in: all that its shim has started, the sandbox's process among them. */
function podOf(pid: number): number[] {
  const [, shim = ""] = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  const children = globSync(`/proc/${shim}/task/*/children`).map((file) => readFileSync(file, "utf8"));
  const pids = children.flatMap((list) => list.split(" ")).filter((each) => each !== "");
  expect(pids).toContain(String(pid));
  expect(pids.length).toBeGreaterThan(1);
  return pids.map(Number);
}

let undo: (() => unknown) | undefined;
beforeAll(connected);
afterEach(async () => {
  await undo?.();
  undo = undefined;
});

it("is the edge, for Node.js' own image, by the hashes that the edge has", async () => {
  const { main, probe } = handedOut();
  for (const { spec } of await pods()) {
    expect(spec.initContainers.map(({ image, args }) => [image, ...args.slice(2)])).toEqual([
      [nodeImage, `main.mjs=${main}`, `probe.mjs=${probe}`],
    ]);
    expect(spec.containers).toEqual([expect.objectContaining({ image: nodeImage })]);
  }
});

it("bytes that were changed on their way do not start, and the pod says so; those that serve stay", async () => {
  const serving = (await agentPods()).map(({ name }) => name).sort();
  const right = handedOut().main;
  undo = changeOneByte();
  await restart();
  let said = "";
  await until("a pod that says what was wrong", async () => {
    const [init] = (await pods()).filter(({ metadata }) => !serving.includes(metadata.name));
    const [status] = init?.status.initContainerStatuses ?? [];
    const terminated = status?.state.terminated ?? status?.lastState.terminated;
    said = terminated?.message ?? "";
    return terminated?.exitCode === 1;
  });
  expect(said).toMatch(
    new RegExp(
      `${edgePlace.url}/agent/${right}\\.mjs sent bytes with the SHA-256 [0-9a-f]{64}.*postern join home --apply`,
    ),
  );
  expect(
    (await agentPods())
      .filter(({ ready }) => ready)
      .map(({ name }) => name)
      .sort(),
  ).toEqual(serving);
  expect(await connectedNodes()).toEqual(everywhere);
  // The right ones again: nobody needs to do more.
  await undo();
  await agentIsReady();
});

it("an agent that ends while its edge is away starts anew from what its pod has, and so does a pod that the node lost", async () => {
  undo = async () => {
    await ensureEdge("answer");
    await connected();
  };
  await endProcess("edge", "SIGTERM");
  const [n1, n2] = nodes;
  if (n1 === undefined || n2 === undefined) throw new Error("no nodes");
  const [first = 0] = await agentPids(n1);
  process.kill(first, "SIGKILL");
  await until("another agent on n1", async () => (await agentPids(n1)).some((pid) => pid !== first));

  // What holds the pod's namespaces: without it kubelet makes the pod anew, its init container too.
  const [second = 0] = await agentPids(n2);
  for (const pid of podOf(second)) process.kill(pid, "SIGKILL");
  await until("another agent on n2", async () => (await agentPids(n2)).some((pid) => pid !== second), 120);
  const [pod] = (await agentPods()).filter(({ node }) => node === "n2");
  expect(await inSystem("logs", pod?.name ?? "", "-c", "fetch")).toMatch(
    /^main.mjs is here already\nprobe.mjs is here already\n$/,
  );
  await undo();
  undo = undefined;
});

it("an image that has it needs no edge for it", async () => {
  const image = `localhost/postern-agent:${manifest.version}`;
  undo = async () => {
    await applyManifest();
    await agentIsReady();
  };
  await loadImage(() => {}, "agent");
  await applyManifest(image);
  await agentIsReady();
  await until("the others are gone", async () => (await agentPods()).every(({ leaving }) => !leaving));
  for (const { spec } of await pods()) expect(spec).toEqual({ initContainers: [], containers: [{ image }] });
  await connected();
  // Three nodes import an image of 120 MB, and two rollouts.
}, 400_000);
