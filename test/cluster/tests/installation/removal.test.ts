// The end of an installation as docs/install.md says: whatever is deleted first, and whether or not an agent is left to do its
// part, agent/manifests/uninstall.sh finishes it and no Service stays stuck. Each test begins with all of it installed.
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { ensureAgent } from "../../harness/agent.ts";
import { agentPods, inSystem } from "../../tools/agents.ts";
import { run, succeeds } from "../../harness/command.ts";
import { kubectl } from "../../harness/places.ts";
import { until } from "../../harness/processes.ts";
import { installed, marked } from "../../tools/leftovers.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

const script = new URL("../../../../agent/manifests/uninstall.sh", import.meta.url).pathname;
const manifest = new URL("../../../../agent/manifests/postern.yaml", import.meta.url).pathname;
const finalizer = "service.kubernetes.io/load-balancer-cleanup";
const names = ["a", "b", "headless"];
let test: TestNamespace;

beforeAll(async () => {
  test = await TestNamespace.create();
});
beforeEach(async () => {
  await install();
  // All that a Service can have of ours: finalizer, host name, several conditions, errors of ports.
  const ports = ["TCP", "UDP"].map((protocol) => ({ name: protocol.toLowerCase(), port: 80, protocol }));
  const annotations = { "postern.dev/expose": "true" };
  await test.apply(
    webService("a", { type: "LoadBalancer", loadBalancerClass: "postern.dev/edge" }),
    webService("b", { type: "LoadBalancer", ports }),
    { ...webService("headless", { clusterIP: "None" }), metadata: { name: "headless", annotations } },
  );
  const services = names.map((name) => `service/${name}`);
  await test.kubectl("wait", "--for=condition=postern.dev/Programmed", "--timeout=60s", ...services);
});
afterAll(async () => {
  await install();
  await test[Symbol.asyncDispose]();
});

const install = (): Promise<void> => ensureAgent(() => {});
const uninstall = (): Promise<string> => run(["sh", script], { env: { KUBECTL: kubectl } });

async function nothingIsLeft(): Promise<void> {
  expect(await marked(test)).toEqual([]);
  expect(await installed()).toBe("");
  await test.kubectl("delete", "services", "--all", "--timeout=20s");
}

/** Marks stay: to Kubernetes and the agents this is a change of the DaemonSet, and another leader may come. */
async function withoutAgents(): Promise<void> {
  const spec = { template: { spec: { nodeSelector: { nowhere: "yes" } } } };
  await inSystem("patch", "daemonset/postern-agent", "-p", JSON.stringify({ spec }));
  await until("no agent", async () => (await agentPods()).length === 0);
}

it("the script alone takes all of it out, and has nothing to do a second time", async () => {
  expect(await uninstall()).toContain("Postern is out of this cluster.");
  expect(await uninstall()).toContain("Postern is out of this cluster.");
  await nothingIsLeft();
});

it("a plain `kubectl delete -f` finishes; the rights go before an agent could use them, and the script frees all Services", async () => {
  await run([kubectl, "delete", "-f", manifest, "--timeout=90s"]);
  await uninstall();
  await nothingIsLeft();
});

it.each<[what: string, ...args: string[]]>([
  ["namespace", "namespace/postern-system"],
  ["DaemonSet", "--namespace=postern-system", "daemonset/postern-agent"],
])("a plain `kubectl delete` of the %s: the leading agent frees all Services by itself", async (_what, ...args) => {
  await run([kubectl, "delete", ...args, "--timeout=90s"]);
  await until("no Service is marked", async () => (await marked(test)).length === 0);
  await uninstall();
  await nothingIsLeft();
});

it("Services that are deleted while no agent runs are freed by the script", async () => {
  await withoutAgents();
  expect(await marked(test)).toEqual(names);
  await test.kubectl("delete", "service/a", "service/b", "--wait=false");
  expect(await succeeds([kubectl, "-n", test.name, "wait", "--for=delete", "service/a", "--timeout=3s"])).toBe(false);
  await uninstall();
  await nothingIsLeft();
});

it("what is not Postern's stays: other finalizers, other conditions, Services of others", async () => {
  const theirs = webService("theirs", { type: "LoadBalancer", loadBalancerClass: "example.com/other" });
  await test.apply({ ...theirs, metadata: { name: "theirs", finalizers: [finalizer] } });
  await withoutAgents();
  const lastTransitionTime = "2026-01-01T00:00:00Z";
  const conditions = [{ type: "example.com/Kept", status: "True", reason: "Kept", message: "", lastTransitionTime }];
  const more = { metadata: { finalizers: ["example.com/kept"] }, status: { conditions } };
  await test.kubectl("patch", "service/a", "--subresource=status", "-p", JSON.stringify(more));
  await uninstall();
  expect(await test.field("service/a", ".metadata.finalizers")).toBe('["example.com/kept"]');
  expect(await test.field("service/a", ".status.conditions[*].type")).toBe("example.com/Kept");
  expect(await test.field("service/theirs", ".metadata.finalizers")).toBe(`["${finalizer}"]`);
  for (const name of ["a", "theirs"])
    await test.kubectl("patch", `service/${name}`, "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
});
