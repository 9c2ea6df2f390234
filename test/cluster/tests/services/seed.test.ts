// The seed scenario: what a tutorial's reader does, from the Deployment to the usual slips, with the manifests in seed/; what
// Kubernetes does by itself is seen beside what Postern adds.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { succeeds } from "../../harness/command.ts";
import { ask, eventsOf, hostOf, outcome, servers, statusOf, troubles } from "../../tools/exposed.ts";
import { control, inside, kubectl, nodes, outside } from "../../harness/places.ts";
import { askFrom, TestNamespace } from "../../tools/web.ts";

let test: TestNamespace;
let pods: { name: string; address: string }[];
/** Names of the three pods, sorted. */
let names: string[];

const seed = new URL("seed/", import.meta.url).pathname;
const apply = (manifest: string): Promise<string> => test.kubectl("apply", "-f", `${seed}${manifest}.yaml`);
const patience = { timeout: 60_000, interval: 200 };
const from = inside(control.netns);
/** No answer where no Service at all has the listener's port. */
const notServed = ["0", "404 no-such-listener"];

beforeAll(async () => {
  test = await TestNamespace.create();
  await apply("deployment");
  await test.kubectl("rollout", "status", "--timeout=120s", "deployment/myweb");
  pods = await test.pods("apps=web");
  names = pods.map(({ name }) => name).sort();
});
afterAll(async () => test[Symbol.asyncDispose]());

it("Deployment: three ready pods with addresses of their own", () => {
  expect(pods).toHaveLength(3);
  expect(new Set(pods.map(({ address }) => address)).size).toBe(3);
});

/** All pods, and nobody else. */
async function reachesAll(prefix: readonly string[], target: string): Promise<void> {
  const answers = async () => [...new Set(await askFrom(prefix, target, 30))].sort();
  await expect.poll(answers, patience).toEqual(names);
}

describe("ClusterIP", () => {
  beforeAll(() => apply("clusterip"));

  it("is reached from a node and from a pod, spread over the three", async () => {
    const address = await test.field("service/myweb-service", ".spec.clusterIP");
    await reachesAll(inside("n1"), `${address}:8888`);
    await reachesAll([kubectl, "-n", test.name, "exec", names[0] ?? "", "--"], "myweb-service:8888");
  });

  it("is not reached from outside, neither by its address nor through the edge", async () => {
    const address = await test.field("service/myweb-service", ".spec.clusterIP");
    expect(await succeeds([...from, "curl", "-sS", "--max-time", "2", `http://${address}:8888`])).toBe(false);
    expect(notServed).toContain(await outcome(hostOf(test, "myweb-service")));
    expect(await statusOf(test, "myweb-service")).toMatchObject({ finalizers: [], ingress: [] });
  });
});

describe("NodePort", () => {
  it("as given is reached at every node, and is no LoadBalancer's", async () => {
    await apply("nodeport");
    for (const { address } of nodes) await reachesAll(from, `${address}:30080`);
    expect(await statusOf(test, "myweb-nodeport")).toMatchObject({ finalizers: [], ingress: [] });
    await test.kubectl("delete", "service/myweb-nodeport");
  });

  it("without a number gets one from 30000 to 32767", async () => {
    await apply("nodeport-allocated");
    const port = Number(await test.field("service/myweb-nodeport-any", ".spec.ports[0].nodePort"));
    expect(port).toBeGreaterThanOrEqual(30_000);
    expect(port).toBeLessThanOrEqual(32_767);
    for (const { address } of nodes) await reachesAll(from, `${address}:${port}`);
  });
});

describe("LoadBalancer", () => {
  beforeAll(() => apply("loadbalancer"));

  it("shows its host name as EXTERNAL-IP", async () => {
    const host = hostOf(test, "svc-loadbalancer");
    const columns = async () =>
      (await test.kubectl("get", "service/svc-loadbalancer", "-o", "wide", "--no-headers")).split(/\s+/);
    await expect.poll(columns, patience).toEqual(expect.arrayContaining(["LoadBalancer", host, "80:30080/TCP"]));
    const events = async () => (await eventsOf(test, "svc-loadbalancer")).map((line) => line.split(":", 1)[0]);
    await expect
      .poll(events, patience)
      .toEqual(expect.arrayContaining(["Normal EnsuringLoadBalancer", "Normal EnsuredLoadBalancer"]));
    // Nothing to worry about was told on the way.
    expect(await events()).toEqual(expect.not.arrayContaining([expect.stringContaining("Warning")]));
  });

  it.each(["direct", "tunnel"])("its listener reaches the pods of NodePort 30080: transport %s", async (transport) => {
    const host = hostOf(test, "svc-loadbalancer");
    await test.kubectl(
      ...["annotate", "--overwrite", "service/svc-loadbalancer", `postern.dev/transport=${transport}`],
    );
    // Direct says that it does not keep Host; nothing else does.
    const expected = transport === "direct" ? ["HostNotKept"] : [];
    await expect.poll(() => troubles(test, "svc-loadbalancer"), patience).toEqual(expected);
    // The edge keeps its connections, and one to a NodePort is one to a pod: direct, only many of them are spread.
    const spread = () => servers(host, { parallel: transport === "direct" });
    await expect.poll(spread, patience).toEqual(names);
    await reachesAll(from, `${nodes[0]?.address}:30080`);
    const [seen] = await ask(host, { path: "/header?key=X-Forwarded-Host" });
    expect(seen?.body).toBe(host);
  });

  it("is found by its name from pods, too", async () => {
    await reachesAll([kubectl, "-n", test.name, "exec", names[0] ?? "", "--"], hostOf(test, "svc-loadbalancer"));
  });
});

describe("ExternalName", () => {
  let server: ChildProcess;
  const name = `www.${outside.domain}`;

  beforeAll(async () => {
    const program = `require("node:http").createServer((req, res) => res.end("outside, asked for " + req.headers.host))
      .listen(80, "${outside.address}", () => console.log("listening"))`;
    const [nsenter, ...args] = [...from, process.execPath, "-e", program];
    server = spawn(nsenter ?? "", args, { stdio: ["ignore", "pipe", "inherit"] });
    if (server.stdout !== null) await once(server.stdout, "data");
    await apply("externalname");
  });
  afterAll(async () => {
    server.kill("SIGKILL");
    await once(server, "exit");
  });

  it("is a DNS name in the cluster, and nothing at the edge", async () => {
    const dig = ["exec", names[0] ?? "", "--", "dig", "+short", "+search", "svc-externalname"];
    expect((await test.kubectl(...dig)).trim().split("\n")).toContain(`${name}.`);
    expect(notServed).toContain(await outcome(hostOf(test, "svc-externalname")));
  });

  it("exposed by annotation, the edge answers with the outside server's content", async () => {
    await test.kubectl("annotate", "service/svc-externalname", "postern.dev/expose=true");
    const host = hostOf(test, "svc-externalname");
    const answer = async () => (await ask(host))[0]?.body;
    await expect.poll(answer, patience).toBe(`outside, asked for ${name}`);
    // Its address is in the condition: Kubernetes lets only LoadBalancers have one in the status.
    const { conditions, finalizers, ingress } = await statusOf(test, "svc-externalname");
    expect(conditions.get("Programmed")).toMatchObject({ status: "True", message: expect.stringContaining(host) });
    expect({ finalizers, ingress }).toEqual({ finalizers: [], ingress: [] });
  });

  it("of a name that --allow-external-name does not list is refused, with the cause", async () => {
    const patch = { spec: { externalName: "metadata.elsewhere.test" } };
    await test.kubectl("patch", "service/svc-externalname", "-p", JSON.stringify(patch));
    await expect.poll(() => troubles(test, "svc-externalname"), patience).toEqual(["ExternalNameNotAllowed"]);
    expect(await outcome(hostOf(test, "svc-externalname"))).toBe("503 no-endpoints");
  });
});

describe("Headless", () => {
  it("exposed by annotation, its endpoints are served one by one", async () => {
    await apply("headless");
    const host = hostOf(test, "svc-headless");
    expect(notServed).toContain(await outcome(host));
    await test.kubectl("annotate", "service/svc-headless", "postern.dev/expose=true");
    await expect.poll(() => servers(host), patience).toEqual(names);
    expect((await statusOf(test, "svc-headless")).conditions.get("Programmed")).toMatchObject({ status: "True" });
    // By address, without a ClusterIP in between.
    const dig = await test.kubectl("exec", names[0] ?? "", "--", "dig", "+short", "+search", "svc-headless");
    expect(dig.trim().split("\n").sort()).toEqual(pods.map(({ address }) => address).sort());
  });
});

describe("readinessProbe", () => {
  it.each(["svc-loadbalancer", "svc-headless"])("a pod that turns unready gets no request: %s", async (service) => {
    const [out = "", ...rest] = names;
    const host = hostOf(test, service);
    const address = pods.find(({ name }) => name === out)?.address ?? "";
    const endpoints = async () =>
      (await test.field(`endpoints/${service}`, ".subsets[*].addresses[*].ip")).split(" ").sort();
    await test.kubectl("exec", out, "--", "touch", "/tmp/unready");
    await expect.poll(endpoints, patience).not.toContain(address);
    // From the moment on that it left the list, or a moment later where a node hears of it.
    await expect.poll(() => servers(host), { timeout: 5_000, interval: 50 }).toEqual(rest);
    expect(await servers(host, { count: 200 })).toEqual(rest);
    await test.kubectl("exec", out, "--", "rm", "/tmp/unready");
    await expect.poll(endpoints, patience).toContain(address);
    await expect.poll(() => servers(host), patience).toEqual(names);
  });
});

describe("what is wrong is named, by condition and Event", () => {
  const broken = async (change: object) => {
    const patch = {
      spec: { ports: [{ port: 80, protocol: "TCP", targetPort: 80 }], selector: { apps: "web" }, ...change },
    };
    await test.kubectl("patch", "service/svc-loadbalancer", "-p", JSON.stringify(patch));
  };
  const host = () => hostOf(test, "svc-loadbalancer");
  const says = async (type: string, words: string) => {
    await expect.poll(() => troubles(test, "svc-loadbalancer"), patience).toEqual([type]);
    const { conditions } = await statusOf(test, "svc-loadbalancer");
    expect(conditions.get(type)?.message).toContain(words);
    const events = () => eventsOf(test, "svc-loadbalancer");
    const expected = expect.stringMatching(new RegExp(`^Warning ${type}: .*${words}`));
    await expect.poll(events, patience).toEqual(expect.arrayContaining([expected]));
  };
  const refused = () => expect.poll(() => outcome(host()), patience).toBe("503 no-endpoints");
  const mended = async () => {
    await broken({});
    await expect.poll(() => troubles(test, "svc-loadbalancer"), patience).toEqual([]);
    await expect.poll(() => servers(host()), patience).toEqual(names);
  };

  it("a selector that matches nothing", async () => {
    await broken({ selector: { apps: "wed" } });
    await says("NoMatchingPods", "apps=wed");
    await refused();
    await mended();
  });

  it("a targetPort whose name no container has", async () => {
    await broken({ ports: [{ port: 80, protocol: "TCP", targetPort: "htpp" }] });
    await says("TargetPortNotFound", "htpp");
    await refused();
    await mended();
  });

  it("a targetPort at which nothing listens", async () => {
    await broken({ ports: [{ port: 80, protocol: "TCP", targetPort: 8080 }] });
    await says("TargetPortNotFound", "8080");
    expect((await ask(host()))[0]?.status).toBe(503);
    await mended();
  });

  it("no pod is ready", async () => {
    await Promise.all(names.map((name) => test.kubectl("exec", name, "--", "touch", "/tmp/unready")));
    await says("NoReadyPods", "none of them is ready");
    await refused();
    await Promise.all(names.map((name) => test.kubectl("exec", name, "--", "rm", "/tmp/unready")));
    await mended();
  });

  it("no pod is there at all", async () => {
    await test.kubectl("scale", "deployment/myweb", "--replicas=0");
    await says("NoMatchingPods", "apps=web");
    await refused();
  });
});
