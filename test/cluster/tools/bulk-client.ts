// Many requests to the API server at once, faster than kubectl lets them through. A program of its own, because the API server
// is reached from inside the control plane's namespace (bulk.ts starts it). Argument: a kubeconfig. Standard input: a JSON list
// of calls; prints how many milliseconds they took, or ends with the first answer that was no success. What is to be made may be there already.
import { text } from "node:stream/consumers";
import { kubeconfigAccess } from "../../../agent/kube/access.ts";
import { describe, KubeApi, STRATEGIC_MERGE } from "../../../agent/kube/api.ts";
import type { BulkCall } from "./bulk.ts";

const AT_ONCE = 64;
const calls = JSON.parse(await text(process.stdin)) as BulkCall[];
const api = new KubeApi(kubeconfigAccess(process.argv[2] ?? ""));
const begun = performance.now();

async function work(): Promise<void> {
  for (let call = calls.shift(); call !== undefined; call = calls.shift()) {
    const { method, path, body } = call;
    const answer = await api.call(method, path, {
      body,
      ...(method === "PATCH" ? { contentType: STRATEGIC_MERGE } : {}),
    });
    // An earlier try of the same test has made it.
    if (method === "POST" && answer.kind === "status" && answer.reason === "AlreadyExists") continue;
    if (answer.kind !== "ok") throw new Error(`${method} ${path}: ${describe(answer)}`);
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, work));
console.log(Math.round(performance.now() - begun));
await api.close();
