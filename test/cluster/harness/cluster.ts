// The whole cluster: brings it up, takes it down. Only composes: each part is in the file named after it.
// Everything it makes is kept in `work` and survives this process; `up` completes what is missing, also after a crash.
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { ensureBinaries } from "./binaries.ts";
import { ensureControlPlane, nodesAreReady } from "./control.ts";
import { ensureImages } from "./images.ts";
import { ensureNetwork } from "./network.ts";
import { ensureKernel } from "../vm/kernel.ts";
import { ensureMachine } from "./machine.ts";
import { ensureNode } from "./node.ts";
import { ensurePackages } from "./packages.ts";
import { buildImage, ensureAgent } from "./agent.ts";
import { type EdgePlace, edgePlace, ensureEdge, type Refuse } from "./edge.ts";
import { control, inside, kubeconfig, kubectl, needsMachines, nodes, proxies, type Proxy, work } from "./places.ts";
import { rememberMachine } from "./stop.ts";

/** What `-- --json` prints. */
export interface Cluster {
  readonly kubeconfig: string;
  readonly kubectl: string;
  /** Prefix that runs a program inside the control plane's namespace. */
  readonly exec: readonly string[];
  readonly proxy: Proxy;
  /** Absent: Kubernetes alone. */
  readonly edge?: EdgePlace;
  readonly nodes: readonly { readonly name: string; readonly address: string; readonly netns: string }[];
}

export interface Wishes {
  /** Kubernetes alone, without edge and agent. */
  readonly bare?: boolean;
  /** How the edge refuses; see `npm run edge -- --help`. */
  readonly refuse?: Refuse;
  /** Absent: as the cluster has it, and kube-proxy for a new one. */
  readonly proxy?: Proxy;
}

const proxyFile = `${work}/proxy`;

export async function bringUp(
  say: (line: string) => void,
  { bare = false, refuse = "answer", proxy: wanted }: Wishes = {},
): Promise<Cluster> {
  await ensurePackages(say);
  const binaries = await ensureBinaries(say);
  const images = await ensureImages(binaries, say);
  await rememberMachine();
  const proxy = proxyOf(wanted);
  say("network");
  const machines = needsMachines(proxy);
  await ensureNetwork(machines);
  if (!existsSync(kubectl)) {
    const prefix = inside(control.netns).join(" ");
    const config = `\${KUBECONFIG:-${kubeconfig("admin")}}`;
    writeFileSync(kubectl, `#!/bin/sh\nKUBECONFIG="${config}" exec ${prefix} ${binaries}/kubectl "$@"\n`);
    chmodSync(kubectl, 0o755);
  }
  say("control plane");
  await ensureControlPlane(binaries);
  say("nodes");
  if (machines) {
    const agent = await buildImage(say, "kernel");
    const archives = [...images.map(({ archive }) => archive), agent];
    const machine = { kernel: await ensureKernel(say), binaries, archives };
    for (const node of nodes) await ensureMachine(node, machine);
  } else await Promise.all(nodes.map((node) => ensureNode(node, binaries, images, proxy)));
  await nodesAreReady(machines ? 600 : 60);
  if (!bare) {
    say("edge");
    await ensureEdge(refuse);
  }
  if (!bare || proxy !== "kube-proxy") {
    say("agent");
    await ensureAgent(say, { proxy, edge: !bare });
  }
  return {
    kubeconfig: kubeconfig("admin"),
    kubectl,
    exec: inside(control.netns),
    proxy,
    ...(bare ? {} : { edge: edgePlace }),
    nodes: nodes.map(({ name, address, netns }) => ({ name, address, netns })),
  };
}

/** One for a cluster's life: rules of two of them at once would translate the same packets. */
function proxyOf(wanted: Proxy | undefined): Proxy {
  const made = existsSync(proxyFile) ? readFileSync(proxyFile, "utf8") : undefined;
  const proxy = proxies.find((each) => each === made) ?? wanted ?? "kube-proxy";
  if (wanted !== undefined && wanted !== proxy) {
    throw new Error(
      `this cluster was made with --proxy ${proxy}: npm run cluster:down, then up with --proxy ${wanted}`,
    );
  }
  writeFileSync(proxyFile, proxy);
  return proxy;
}
