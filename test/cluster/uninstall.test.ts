// What the controller leaves behind: where its options change, where it stops, and where Postern is uninstalled, against a real
// API server.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Edge } from "../agent/publish/edge.ts";
import { endpoint, node, slice } from "../agent/source/objects.ts";
import { ApiServer } from "./api-server.ts";
import { ControllingAgent } from "./controlling-agent.ts";
import { hostnameOf, service, Services, until } from "./services.ts";

const server = new ApiServer();
const services = new Services(server);
const edge = new Edge();
let agent: ControllingAgent;
beforeAll(async () => {
  await server.start();
  await server.apply(node("n1"));
  await edge.start();
  agent = new ControllingAgent(server, edge);
  await until(() => expect(agent.leading).toBe(true));
}, 600_000);
afterAll(async () => {
  await agent?.stop();
  await edge.stop();
  await server.stop();
});
const ready = (name: string) => server.apply(slice(name, [endpoint("10.0.0.1", "n1", { ready: true })]));
const serve = async (name: string, spec: object = {}, metadata: object = {}) => {
  await ready(name);
  await server.create(service(name, spec, metadata));
  await services.isServed(name);
};

it("takes Services without a class as long as it is told to, and lets go of them afterwards", async () => {
  const withDefault = async (defaultClass: boolean) => {
    await agent.stop();
    agent = new ControllingAgent(server, edge, { defaultClass });
    await until(() => expect(agent.leading).toBe(true));
  };
  await withDefault(true);
  await serve("classless", { loadBalancerClass: undefined });
  await withDefault(false);
  await until(async () => expect(await services.finalizers("classless")).toEqual([]));
  expect((await services.get("classless")).status).toEqual({ loadBalancer: {} });
  expect(edge.serves).not.toContain("default/classless");
  await server.delete(service("classless"));
  await services.isGone("classless");
});

describe("the end", () => {
  const daemonSet = "/apis/apps/v1/namespaces/postern-system/daemonsets";
  const template = {
    metadata: { labels: { a: "b" } },
    spec: { containers: [{ name: "agent", image: "localhost/postern-agent" }] },
  };
  /** Nothing deletes it while it has a finalizer: so it is "being deleted", as in `kubectl delete -f`. */
  const metadata = { name: "postern-agent", finalizers: ["example.com/hold"] };
  const spec = { selector: { matchLabels: { a: "b" } }, template };

  it("of an agent changes nothing, but that of its DaemonSet takes all marks off", async () => {
    await server.ask("POST", daemonSet, { body: { metadata, spec } });
    await serve("kept-1");
    await serve("kept-2");
    await agent.stop();
    expect(await services.hostnames("kept-1")).toEqual([hostnameOf("kept-1")]);
    agent = new ControllingAgent(server, edge);
    await until(() => expect(agent.leading).toBe(true));
    await until(() => expect(edge.serves).toContain("default/kept-1"));
    expect(agent.patches("kept-1")).toEqual([]);
    await server.ask("DELETE", `${daemonSet}/postern-agent`);
    await agent.stop();
    for (const name of ["kept-1", "kept-2"]) {
      expect(await services.finalizers(name)).toEqual([]);
      expect((await services.get(name)).status).toEqual({ loadBalancer: {} });
      await server.delete(service(name));
      await services.isGone(name);
    }
    await server.ask("PATCH", `${daemonSet}/postern-agent`, {
      body: { metadata: { finalizers: null } },
      contentType: "application/merge-patch+json",
    });
  });

  it.each([
    ["an agent of the manifest takes its marks off", true, []],
    ["a developer's, which never had one, leaves them", false, ["service.kubernetes.io/load-balancer-cleanup"]],
  ])("where the DaemonSet is not there any more: %s", async (_, installed, finalizers) => {
    const name = `background-${installed}`;
    agent = new ControllingAgent(server, edge, { installed });
    await until(() => expect(agent.leading).toBe(true));
    await serve(name);
    await agent.stop();
    expect(await services.finalizers(name)).toEqual(finalizers);
  });
});
