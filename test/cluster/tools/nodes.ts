// Nodes that take no new pods for a while.
import { run } from "../harness/command.ts";
import { kubectl } from "../harness/places.ts";
import { until } from "../harness/processes.ts";

/**
 * Resolves when pods may come to it again. The controller that takes the taint away tries once for each change of the node: where the API
 * server is killed right behind the uncordon, the taint stays until the kubelet reports anew, which takes up to five minutes.
 */
export async function uncordon(node: string): Promise<void> {
  await run([kubectl, "uncordon", node]);
  const taints = () => run([kubectl, "get", `node/${node}`, "-o", "jsonpath={.spec.taints[*].key}"]);
  await until(`${node} takes pods`, async () => !(await taints()).includes("node.kubernetes.io/unschedulable"));
}
