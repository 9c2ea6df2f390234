// The agent in the test cluster, installed as its users do: its image on the nodes, an install code of the edge, and one
// `kubectl apply` of the manifest that the edge serves. Left alone where it is there; a newer image is rolled out.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { run, succeeds } from "./command.ts";
import { edgeApi } from "./edge.ts";
import { importImage } from "./node.ts";
import { edge, kubectl, nodes, work } from "./places.ts";

const root = new URL("../../..", import.meta.url).pathname;
const loaded = `${work}/agent-image`;
const namespaced = [kubectl, "--namespace", "postern-system"];
const daemonSet = "daemonset/postern-agent";
const codeSchema = z.object({ url: z.url() });
const clustersSchema = z.object({ clusters: z.array(z.object({ name: z.string() })) });

/** As every tutorial has it: Services without a class are ours, too. */
const options = {
  "default-class": "true",
  "allow-external-name": "outside.test",
  "direct-address-type": "InternalIP",
};

export async function ensureAgent(say: (line: string) => void): Promise<void> {
  const archive = await buildImage(say);
  const before = existsSync(loaded) ? readFileSync(loaded, "utf8") : "";
  if (before !== archive) {
    await Promise.all(nodes.map((node) => importImage(node, archive)));
    writeFileSync(loaded, archive);
  }
  if (!(await succeeds([...namespaced, "get", daemonSet]))) await install();
  else if (before !== archive) await run([...namespaced, "rollout", "restart", daemonSet]);
  await agentIsReady();
}

export async function agentIsReady(): Promise<void> {
  await run([...namespaced, "rollout", "status", daemonSet, "--timeout=90s"], { timeout: 100_000 });
}

async function install(): Promise<void> {
  const { clusters } = clustersSchema.parse(await edgeApi("GET", "/clusters"));
  if (!clusters.some(({ name }) => name === edge.cluster)) await edgeApi("POST", "/clusters", { name: edge.cluster });
  const code = codeSchema.parse(await edgeApi("POST", `/clusters/${edge.cluster}/install-code`, { options }));
  await run([kubectl, "apply", "-f", code.url]);
}

async function buildImage(say: (line: string) => void): Promise<string> {
  say("the agent's image");
  const printed = await run([process.execPath, `${root}.ci/image.ts`], { timeout: 600_000 });
  return printed.trim().split("\n").at(-1) ?? "";
}
