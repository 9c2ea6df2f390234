// One node: containerd, kubelet and (unless the agent is in its place) kube-proxy in the node's own network namespace, containerd in its own UTS namespace
// too. Owns the node's folder under `work`, which survives until `down`. What is running is left alone.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { run, succeeds } from "./command.ts";
import { containerdConfig, kubeletConfig, networkConfig, proxyConfig, resolverConfig } from "./configuration.ts";
import { agnhostImage, type Image, pauseImage, sameAsAgnhost } from "./images.ts";
import { inside, kubeconfig, type NodePlace, type Proxy } from "./places.ts";
import { ensureProcess, logOf, until } from "./processes.ts";

export const containerdOf = (node: NodePlace): string => `containerd-${node.name}`;

/** Images are imported before the kubelet starts: it would ask a registry for what it does not find. */
export async function ensureNode(
  node: NodePlace,
  binaries: string,
  images: readonly Image[],
  proxy: Proxy,
): Promise<void> {
  for (const [name, text] of Object.entries(filesOf(node))) {
    const path = `${node.folder}/${name}`;
    mkdirSync(dirname(path), { recursive: true });
    // kube-proxy exits when its file is written, even with what it had.
    if (!existsSync(path)) writeFileSync(path, text);
  }
  ensureProcess(containerdOf(node), [
    ...inside(node.netns),
    // Pods on the host's network take their host name from here; without this all nodes' answer with the machine's.
    ...["unshare", "--uts", "sh", "-c", `hostname ${node.name} && exec containerd --config "$0"`],
    `${node.folder}/containerd.toml`,
  ]);
  await until(`containerd of ${node.name}; see ${logOf(containerdOf(node))}`, () =>
    succeeds([...ctr(node), "version"]),
  );
  for (const { name, archive } of images) if (!(await hasImage(node, name))) await importImage(node, archive);
  for (const name of sameAsAgnhost) await tagImage(node, agnhostImage, name);
  ensureProcess(`kubelet-${node.name}`, [...inside(node.netns), ...kubeletCommand(node, binaries)]);
  if (proxy !== "kube-proxy") return;
  ensureProcess(`kube-proxy-${node.name}`, [
    ...inside(node.netns),
    ...[`${binaries}/kube-proxy`, "--config", `${node.folder}/kube-proxy.json`],
  ]);
}

/** Path in the node's folder → text. */
export const filesOf = (node: NodePlace): Readonly<Record<string, string>> => ({
  "cni/10-pods.conflist": networkConfig(node),
  "resolv.conf": resolverConfig(),
  "containerd.toml": containerdConfig(node, pauseImage),
  "kubelet.json": kubeletConfig(node),
  "kube-proxy.json": proxyConfig(node),
});

export const kubeletCommand = (node: NodePlace, binaries: string): readonly string[] => [
  ...[`${binaries}/kubelet`, "--config", `${node.folder}/kubelet.json`],
  ...["--kubeconfig", kubeconfig(node.name), "--hostname-override", node.name, "--node-ip", node.address],
  ...["--node-labels", `topology.kubernetes.io/zone=${node.zone}`],
  ...["--root-dir", `${node.folder}/kubelet`, "--cert-dir", `${node.folder}/kubelet/pki`],
];

/** An OCI archive, under the name that it carries. */
export async function importImage(node: NodePlace, archive: string): Promise<void> {
  await run([...ctr(node), "images", "import", archive]);
}

/** Gives an image of the node another name. */
export async function tagImage(node: NodePlace, image: string, name: string): Promise<void> {
  await run([...ctr(node), "images", "tag", "--force", image, name]);
}

async function hasImage(node: NodePlace, name: string): Promise<boolean> {
  return (await run([...ctr(node), "images", "list", "--quiet", `name==${name}`])).trim() !== "";
}

const ctr = (node: NodePlace): string[] => ["ctr", "--address", node.containerd, "--namespace", "k8s.io"];
