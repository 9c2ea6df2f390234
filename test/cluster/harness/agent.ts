// The agent in the test cluster, installed as docs/install.md says: an install code of the edge, and one `kubectl apply` of the
// manifest that the edge serves, whose pods fetch the agent from the edge. In kube-proxy's place: an image on the nodes, the overlay
// of its mode, and the settings of the install code, or without an edge a ConfigMap. Left alone where it is there; a newer agent is
// rolled out.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { settingOf } from "../../../src/shared/model/option-names.ts";
import { run, succeeds } from "./command.ts";
import { adminToken, edgeApi, handedOut } from "./edge.ts";
import { importImage } from "./node.ts";
import { apiServer, edge, kubectl, needsMachines, nodes, podRange, type Proxy, work } from "./places.ts";

const root = new URL("../../..", import.meta.url).pathname;
const loaded = `${work}/agent-image`;
const namespaced = [kubectl, "--namespace", "postern-system"];
const daemonSet = "daemonset/postern-agent";
const codeSchema = z.object({ url: z.url(), uses: z.int(), expiresAt: z.int() });
/** Those that this process made, by the edge's token and what they are for: an edge keeps only so many at a time. */
const codes = new Map<string, z.infer<typeof codeSchema>>();
const clustersSchema = z.object({ clusters: z.array(z.object({ name: z.string() })) });

/** As every tutorial has it: Services without a class are ours, too. */
const options = {
  "default-class": "true",
  "allow-external-name": "outside.test",
  "direct-address-type": "InternalIP",
};
/** What docs/install.md has users say of their cluster where the agent is in kube-proxy's place. */
const proxyOptions = { "kube-api": apiServer, "cluster-cidr": podRange };

export interface Installation {
  readonly proxy: Proxy;
  /** False: the agent is a kube-proxy alone. */
  readonly edge: boolean;
}

export async function ensureAgent(
  say: (line: string) => void,
  { proxy, edge }: Installation = { proxy: "kube-proxy", edge: true },
): Promise<void> {
  const newer = proxy === "kube-proxy" ? await isNewerFetched() : await loadImage(say, "kernel", proxy);
  const settings = edge ? "secret/postern-agent" : "configmap/postern-agent";
  const isThere = await succeeds([...namespaced, "get", daemonSet]);
  const isInstalled = isThere && (await succeeds([...namespaced, "get", settings]));
  if (!isInstalled || (newer && proxy === "kube-proxy")) await install({ proxy, edge });
  // Pods read their settings, and look for their image, when they start.
  if (isThere && (!isInstalled || (newer && proxy !== "kube-proxy")))
    await run([...namespaced, "rollout", "restart", daemonSet]);
  await agentIsReady(needsMachines(proxy) ? 600 : 90);
}

/** The edge hands out another agent than the one that the manifest names. */
async function isNewerFetched(): Promise<boolean> {
  const args = "jsonpath={.spec.template.spec.initContainers[0].args}";
  const get = [...namespaced, "get", daemonSet, "--ignore-not-found", "-o", args];
  return !(await run(get)).includes(`main.mjs=${handedOut().main}`);
}

/** Gives the image to all nodes, unless they have it. True: they had another one, or none. */
export async function loadImage(
  say: (line: string) => void,
  target: "agent" | "kernel",
  proxy: Proxy = "kube-proxy",
): Promise<boolean> {
  const archive = await buildImage(say, target);
  const before = existsSync(loaded) ? readFileSync(loaded, "utf8") : "";
  if (before === archive) return false;
  // A virtual machine was given it at its start.
  if (!needsMachines(proxy)) await Promise.all(nodes.map((node) => importImage(node, archive)));
  writeFileSync(loaded, archive);
  return true;
}

export async function agentIsReady(seconds = 90): Promise<void> {
  const status = [...namespaced, "rollout", "status", daemonSet, `--timeout=${seconds}s`];
  await run(status, { timeout: (seconds + 10) * 1000 });
}

async function install({ proxy, edge }: Installation): Promise<void> {
  if (proxy === "kube-proxy") return await applyManifest();
  await apply("-k", `${root}agent/manifests/overlays/${proxy}`);
  if (edge) {
    const url = await installCode({ ...options, ...proxyOptions });
    return await apply("-l", "app.kubernetes.io/component=settings", "-f", url);
  }
  const literals = Object.entries(proxyOptions).map(([name, value]) => `--from-literal=${settingOf(name)}=${value}`);
  await run([...namespaced, "create", "configmap", "postern-agent", ...literals]);
}

/** As docs/install.md says of an upgrade, too. `image`: one with the agent in it. */
export async function applyManifest(image?: string): Promise<void> {
  await apply("-f", await installCode(options, image));
}

async function apply(...what: string[]): Promise<void> {
  await run([kubectl, "apply", ...what]);
}

/** The URL of a manifest that holds a token of its own. To be asked once. */
async function installCode(options: Readonly<Record<string, string>>, image?: string): Promise<string> {
  const { clusters } = clustersSchema.parse(await edgeApi("GET", "/clusters"));
  if (!clusters.some(({ name }) => name === edge.cluster)) await edgeApi("POST", "/clusters", { name: edge.cluster });
  const input = image === undefined ? { options } : { options, image };
  const key = JSON.stringify([adminToken(), input]);
  let code = codes.get(key);
  // A minute is enough to ask for it.
  if (code === undefined || code.uses === 0 || code.expiresAt < Date.now() + 60_000)
    code = codeSchema.parse(await edgeApi("POST", `/clusters/${edge.cluster}/install-code`, input));
  codes.set(key, { ...code, uses: code.uses - 1 });
  return code.url;
}

export async function buildImage(say: (line: string) => void, target: "agent" | "kernel"): Promise<string> {
  say("the agent's image");
  const printed = await run([process.execPath, `${root}.ci/image.ts`, "--target", target], { timeout: 600_000 });
  return printed.trim().split("\n").at(-1) ?? "";
}
