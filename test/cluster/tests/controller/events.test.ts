// Events as a person sees them with `kubectl describe service`, written to a real API server by the leading agent; and what a
// thousand Services at once cost.
import { describe, expect, it } from "vitest";
import { endpoint, node, slice } from "../../../agent/source/objects.ts";
import { hostnameOf, service, until } from "./services.ts";
import { Stage } from "./stage.ts";

const stage = Stage.ofFile();
const { server, services, edge } = stage;
const toBe = (name: string, reasons: readonly string[]) =>
  until(async () =>
    expect((await services.events(name)).map(({ reason, count }) => `${reason} ${count}`)).toEqual(reasons),
  );

describe("Events", () => {
  it("tell a Service's life, in order", async () => {
    await stage.ready("told");
    await server.create(service("told"));
    await toBe("told", ["EnsuringLoadBalancer 1", "EnsuredLoadBalancer 1"]);
    const { uid } = (await services.get("told")).metadata;
    const [first] = await services.events("told");
    expect(first).toMatchObject({
      type: "Normal",
      message: "Ensuring load balancer",
      involvedObject: { kind: "Service", apiVersion: "v1", name: "told", uid },
      source: { component: "postern", host: "n1" },
    });
    await services.patch("told", { metadata: { annotations: { "postern.dev/hostname": "told.test" } } });
    await until(async () => expect(await services.hostnames("told")).toEqual([hostnameOf("told"), "told.test"]));
    await toBe("told", ["EnsuringLoadBalancer 1", "EnsuredLoadBalancer 1", "UpdatedLoadBalancer 1"]);
    await server.delete(service("told"));
    await services.isGone("told");
    await until(async () =>
      expect((await services.events("told")).map(({ reason }) => reason)).toEqual([
        "EnsuringLoadBalancer",
        "EnsuredLoadBalancer",
        "UpdatedLoadBalancer",
        "DeletingLoadBalancer",
        "DeletedLoadBalancer",
      ]),
    );
  });

  it("that say the same are one, with a count", async () => {
    await stage.ready("counted");
    await server.create(service("counted"));
    await toBe("counted", ["EnsuringLoadBalancer 1", "EnsuredLoadBalancer 1"]);
    for (const name of ["a.test", "b.test", "c.test"]) {
      await services.patch("counted", { metadata: { annotations: { "postern.dev/hostname": name } } });
      await until(async () => expect(await services.hostnames("counted")).toContain(name));
    }
    await toBe("counted", ["EnsuringLoadBalancer 1", "EnsuredLoadBalancer 1", "UpdatedLoadBalancer 3"]);
  });

  it("name the trouble: no pods, no node that may take requests", async () => {
    await server.create(service("empty", { selector: { app: "none" } }));
    await until(async () => {
      const told = (await services.events("empty")).map(({ type, reason }) => `${type} ${reason}`);
      expect(told).toContain("Warning NoMatchingPods");
      expect(told).toContain("Normal EnsuredLoadBalancer");
    });
    const label = { "node.kubernetes.io/exclude-from-external-load-balancers": "" };
    await server.apply(node("n1", { labels: label }));
    await stage.ready("excluded");
    await server.create(service("excluded"));
    await until(async () =>
      expect((await services.events("excluded")).map(({ reason }) => reason)).toContain("UnAvailableLoadBalancer"),
    );
    await server.apply(node("n1"));
    await until(async () =>
      expect(await services.conditions("excluded")).not.toHaveProperty("postern.dev/NoEligibleNodes"),
    );
  });

  it("are few where a Service changes without end", async () => {
    await stage.ready("restless");
    await server.create(service("restless"));
    for (let index = 0; index < 28; index++) {
      const name = `h${index}.test`;
      await services.patch("restless", { metadata: { annotations: { "postern.dev/hostname": name } } });
      await until(async () => expect(await services.hostnames("restless")).toContain(name));
    }
    const written = stage.agent.requests.filter(
      ({ path, body }) => path.includes("/events") && JSON.stringify(body).includes("restless"),
    );
    expect(written.length).toBeLessThanOrEqual(25);
  });
});

it("gives a thousand Services at once their status, with two patches each", async () => {
  const names = Array.from({ length: 1_000 }, (_, index) => `many-${String(index).padStart(4, "0")}`);
  const ends = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((address) => endpoint(address, "n1", { ready: true }));
  const before = stage.agent.requests.length;
  const puts = edge.puts.length;
  const began = performance.now();
  const left = [...names];
  const create = async () => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      await server.apply(slice(name, ends));
      await server.create(service(name));
    }
  };
  await Promise.all(Array.from({ length: 8 }, create));
  const created = performance.now();
  const list = async () => {
    const { items } = (await server.ask("GET", "/api/v1/namespaces/default/services")) as {
      items: { metadata: { name: string }; status: { loadBalancer: { ingress?: object[] } } }[];
    };
    return items.filter(({ metadata, status }) => metadata.name.startsWith("many-") && status.loadBalancer.ingress);
  };
  await until(async () => expect(await list()).toHaveLength(1_000), 60_000);
  const served = performance.now();
  const requests = stage.agent.requests.slice(before);
  const patches = requests.filter(({ path }) => path.endsWith("/status")).length;
  const events = requests.filter(({ path }) => path.includes("/events")).length;
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  console.info(
    `1,000 Services: created in ${seconds(created - began)} s, all with status ${seconds(served - created)} s later; ` +
      `${patches} patches of status, ${events} of Events, ${edge.puts.length - puts} publishes`,
  );
  expect(patches).toBe(2_000);
  expect(served - created).toBeLessThan(30_000);
}, 180_000);
