// The stand-in as its readers see it: the agent's own source, in pages and by watches, and what client libraries rely on besides.
// That kube-proxy reads from it what it reads from a real API server is tests/bench/'s to say.
import { afterEach, beforeEach, expect, it } from "vitest";
import { KubeApi } from "../../../../agent/kube/api.ts";
import { kubeSource } from "../../../../agent/source/kube/index.ts";
import type { Observed } from "../../../../agent/source/source.ts";
import { clusterOf, endpointsOf, nodeCount, service, slice } from "./objects.ts";
import { StandIn } from "./server.ts";
import { Store } from "./store.ts";

const SERVICES = 20;
/** More than two of the agent's pages. */
const MANY = 1_200;
let store: Store;
let server: StandIn;
let url: string;
let unknown: string[];

beforeEach(() => serve(SERVICES));
afterEach(() => server.close());

async function serve(services: number): Promise<void> {
  store = new Store();
  for (const object of clusterOf(services)) store.put(object);
  store.completed();
  unknown = [];
  server = new StandIn({ store, onUnknown: (request) => unknown.push(request) });
  url = `http://127.0.0.1:${await server.listen(0, "127.0.0.1")}`;
}

const get = (path: string, accept = "application/json"): Promise<Response> =>
  fetch(url + path, { headers: { accept } });
/** Events until one satisfies. */
async function eventsUntil(path: string, isLast: (event: Event) => boolean, onOpen = (): void => {}): Promise<Event[]> {
  const response = await get(path);
  const events: Event[] = [];
  let rest = "";
  onOpen();
  for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = JSON.parse(line) as Event;
      events.push(event);
      if (isLast(event)) return events;
    }
  }
  return events;
}
interface Event {
  readonly type: string;
  readonly object: {
    readonly code?: number;
    readonly metadata: { readonly name?: string; readonly annotations?: object };
  };
}

it("gives the agent's source everything in pages, and then each change", async () => {
  await server.close();
  await serve(MANY);
  const nothing = { ca: undefined, cert: undefined, key: undefined };
  const who = { namespace: "x", installed: false, token: () => undefined, tls: () => nothing };
  const api = new KubeApi({ servers: [new URL(url)], ...who });
  const seen: Observed[] = [];
  let wake = (): void => {};
  const source = kubeSource({ api }).subscribe((observed) => {
    seen.push(observed);
    wake();
  });
  const until = async (met: (observed: Observed) => boolean): Promise<void> => {
    while (!seen.some(met)) await new Promise<void>((resolve) => (wake = resolve));
  };
  try {
    await until(({ services }) => services.length === MANY);
    expect(seen[0]?.endpointSlices).toHaveLength(MANY);
    expect(seen[0]?.nodes).toHaveLength(nodeCount(MANY));
    expect(server.lists).toBe(3 + 3 + 1);
    store.put(slice(7, nodeCount(MANY), endpointsOf(7).with(0, "10.192.9.9")));
    await until(({ endpointSlices }) => endpointSlices[7]?.endpoints[0]?.addresses[0] === "10.192.9.9");
    store.remove(service(0));
    await until(({ services }) => services.length === MANY - 1);
    expect(unknown).toEqual([]);
  } finally {
    source[Symbol.dispose]();
    await api.close();
  }
});

it("begins a watch with all objects and says where they end, if asked to", async () => {
  const path = "/api/v1/services?watch=true&sendInitialEvents=true&allowWatchBookmarks=true";
  const events = await eventsUntil(path, ({ type }) => type === "BOOKMARK");
  expect(events).toHaveLength(SERVICES + 1);
  expect(events.at(-1)?.object.metadata.annotations).toEqual({ "k8s.io/initial-events-end": "true" });
});

it("goes on from a version without what was before it, and with nothing left out", async () => {
  const since = store.version;
  store.put(service(SERVICES));
  const events = await eventsUntil(
    `/api/v1/services?watch=true&resourceVersion=${since}`,
    ({ object }) => object.metadata.name === service(SERVICES + 1).metadata.name,
    () => store.put(service(SERVICES + 1)),
  );
  expect(events.map(({ type }) => type)).toEqual(["ADDED", "ADDED"]);
});

it("says that a version is too old, in a watch and in a list", async () => {
  const events = await eventsUntil("/api/v1/services?watch=true&resourceVersion=1", () => true);
  expect(events).toMatchObject([{ type: "ERROR", object: { code: 410 } }]);
  const page = (await (await get("/api/v1/services?limit=5")).json()) as { metadata: { continue: string } };
  store.put(service(SERVICES));
  expect((await get(`/api/v1/services?limit=5&continue=${page.metadata.continue}`)).status).toBe(410);
});

it("selects as it is asked to, and refuses what it cannot", async () => {
  const list = async (query: string): Promise<number> =>
    ((await (await get(`/api/v1/nodes?${query}`)).json()) as { items: unknown[] }).items.length;
  expect(await list("fieldSelector=metadata.name%3Dnode-0")).toBe(1);
  expect(await list("labelSelector=%21kubernetes.io%2Fhostname")).toBe(0);
  expect((await get("/api/v1/nodes?labelSelector=zone%20in%20(a,b)")).status).toBe(400);
  expect((await get("/api/v1/pods")).status).toBe(404);
  expect(unknown).toEqual(["selector zone in (a", "GET /api/v1/pods"]);
});

it("answers in protobuf only who accepts it", async () => {
  const protobuf = await get("/api/v1/nodes/node-0", "application/vnd.kubernetes.protobuf, */*");
  expect(protobuf.headers.get("content-type")).toBe("application/vnd.kubernetes.protobuf");
  expect(
    Buffer.from(await protobuf.arrayBuffer())
      .subarray(0, 4)
      .toString(),
  ).toBe("k8s\0");
  expect(await (await get("/api/v1/nodes/node-0")).json()).toMatchObject({ metadata: { name: "node-0" } });
});
