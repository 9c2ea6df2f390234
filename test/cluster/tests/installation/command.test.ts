// The same by the command: `postern join --apply`, `postern upgrade`, `postern version` and `postern uninstall`, with the cluster's real
// kubectl and API server. Its own words are taken at face value: what it says is done must be so in that moment. One after the other.
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { ensureAgent } from "../../harness/agent.ts";
import { edge, kubectl, nodes } from "../../harness/places.ts";
import { run } from "../../harness/command.ts";
import { agentPods, inSystem } from "../../tools/agents.ts";
import { hostOf, outcome } from "../../tools/exposed.ts";
import { handOutAnother, ofVersion } from "../../tools/hand-out.ts";
import { installed, marked } from "../../tools/leftovers.ts";
import { type LoadReport, served, underLoad } from "../../tools/load.ts";
import { postern, type Said } from "../../tools/postern.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

const everywhere = nodes.map(({ name }) => name);
const options = {
  "default-class": "true",
  "allow-external-name": "outside.test",
  "direct-address-type": "InternalIP",
};
const versionSchema = z.object({
  agents: z.array(z.object({ node: z.string(), software: z.string() })),
  skew: z.array(z.string()),
});
const serviceSchema = z.object({
  spec: z.object({ clusterIP: z.string(), ports: z.tuple([z.object({ nodePort: z.int() })]) }),
});

let test: TestNamespace;
/** Put back in any case. */
let undo = (): void => {};
beforeAll(async () => {
  test = await TestNamespace.create();
  await test.deployWeb({ replicas: 3 });
  await exposed();
});
afterAll(async () => {
  undo();
  await ensureAgent(() => {});
  await test[Symbol.asyncDispose]();
});

async function exposed(): Promise<void> {
  const ports = [{ port: 80, targetPort: 8080 }];
  const direct = webService("direct", { type: "LoadBalancer", ports });
  const headless = webService("headless", { clusterIP: "None" });
  await test.apply(
    webService("tunnel", { type: "LoadBalancer", ports }),
    { ...direct, metadata: { name: "direct", annotations: { "postern.dev/transport": "direct" } } },
    { ...headless, metadata: { name: "headless", annotations: { "postern.dev/expose": "true" } } },
  );
}

/** Where a test begins, and its second try as well: agents of the edge's own version serve all three Services. */
async function installedAndServed(): Promise<void> {
  undo();
  undo = () => {};
  await ensureAgent(() => {});
  await exposed();
  const services = ["service/tunnel", "service/direct", "service/headless"];
  await test.kubectl("wait", "--for=condition=postern.dev/Programmed", "--timeout=60s", ...services);
}

/** Fails with what it said. */
async function well(...args: string[]): Promise<Said> {
  const said = await postern(args, { timeout: 300_000 });
  expect(said).toMatchObject({ code: 0 });
  return said;
}

const uninstall = (): Promise<Said> => well("uninstall", "--yes");
const join = (): Promise<Said> =>
  well(
    ...["join", edge.cluster, "--apply"],
    ...Object.entries(options).flatMap(([name, value]) => ["--option", `${name}=${value}`]),
  );
const versions = async () => versionSchema.parse(JSON.parse((await well("version", "-o", "json")).stdout));
const settings = (): Promise<string> => inSystem("get", "configmap/postern-agent", "-o", "jsonpath={.data}");
const lossless = (reports: readonly LoadReport[]): void => {
  for (const report of reports) {
    expect(report).toMatchObject({ failed: 0, failures: [] });
    expect(report.total).toBeGreaterThan(200);
  }
};

it("join --apply: Services that wait for it answer within 15 s of its end", async () => {
  await uninstall();
  expect(await outcome(hostOf(test, "tunnel"))).not.toBe("200");
  const { stdout } = await join();
  expect(stdout).toContain(`Cluster ${edge.cluster} has joined: ${everywhere.join(", ")}.`);
  await expect.poll(() => outcome(hostOf(test, "tunnel")), { timeout: 15_000 }).toBe("200");
  await expect.poll(() => outcome(hostOf(test, "direct")), { timeout: 15_000 }).toBe("200");
  // The end of an installation, and another one.
}, 400_000);

it("upgrade: agents of another version become the edge's under load, with the options that they have", async () => {
  await installedAndServed();
  undo = handOutAnother(ofVersion("0.0.9"));
  await join();
  const before = await versions();
  expect(before.agents.map(({ node, software }) => `${node} ${software}`)).toEqual(
    everywhere.map((node) => `${node} postern-agent 0.0.9`),
  );
  expect(before.skew).toEqual([
    expect.stringMatching(/^agents of cluster home are of other versions .* Next: postern upgrade home$/),
  ]);
  undo();
  undo = () => {};

  const had = await settings();
  const pods = (await agentPods()).map(({ name }) => name);
  for (const name of ["tunnel", "direct"]) await served(hostOf(test, name));
  let stdout = "";
  const upgrade = async (): Promise<void> => {
    ({ stdout } = await well("upgrade", edge.cluster));
    // At once: nothing of the older agents is left when it says that it is done.
    const { agents, skew } = await versions();
    expect({ skew, agents: agents.map(({ node }) => node) }).toEqual({ skew: [], agents: everywhere });
  };
  const reports: LoadReport[] = [];
  const beneath = await underLoad({ host: hostOf(test, "direct"), rate: 50 }, async () => {
    reports.push(await underLoad({ host: hostOf(test, "tunnel"), rate: 50 }, upgrade));
  });
  lossless([beneath, ...reports]);
  expect(stdout).toMatch(/^Cluster home has the agent of postern-edge \S+ on n1, n2, n3\. /);
  expect((await agentPods()).filter(({ name }) => pods.includes(name))).toEqual([]);
  expect(JSON.parse(await settings())).toEqual(JSON.parse(had));
  // Three rollouts, and a second try's own.
}, 500_000);

it("uninstall: nothing is left, and what does not need Postern notices nothing", async () => {
  await installedAndServed();
  expect(await marked(test)).toEqual(["direct", "headless", "tunnel"]);
  const { spec } = serviceSchema.parse(JSON.parse(await test.kubectl("get", "service/tunnel", "-o", "json")));
  const [node] = nodes;
  const nodePort = { host: "web", address: node?.address ?? "", port: spec.ports[0].nodePort, rate: 50 };
  const clusterIp = { host: "web", address: spec.clusterIP, netns: "n2", rate: 50 };
  const reports: LoadReport[] = [];
  const beneath = await underLoad(nodePort, async () => {
    reports.push(
      await underLoad(clusterIp, async () => {
        const { stdout } = await uninstall();
        expect(stdout).toContain("Postern is out of this cluster.");
        expect({ installed: await installed(), marked: await marked(test) }).toEqual({ installed: "", marked: [] });
      }),
    );
  });
  lossless([beneath, ...reports]);
  expect(await test.kubectl("get", "services", "-o", "jsonpath={.items[*].metadata.name}")).toBe(
    "direct headless tunnel",
  );
  const now = serviceSchema.parse(JSON.parse(await test.kubectl("get", "service/tunnel", "-o", "json")));
  expect(now.spec).toEqual(spec);
  expect(await outcome(hostOf(test, "tunnel"))).not.toBe("200");

  expect((await uninstall()).stdout).toContain("Postern is out of this cluster.");
  await run([kubectl, "--namespace", test.name, "delete", "services", "--all", "--timeout=20s"]);
  // Two ends of an installation, and for a second try one more beginning.
}, 400_000);
