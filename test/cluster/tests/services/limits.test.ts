// Size and bad input: a thousand Services at once, large ones, impossible ones, and ones that change while they are looked at.
// Everything gets its status or a condition that says why not, and everything can be deleted.
import { afterAll, beforeAll, expect, it } from "vitest";
import { agentsMemory, bulk, type BulkCall, requestCounts } from "../../tools/bulk.ts";
import { run } from "../../harness/command.ts";
import { ask, eventsOf, hostOf, outcome, servers, statusOf, troubles } from "../../tools/exposed.ts";
import { kubectl } from "../../harness/places.ts";
import { TestNamespace, webService } from "../../tools/web.ts";

let test: TestNamespace;
let pods: { name: string; address: string; node: string }[];
const patience = { timeout: 60_000, interval: 300 };
const SERVICES = 1_000;
const STATUS_WITHIN_S = 30;
const MEMORY_MIB = 150;

beforeAll(async () => {
  test = await TestNamespace.create();
  await test.deployWeb({ replicas: 3 });
  pods = await test.pods();
});
afterAll(async () => {
  // Nothing is stuck: all of it goes.
  await run([kubectl, "delete", "namespace", test.name, "--timeout=150s"], { timeout: 160_000 });
});

const balancer = (name: string, spec: object = {}, annotations: object = {}): object => ({
  ...webService(name, { type: "LoadBalancer", ports: [{ port: 80, targetPort: 8080 }], ...spec }),
  metadata: { name, annotations },
});
const slice = (service: string, endpoints: object[]): object => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: `${service}-1`, labels: { "kubernetes.io/service-name": service } },
  addressType: "IPv4",
  endpoints,
  ports: [{ name: "", port: 8080, protocol: "TCP" }],
});
const servicesPath = (): string => `/api/v1/namespaces/${test.name}/services`;
const slicesPath = (): string => `/apis/discovery.k8s.io/v1/namespaces/${test.name}/endpointslices`;
const post = (path: string, body: object): BulkCall => ({ method: "POST", path, body });
const endpointsOf = (ready: boolean): object[] =>
  pods.map(({ address, node: nodeName }) => ({ addresses: [address], nodeName, conditions: { ready } }));

const many = Array.from({ length: SERVICES }, (_, index) => `many-${index}`);

async function addressed(): Promise<number> {
  const path = '{range .items[*]}{.status.loadBalancer.ingress[0].hostname}{"\\n"}{end}';
  const lines = await test.kubectl("get", "services", "-o", `jsonpath=${path}`);
  return lines.split("\n").filter((line) => line.startsWith("many-")).length;
}

/** As the objects themselves have it: from their creation to when Programmed turned True, in whole seconds. */
async function statusSeconds(): Promise<{ sinceFirst: number; sinceLast: number }> {
  const programmed = '.status.conditions[?(@.type=="postern.dev/Programmed")].lastTransitionTime';
  const path = `{range .items[*]}{.metadata.creationTimestamp} {${programmed}}{"\\n"}{end}`;
  const lines = (await test.kubectl("get", "services", "-o", `jsonpath=${path}`)).trim().split("\n");
  const times = lines.map((line) => line.split(" ").map((time) => Date.parse(time) / 1000));
  const created = times.map(([time = 0]) => time);
  const last = Math.max(...times.map(([, time = 0]) => time));
  return { sinceFirst: last - Math.min(...created), sinceLast: last - Math.max(...created) };
}

it(`${SERVICES} Services with 3 endpoints each have their status within ${STATUS_WITHIN_S} s, the agents stay small`, async () => {
  const created = await bulk(
    many.flatMap((name) => [
      // Without a selector: the slices are ours.
      post(servicesPath(), { ...balancer(name), spec: { type: "LoadBalancer", ports: [{ port: 80 }] } }),
      post(slicesPath(), slice(name, endpointsOf(true))),
    ]),
  );
  // Seldom: to list a thousand Services costs the API server more than to make a dozen.
  await expect.poll(addressed, { timeout: 150_000, interval: 4_000 }).toBe(SERVICES);
  const seconds = await statusSeconds();
  const memory = await agentsMemory();
  console.log(
    `${SERVICES} Services: created within ${created} ms; the last status ${seconds.sinceFirst} s after the first and ${seconds.sinceLast} s after the last of them was created; agents ${memory.join(", ")} MiB`,
  );
  // How long the API server takes to make them is not ours.
  expect(seconds.sinceLast).toBeLessThan(STATUS_WITHIN_S);
  expect(memory).toHaveLength(3);
  expect(Math.max(...memory)).toBeLessThan(MEMORY_MIB);
  for (const name of ["many-0", "many-999"]) {
    const names = pods.map((pod) => pod.name).sort();
    await expect.poll(() => servers(hostOf(test, name)), patience).toEqual(names);
    expect((await statusOf(test, name)).finalizers).toHaveLength(1);
  }
}, 600_000);

it("pods that change cost no request to the API server", async () => {
  // All that the agents may do, but for their Lease, which is renewed whatever happens.
  const possible = ["GET services", "LIST services", "PATCH services/status", "LIST endpointslices", "LIST nodes"];
  possible.push("POST events", "PATCH events");
  const relevant = (counts: Map<string, number>) => [...counts].filter(([key]) => possible.includes(key));
  let before = await requestCounts();
  // Events of the thousand are still on their way.
  await expect
    .poll(
      async () => {
        const [seen, now] = [before, await requestCounts()];
        before = now;
        return (now.get("POST events") ?? 0) - (seen.get("POST events") ?? 0);
      },
      { timeout: 120_000, interval: 3_000 },
    )
    .toBe(0);
  for (const ready of [false, true, false, true]) {
    const changed = [{ ...endpointsOf(true)[0], conditions: { ready } }, ...endpointsOf(true).slice(1)];
    await bulk(
      many.slice(0, 300).map((name) => ({
        method: "PATCH",
        path: `${slicesPath()}/${name}-1`,
        body: { endpoints: changed },
      })),
    );
  }
  const gone = [{ ...endpointsOf(true)[0], conditions: { ready: false } }, ...endpointsOf(true).slice(1)];
  await bulk([{ method: "PATCH", path: `${slicesPath()}/many-7-1`, body: { endpoints: gone } }]);
  const rest = pods.slice(1).map(({ name }) => name);
  await expect.poll(() => servers(hostOf(test, "many-7")), patience).toEqual(rest.sort());
  const after = await requestCounts();
  const grown = relevant(after)
    .map(([key, count]) => [key, count - (before.get(key) ?? 0)] as const)
    .filter(([, count]) => count > 0);
  console.log(`1,201 slices changed; requests of the kinds ${possible.join(", ")}: ${JSON.stringify(grown)}`);
  // A few may be others': the API server does not count by client.
  expect(grown.reduce((sum, [, count]) => sum + count, 0)).toBeLessThan(12);
  expect(Math.max(...(await agentsMemory()))).toBeLessThan(MEMORY_MIB);
});

it("a Service of 100 ports has 100 listeners", async () => {
  const ports = Array.from({ length: 100 }, (_, index) => ({
    ...{ name: `p${index}`, port: 9_000 + index, targetPort: 8080 },
  }));
  await test.apply(balancer("wide", { ports, allocateLoadBalancerNodePorts: false }));
  const host = hostOf(test, "wide");
  for (const port of [9_000, 9_050, 9_099]) await expect.poll(() => outcome(host, { port }), patience).toBe("200");
  await expect.poll(async () => (await statusOf(test, "wide")).hostnames, patience).toEqual([host]);
  expect(await troubles(test, "wide")).toEqual([]);
});

it("a slice of 1,000 endpoints is taken whole", async () => {
  const [pod] = pods;
  // Those that nobody answers at are passed over.
  const endpoints = Array.from({ length: 999 }, (_, index) => ({
    addresses: [`10.250.${Math.floor(index / 250)}.${(index % 250) + 1}`],
    conditions: { ready: false },
  }));
  await bulk([
    post(servicesPath(), { ...balancer("long"), spec: { type: "LoadBalancer", ports: [{ port: 80 }] } }),
    post(slicesPath(), slice("long", [...endpoints, { addresses: [pod?.address], conditions: { ready: true } }])),
  ]);
  await expect.poll(() => servers(hostOf(test, "long")), patience).toEqual([pod?.name]);
  await expect.poll(async () => (await statusOf(test, "long")).hostnames, patience).toEqual([hostOf(test, "long")]);
  expect(await troubles(test, "long")).toEqual([]);
});

it("a name at the length limit gets a host name that DNS allows", async () => {
  const name = "n".repeat(63);
  await test.apply(balancer(name));
  await expect.poll(async () => (await statusOf(test, name)).hostnames, patience).toHaveLength(1);
  const [host = ""] = (await statusOf(test, name)).hostnames;
  expect(host.split(".")[0]).toHaveLength(63);
  expect(host.split(".")[0]).toMatch(/^n+-home-[0-9a-f]{8}$/);
  await expect.poll(() => outcome(host), patience).toBe("200");
  expect((await ask(host))[0]?.status).toBe(200);
});

it("impossible annotations are named one by one, and stop nothing", async () => {
  const impossible = {
    "postern.dev/hostname": "*.example.com, UPPER_case, a..b",
    "postern.dev/algorithm": "fastest",
    "postern.dev/endpoint-algorithm": "maglev9",
    "postern.dev/transport": "carrier-pigeon",
    "postern.dev/ports": "0, 99999, x:y",
    "postern.dev/expose": "perhaps",
    "postern.dev/unknown": "x".repeat(1_000),
  };
  await test.apply(balancer("odd", {}, impossible));
  await expect.poll(() => outcome(hostOf(test, "odd")), patience).toBe("200");
  await expect.poll(() => troubles(test, "odd"), patience).toEqual(["AnnotationIgnored"]);
  const message = (await statusOf(test, "odd")).conditions.get("AnnotationIgnored")?.message ?? "";
  for (const name of ["*.example.com", "upper_case", "a..b", "fastest", "maglev9", "carrier-pigeon", "99999"]) {
    expect(message.toLowerCase()).toContain(name);
  }
  const told = async () =>
    (await eventsOf(test, "odd")).filter((line) => line.startsWith("Warning AnnotationIgnored:"));
  await expect.poll(told, patience).toHaveLength(1);
});

it("Services that change type back and forth while they are synced end as they were left", async () => {
  const moody = Array.from({ length: 20 }, (_, index) => `moody-${index}`);
  await bulk(moody.map((name) => post(servicesPath(), balancer(name))));
  for (let round = 0; round < 10; round++) {
    const type = round % 2 === 0 ? "ClusterIP" : "LoadBalancer";
    await bulk(moody.map((name) => ({ method: "PATCH", path: `${servicesPath()}/${name}`, body: { spec: { type } } })));
  }
  // The odd ones end without.
  const [some = [], others = []] = [0, 1].map((rest) => moody.filter((_, index) => index % 2 === rest));
  await bulk(
    others.map((name) => ({
      method: "PATCH",
      path: `${servicesPath()}/${name}`,
      body: { spec: { type: "ClusterIP" } },
    })),
  );
  for (const name of some) {
    const expected = { hostnames: [hostOf(test, name)] };
    await expect.poll(() => statusOf(test, name), patience).toMatchObject(expected);
    await expect.poll(() => outcome(hostOf(test, name)), patience).toBe("200");
    expect((await statusOf(test, name)).finalizers).toHaveLength(1);
  }
  for (const name of others) {
    await expect.poll(() => statusOf(test, name), patience).toMatchObject({ hostnames: [], finalizers: [] });
    await expect.poll(() => outcome(hostOf(test, name)), patience).toBe("404 no-such-listener");
  }
  await test.kubectl("delete", "service", ...moody, "--timeout=60s");
});

it("all of them can be deleted at once, while they are synced", async () => {
  await test.kubectl("delete", "services", "--all", "--wait=false");
  const left = async () => (await test.kubectl("get", "services", "-o", "name")).trim();
  await expect.poll(left, { timeout: 120_000, interval: 4_000 }).toBe("");
});
