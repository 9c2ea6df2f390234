// What users of a cloud LoadBalancer rely on, about nodes and endpoints: which nodes take requests, externalTrafficPolicy,
// endpoints on their way out, hints. Requests are asked through which node they came (entries).
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../harness/command.ts";
import { ask, entries, eventsOf, hostOf, outcome, servers, troubles } from "../../tools/exposed.ts";
import { uncordon } from "../../tools/nodes.ts";
import { agnhostImage } from "../../harness/images.ts";
import { control, inside, kubectl, nodes } from "../../harness/places.ts";
import { until } from "../../harness/processes.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

let test: TestNamespace;
let names: string[];
const patience = { timeout: 60_000, interval: 200 };
const EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers";

beforeAll(async () => {
  test = await TestNamespace.create();
  await test.deployWeb({ replicas: 3 });
  names = (await test.pods()).map(({ name }) => name).sort();
  for (const transport of transports) {
    await test.apply(balancer(transport, {}, { "postern.dev/transport": transport }));
    await until(`${transport} is served`, async () => (await outcome(hostOf(test, transport))) === "200");
  }
});
afterAll(async () => test[Symbol.asyncDispose]());

const transports = ["tunnel", "direct"] as const;
const balancer = (name: string, spec: object = {}, annotations: object = {}): object => ({
  ...webService(name, { type: "LoadBalancer", ports: [{ port: 80, targetPort: 8080 }], ...spec }),
  metadata: { name, annotations },
});
const patch = (name: string, spec: object): Promise<string> =>
  test.kubectl("patch", `service/${name}`, "-p", JSON.stringify({ spec }));
/** `value`: "=" with an empty value, "=false", or "-" to take the label away. */
const exclude = (node: string, value: string): Promise<string> =>
  run([kubectl, "label", "--overwrite", `node/${node}`, `${EXCLUDE}${value}`]);
const enterAt = (service: string, expected: readonly number[]): Promise<void> =>
  expect.poll(() => entries(hostOf(test, service), { parallel: true }), patience).toEqual(expected);

describe.each(transports)("nodes: %s", (transport) => {
  afterEach(async () => {
    for (const { name } of nodes) await exclude(name, "-");
    await uncordon("n2");
  });

  it("all take requests; an excluded one takes none, and its pods stay reachable", async () => {
    await enterAt(transport, [1, 2, 3]);
    await exclude("n1", "=");
    await enterAt(transport, [2, 3]);
    await expect.poll(() => servers(hostOf(test, transport), { parallel: true }), patience).toEqual(names);
    // Only what reads as no is no exclusion.
    await exclude("n1", "=false");
    await enterAt(transport, [1, 2, 3]);
  });

  it("a cordoned one goes on taking them", async () => {
    await run([kubectl, "cordon", "n2"]);
    await enterAt(transport, [1, 2, 3]);
  });

  it("all excluded: refused, and the condition names label, node and command", async () => {
    for (const { name } of nodes) await exclude(name, "=");
    await expect.poll(() => troubles(test, transport), patience).toContain("NoEligibleNodes");
    await expect.poll(() => outcome(hostOf(test, transport)), patience).toBe("503 no-eligible-nodes");
    const events = () => eventsOf(test, transport);
    await expect
      .poll(events, patience)
      .toContain("Warning UnAvailableLoadBalancer: There are no available nodes for LoadBalancer");
    await expect.poll(events, patience).toContainEqual(expect.stringContaining(`kubectl label node n1 ${EXCLUDE}-`));
    for (const { name } of nodes) await exclude(name, "-");
    await enterAt(transport, [1, 2, 3]);
    await expect.poll(() => troubles(test, transport), patience).not.toContain("NoEligibleNodes");
  });
});

describe.each(transports)("externalTrafficPolicy: Local: %s", (transport) => {
  const service = `local-${transport}`;
  beforeAll(() => test.apply(deployment("one", { nodeSelector: { "kubernetes.io/hostname": "n1" } })));

  it("only nodes with a pod of their own take requests; switched live", async () => {
    const spec = { selector: { app: "one" }, externalTrafficPolicy: "Local" };
    // A second try must not meet connections that the edge kept from the first.
    await test.kubectl("delete", "--ignore-not-found", `service/${service}`);
    await test.apply(balancer(service, spec, { "postern.dev/transport": transport }));
    await test.kubectl("rollout", "status", "--timeout=60s", "deployment/one");
    const host = hostOf(test, service);
    await expect.poll(() => outcome(host), patience).toBe("200");
    // By tunnel the pod sees its node's agent; direct, a packet that Local does not rewrite, the edge's, or one of a
    // connection from the time of Cluster, which the edge kept.
    const seen = async () => [...new Set((await ask(host, { count: 20, path: "/clientip" })).map(({ body }) => body))];
    const local = transport === "tunnel" ? /^10\.244\.1\.1:/ : /^10\.(90\.0\.11?|244\.1\.1):/;
    const answers = await seen();
    expect(answers.length).toBeGreaterThan(0);
    for (const answer of answers) expect(answer).toMatch(local);

    await patch(service, { externalTrafficPolicy: "Cluster" });
    await enterAt(service, [1, 2, 3]);
    await patch(service, { externalTrafficPolicy: "Local" });
    await expect.poll(async () => (await seen()).every((answer) => local.test(answer)), patience).toBe(true);
  });

  it("healthCheckNodePort is kube-proxy's, and says the same", async () => {
    const port = await test.field(`service/${service}`, ".spec.healthCheckNodePort");
    const health = async () =>
      await Promise.all(
        nodes.map(({ address }) => {
          const curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", `http://${address}:${port}/healthz`];
          return run([...inside(control.netns), ...curl]);
        }),
      );
    await expect.poll(health, patience).toEqual(["200", "503", "503"]);
  });
});

describe.each(["Cluster", "Local"])("the last endpoint on its way out: policy %s", (externalTrafficPolicy) => {
  it("serves until it is gone", async () => {
    const service = `leaving-${externalTrafficPolicy.toLowerCase()}`;
    await test.apply(
      deployment(service, {}, 12),
      balancer(service, { selector: { app: service }, externalTrafficPolicy }),
    );
    await test.kubectl("rollout", "status", "--timeout=60s", `deployment/${service}`);
    const host = hostOf(test, service);
    await expect.poll(() => outcome(host), patience).toBe("200");
    await test.kubectl("scale", `deployment/${service}`, "--replicas=0");
    const terminating = () =>
      test.kubectl(
        ...["get", "endpointslices", "-l", `kubernetes.io/service-name=${service}`],
        ...["-o", "jsonpath={.items[*].endpoints[*].conditions}"],
      );
    await expect.poll(terminating, patience).toBe('{"ready":false,"serving":true,"terminating":true}');
    const answers = await ask(host, { count: 100 });
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(await troubles(test, service)).toEqual([]);
    await expect.poll(() => outcome(host), { timeout: 40_000, interval: 500 }).toBe("503 no-endpoints");
  });
});

describe("hints", () => {
  it("PreferSameNode: each request is answered on the node where it came in", async () => {
    await test.apply(balancer("near", { trafficDistribution: "PreferSameNode" }));
    const host = hostOf(test, "near");
    await enterAt("near", [1, 2, 3]);
    const seen = async () => (await ask(host, { count: 40, path: "/clientip" })).map(({ body }) => body);
    await expect.poll(async () => (await seen()).every((body) => /^10\.244\.\d\.1:/.test(body)), patience).toBe(true);
  });
});

/** Agnhost that goes on answering for so many seconds after it was told to end. */
function deployment(name: string, spec: object, delay = 3): object {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          containers: [
            {
              name: "web",
              image: agnhostImage,
              args: ["netexec", "--http-port=8080", `--delay-shutdown=${delay}`],
              readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, periodSeconds: 1 },
            },
          ],
          ...spec,
        },
      },
    },
  };
}
