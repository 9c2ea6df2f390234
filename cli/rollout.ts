// How a command waits until the agents of a manifest that was applied run on every node, and are connected to the edge.
import { z } from "zod";
import type { ClusterNode } from "../src/shared/control/answers.ts";
import type { ControlClient } from "../src/shared/control/client.ts";
import { Failed } from "./failed.ts";
import type { Kubectl } from "./kubectl.ts";
import type { Session } from "./session.ts";

const LOOK_MS = 1_000;

/** Names of the connected nodes, once the manifest at `url` is applied and there are as many as the DaemonSet is to run on. */
export async function applied(
  session: Session,
  client: ControlClient,
  name: string,
  { kubectl, url, seconds }: { kubectl: Kubectl; url: string; seconds: number },
): Promise<string[]> {
  await kubectl.call(["apply", "-f", url]);
  const { now, pause, tell } = session.effects;
  const end = now() + seconds * 1000;
  for (let said = ""; ; await pause(LOOK_MS)) {
    const wanted = wantedPods(await kubectl.get(daemonSetSchema, "-n", "postern-system", "daemonset", "postern-agent"));
    const { nodes } = await session.ask(client.nodes(name));
    const connected = nodes.filter(isConnected).map((each) => each.node);
    if (wanted > 0 && connected.length >= wanted) return connected;
    const line = `${connected.length} of ${wanted === 0 ? "?" : wanted} nodes are connected`;
    if (line !== said) tell(line);
    said = line;
    if (now() >= end)
      throw new Failed(`${line} after ${seconds} s`, {
        next: "kubectl -n postern-system get pods -o wide, and the logs of one that is not ready",
      });
  }
}

const counts = z.object({
  observedGeneration: z.int(),
  desiredNumberScheduled: z.int(),
  /** By the newest template; absent for none. */
  updatedNumberScheduled: z.int(),
});
const daemonSetSchema = z.object({
  metadata: z.object({ generation: z.int() }),
  status: counts.partial().default({}),
});

/** 0: Kubernetes has not counted yet, or pods of an older manifest are still there. */
function wantedPods({ metadata, status }: z.output<typeof daemonSetSchema>): number {
  const { observedGeneration, desiredNumberScheduled = 0, updatedNumberScheduled = 0 } = status;
  return observedGeneration === metadata.generation && updatedNumberScheduled >= desiredNumberScheduled
    ? desiredNumberScheduled
    : 0;
}

/** To each shard. */
const isConnected = ({ tunnel }: ClusterNode): boolean =>
  tunnel.length > 0 && tunnel.every(({ connections }) => connections.some(({ draining }) => !draining));
