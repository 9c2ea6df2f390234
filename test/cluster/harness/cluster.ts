// The whole cluster: brings it up, takes it down. Only composes: each part is in the file named after it.
// Everything it makes is kept in `work` and survives this process; `up` completes what is missing, also after a crash.
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { ensureBinaries } from "./binaries.ts";
import { ensureControlPlane, nodesAreReady } from "./control.ts";
import { ensureImages } from "./images.ts";
import { ensureNetwork } from "./network.ts";
import { ensureNode } from "./node.ts";
import { ensurePackages } from "./packages.ts";
import { ensureAgent } from "./agent.ts";
import { type EdgePlace, edgePlace, ensureEdge, type Refuse } from "./edge.ts";
import { control, inside, kubeconfig, kubectl, nodes } from "./places.ts";
import { rememberMachine } from "./stop.ts";

/** What `-- --json` prints. */
export interface Cluster {
  readonly kubeconfig: string;
  readonly kubectl: string;
  /** Prefix that runs a program inside the control plane's namespace. */
  readonly exec: readonly string[];
  /** Absent: Kubernetes alone. */
  readonly edge?: EdgePlace;
  readonly nodes: readonly { readonly name: string; readonly address: string; readonly netns: string }[];
}

export interface Wishes {
  /** Kubernetes alone, without edge and agent. */
  readonly bare?: boolean;
  /** How the edge refuses; see `npm run edge -- --help`. */
  readonly refuse?: Refuse;
}

export async function bringUp(
  say: (line: string) => void,
  { bare = false, refuse = "answer" }: Wishes = {},
): Promise<Cluster> {
  await ensurePackages(say);
  const binaries = await ensureBinaries(say);
  const images = await ensureImages(binaries, say);
  await rememberMachine();
  say("network");
  await ensureNetwork();
  if (!existsSync(kubectl)) {
    const prefix = inside(control.netns).join(" ");
    const config = `\${KUBECONFIG:-${kubeconfig("admin")}}`;
    writeFileSync(kubectl, `#!/bin/sh\nKUBECONFIG="${config}" exec ${prefix} ${binaries}/kubectl "$@"\n`);
    chmodSync(kubectl, 0o755);
  }
  say("control plane");
  await ensureControlPlane(binaries);
  say("nodes");
  await Promise.all(nodes.map((node) => ensureNode(node, binaries, images)));
  await nodesAreReady();
  if (!bare) {
    say("edge");
    await ensureEdge(refuse);
    say("agent");
    await ensureAgent(say);
  }
  return {
    kubeconfig: kubeconfig("admin"),
    kubectl,
    exec: inside(control.netns),
    ...(bare ? {} : { edge: edgePlace }),
    nodes: nodes.map(({ name, address, netns }) => ({ name, address, netns })),
  };
}
