// What the tests ask and change of the installed agents: their pods, what happened to them in which order, their settings.
// Changes through settings are undone by whoever made them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { z } from "zod";
import { run } from "../harness/command.ts";
import { edgeApi } from "../harness/edge.ts";
import { edge, kubectl, type NodePlace } from "../harness/places.ts";
import { pidsIn } from "../harness/processes.ts";

const daemonSet = "daemonset/postern-agent";

export const inSystem = (...args: string[]): Promise<string> =>
  run([kubectl, "--namespace", "postern-system", ...args], { timeout: 200_000 });

export const rollout = async (): Promise<void> => {
  await inSystem("rollout", "status", daemonSet, "--timeout=180s");
};

export async function restart(): Promise<void> {
  await inSystem("rollout", "restart", daemonSet);
}

/** As a user does: pods read the ConfigMap when they start. */
export async function setSettings(settings: Readonly<Record<string, string | null>>): Promise<void> {
  await inSystem("patch", "configmap/postern-agent", "-p", JSON.stringify({ data: settings }));
  await restart();
}

/** Undefined: every node. */
export async function limitTo(node: string | undefined): Promise<void> {
  const nodeSelector = { "kubernetes.io/hostname": node ?? null };
  await inSystem("patch", daemonSet, "-p", JSON.stringify({ spec: { template: { spec: { nodeSelector } } } }));
}

export interface AgentPod {
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly leaving: boolean;
  readonly ready: boolean;
}

const columns = [
  "{.spec.nodeName}",
  "{.metadata.name}",
  "{.metadata.uid}",
  "{.metadata.deletionTimestamp}",
  '{.status.conditions[?(@.type=="Ready")].status}',
];

/** `line`: as `columns` has it, with a bar between. */
function podOf(line: string): AgentPod {
  const [node = "", name = "", uid = "", deleted = "", ready = ""] = line.split("|");
  return { node, name, uid, leaving: deleted !== "", ready: ready === "True" };
}

export async function agentPods(): Promise<AgentPod[]> {
  const lines = await inSystem("get", "pods", "-o", `jsonpath={range .items[*]}${columns.join("|")}{"\\n"}{end}`);
  return lines
    .split("\n")
    .filter((line) => line !== "")
    .map(podOf);
}

/** Every state that any agent's pod was in meanwhile, in the API server's order; first those that there were. */
export async function watchPods(change: () => Promise<unknown>): Promise<AgentPod[]> {
  const pods = ["--namespace", "postern-system", "get", "pods", "--watch"];
  const watch = spawn(kubectl, [...pods, "-o", `jsonpath=${columns.join("|")}{"\\n"}`]);
  let said = "";
  watch.stdout.on("data", (text: Buffer) => (said += text.toString()));
  try {
    await once(watch.stdout, "data");
    await change();
  } finally {
    const ended = once(watch, "exit");
    watch.kill();
    await ended;
  }
  const lines = said.slice(0, said.lastIndexOf("\n") + 1).split("\n");
  return lines.filter((line) => line !== "").map(podOf);
}

const nodesSchema = z.object({
  nodes: z.array(
    z.object({
      node: z.string(),
      tunnel: z.array(z.object({ connections: z.array(z.object({ draining: z.boolean() })) })),
    }),
  ),
});

/** Nodes to which the edge may send a new stream. */
export async function connectedNodes(): Promise<string[]> {
  const { nodes } = nodesSchema.parse(await edgeApi("GET", `/clusters/${edge.cluster}/nodes`));
  const usable = nodes.filter(
    ({ tunnel }) =>
      tunnel.length > 0 && tunnel.every(({ connections }) => connections.some(({ draining }) => !draining)),
  );
  return usable.map(({ node }) => node).sort();
}

/** The agents' processes on a node. */
export const agentPids = ({ netns }: NodePlace): Promise<number[]> => pidsIn(netns, "/agent/main.mjs");
