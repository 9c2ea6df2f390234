// The kube source against a real API server, as the agent's own service account: the Source contract, and restarts.
import { createServer, type Server } from "node:http";
import { request as requestTls } from "node:https";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { KubeApi } from "../../../../agent/kube/api.ts";
import { kubeSource } from "../../../../agent/source/kube/index.ts";
import { sourceConformance, Watcher } from "../../../agent/source/conformance.ts";
import { endpoint, node, service, slice, type Written } from "../../../agent/source/objects.ts";
import { ApiServer } from "../../harness/api-server.ts";

const server = new ApiServer();
beforeAll(async () => {
  await server.start();
}, 600_000);
afterAll(() => server.stop());

/** The API server allocates what the shared test objects name by hand, and has a Service of its own. */
const real = (object: Written): Written => {
  if (object.kind === "EndpointSlice")
    return { ...object, endpoints: (object["endpoints"] as object[]).map(withReady) };
  if (object.kind !== "Service") return object;
  const { clusterIP: _allocated, ...spec } = object["spec"] as { clusterIP: string };
  return { ...object, spec };
};
const withReady = (each: object) => ({ ...each, conditions: { ready: true } });

sourceConformance("kube, a real API server", async () => {
  const namespaces = new Set<string>();
  const made: Written[] = [];
  const broken = new Set<string>();
  const proxy = await corruptingProxy(broken);
  const api = server.client(server.access("agent", proxy.port, "http"));
  const put = async (object: Written) => {
    const { namespace } = object.metadata;
    if (namespace !== undefined && !namespaces.has(namespace)) {
      namespaces.add(namespace);
      await server
        .create({ kind: "Namespace", metadata: { name: namespace } })
        .catch((error: Error) => expect(error.message).toContain("AlreadyExists"));
    }
    made.push(object);
    await server.apply(real(object));
  };
  return {
    source: withoutOwn(kubeSource({ api })),
    put,
    delete: async (object) => {
      await server.delete(object);
    },
    async breakInput(object) {
      broken.add(object.metadata.name);
      await server.apply(real({ ...object, metadata: { ...object.metadata, labels: { touched: "yes" } } }));
    },
    async mend(object) {
      broken.delete(object.metadata.name);
      await put(object);
    },
    async dispose() {
      await api.close();
      await proxy.close();
      for (const object of made) await server.delete(object).catch(() => undefined);
    },
  };
});

/** `default/kubernetes` is always there. */
function withoutOwn(source: ReturnType<typeof kubeSource>): ReturnType<typeof kubeSource> {
  return {
    subscribe: (listener, onProblems) =>
      source.subscribe(
        (observed) =>
          listener({
            ...observed,
            services: observed.services.filter(({ metadata }) => metadata.name !== "kubernetes"),
            endpointSlices: observed.endpointSlices.filter(({ metadata }) => metadata.name !== "kubernetes"),
          }),
        onProblems,
      ),
  };
}

/** In between, for the one thing that a real API server never does: send an object that cannot be used. */
async function corruptingProxy(broken: ReadonlySet<string>): Promise<{ port: number; close(): Promise<void> }> {
  const proxy: Server = createServer((incoming, outgoing) => {
    const { pathname, search } = new URL(incoming.url ?? "/", "http://proxy");
    const target = new URL(pathname + search, server.access("agent").servers[0]);
    const onward = requestTls(target, { headers: incoming.headers, ca: server.certificate() }, (answer) => {
      outgoing.writeHead(
        answer.statusCode ?? 502,
        answer.headers["content-type"] ? { "content-type": answer.headers["content-type"] } : {},
      );
      outgoing.flushHeaders();
      answer.setEncoding("utf8");
      answer.on("data", (text: string) => {
        for (const name of broken)
          text = text.replaceAll(new RegExp(`("name":"${name}".*?"spec":)\\{"ports":\\[`, "g"), '$1{"ports":[{},');
        outgoing.write(text);
      });
      answer.on("end", () => outgoing.end());
      answer.on("error", () => outgoing.destroy());
    });
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    incoming.pipe(onward);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    port: (proxy.address() as AddressInfo).port,
    async close() {
      proxy.closeAllConnections();
      proxy.close();
    },
  };
}

it("keeps all while the API server is killed and started again, and sees what changed meanwhile", async () => {
  const api: KubeApi = server.api("agent");
  const watcher = new Watcher(withoutOwn(kubeSource({ api })));
  const names = () => watcher.last.services.map(({ metadata }) => metadata.name);
  await server.apply(real(service("stays")));
  await server.apply(real(slice("stays", [endpoint("10.0.0.1")])));
  await server.apply(node("n1"));
  await watcher.until(({ services, endpointSlices }) => services.length === 1 && endpointSlices.length === 1);
  await server.killApi();
  await watcher.untilProblems((problems) => problems.length === 3);
  expect(names()).toEqual(["stays"]);
  await server.startApi();
  await server.apply(real(service("later")));
  await watcher.until(({ services }) => services.length === 2);
  await watcher.untilProblems((problems) => problems.length === 0);
  expect(names()).toEqual(["later", "stays"]);
  watcher[Symbol.dispose]();
});

it("makes no request for a pod that changes", async () => {
  const api = server.api("agent");
  const calls = vi.spyOn(api, "call");
  const watches = vi.spyOn(api, "watch");
  const watcher = new Watcher(kubeSource({ api }));
  await watcher.until(() => true);
  await vi.waitFor(() => expect(watches).toHaveBeenCalledTimes(3));
  const before = calls.mock.calls.length;
  for (let index = 2; index < 50; index++) {
    await server.apply(real(slice("stays", [endpoint(`10.0.0.${index}`)])));
  }
  await watcher.until(({ endpointSlices }) =>
    endpointSlices.some(({ endpoints }) => endpoints[0]?.addresses[0] === "10.0.0.49"),
  );
  expect(calls.mock.calls.length).toBe(before);
  expect(watches).toHaveBeenCalledTimes(3);
  watcher[Symbol.dispose]();
});
