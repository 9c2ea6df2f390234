// What an installation leaves in a cluster: nothing, after its end. Reads only.
import { run } from "../harness/command.ts";
import { kubectl } from "../harness/places.ts";
import type { TestNamespace } from "./web.ts";

/** Names of the namespace's Services that carry anything that Kubernetes does not put there by itself. */
export async function marked(test: TestNamespace): Promise<string[]> {
  const columns = "{.metadata.name}|{.metadata.finalizers}{.status.conditions}{.status.loadBalancer.ingress}";
  const lines = await test.kubectl("get", "services", "-o", `jsonpath={range .items[*]}${columns}{"\\n"}{end}`);
  return lines.split("\n").flatMap((line) => /^(.+)\|./.exec(line)?.[1] ?? []);
}

/** Objects of the installation itself, one a line. */
export function installed(): Promise<string> {
  const kinds = ["namespaces", "priorityclasses", "clusterroles", "clusterrolebindings"];
  const policies = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
  const ours = ["-l", "app.kubernetes.io/name=postern-agent", "-o", "name"];
  return run([kubectl, "get", [...kinds, ...policies].join(), ...ours]);
}
