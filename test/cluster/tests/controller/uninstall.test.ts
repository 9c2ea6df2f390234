// What the controller leaves behind: where its options change, where it stops, and where Postern is uninstalled, against a real
// API server.
import { describe, expect, it } from "vitest";
import { hostnameOf, service, until } from "./services.ts";
import { Stage } from "./stage.ts";

const stage = Stage.ofFile();
const { server, services, edge } = stage;

it("takes Services without a class as long as it is told to, and lets go of them afterwards", async () => {
  const withDefault = async (defaultClass: boolean) => {
    await stage.agent.stop();
    await server.configure({ POSTERN_DEFAULT_CLASS: String(defaultClass) });
    await stage.lead({ defaultClass });
  };
  await withDefault(true);
  await stage.serve("classless", { loadBalancerClass: undefined });
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
    await stage.serve("kept-1");
    await stage.serve("kept-2");
    await stage.agent.stop();
    expect(await services.hostnames("kept-1")).toEqual([hostnameOf("kept-1")]);
    await stage.lead();
    await until(() => expect(edge.serves).toContain("default/kept-1"));
    expect(stage.agent.patches("kept-1")).toEqual([]);
    await server.ask("DELETE", `${daemonSet}/postern-agent`);
    await stage.agent.stop();
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
    await stage.lead({ installed });
    await stage.serve(name);
    await stage.agent.stop();
    expect(await services.finalizers(name)).toEqual(finalizers);
  });
});
