// Compile as a whole: what it promises of any snapshot, and ports, transport and conditions as tables.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { COMPILE_VERSION, type CompileContext } from "../../../src/edge/routing/compile.ts";
import { index } from "../../../src/edge/routing/match.ts";
import { hash32 } from "../../../src/shared/balance/hash.ts";
import { conditionSchema } from "../../../src/shared/model/conditions.ts";
import { hostnameSchema } from "../../../src/shared/model/snapshot.ts";
import { compiled, conditions, listeners, node, ready, service, tcp, threeNodes, udp, unready } from "./snapshots.ts";

test("what compiles to something else than before has another version", () => {
  const everything = [
    service("web", {
      transport: "direct",
      hostnames: ["own.test"],
      ports: [{ ...tcp(80), nodePort: 30080 }, tcp(443)],
    }),
    service("shop", { affinitySeconds: 60, sourceRanges: ["10.0.0.0/8"], endpoints: [ready("n1"), unready("n2")] }),
    service("local", { externalTrafficPolicy: "Local", algorithm: "weighted", endpoints: [ready("n2")] }),
    service("none", { endpoints: [unready("n1")], ports: [tcp(80), udp(53)] }),
  ];
  const nodes = [node("n1", { directAddress: "10.0.0.1" }), node("n2", { weight: 3 }), node("n3", { excluded: "x" })];
  const text = JSON.stringify(compiled(everything, { nodes }));
  // Where this fails and the change is meant: raise COMPILE_VERSION, and write down the new sum beside it.
  expect([COMPILE_VERSION, hash32(text)]).toEqual([1, 2_527_323_276]);
});

describe("of any snapshot", () => {
  const names = fc.constantFrom("a", "a-b", "b", "b-c", "c", `${"long-".repeat(12)}x`);
  const services = fc
    .uniqueArray(
      fc.record({
        name: names,
        namespace: names,
        createdAt: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-02-01T00:00:00Z"),
        hostnames: fc.uniqueArray(fc.constantFrom("own.test", "other.test", "a-b-c-home.edge.test"), { maxLength: 2 }),
        ports: fc.uniqueArray(fc.constantFrom(tcp(80), tcp(8080), tcp(443), tcp(9000), udp(53)), { maxLength: 3 }),
        transport: fc.constantFrom("tunnel" as const, "direct" as const),
        externalTrafficPolicy: fc.constantFrom("Cluster" as const, "Local" as const),
        endpoints: fc.array(
          fc.constantFrom("n1", "n2", undefined).map((on) => ready(on, { ports: { 80: 1, 8080: 1 } })),
          { maxLength: 3 },
        ),
      }),
      { selector: ({ name, namespace }) => `${namespace}/${name}`, maxLength: 8 },
    )
    .map((list) => list.map(({ name, ...more }) => service(name, more)));

  test("the order of its lists makes no difference", () => {
    fc.assert(
      fc.property(
        services.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
        fc.constantFrom("standard" as const, "any" as const),
        ([list, shuffled], listenerPorts) => {
          const reversed = shuffled.map((each) => ({
            ...each,
            ports: each.ports.toReversed(),
            endpoints: each.endpoints.toReversed(),
            hostnames: each.hostnames.toReversed(),
          }));
          const again = compiled(reversed, { listenerPorts, nodes: threeNodes.toReversed() });
          expect(JSON.stringify(again)).toBe(JSON.stringify(compiled(list, { listenerPorts })));
        },
      ),
    );
  });

  test("every listener is one Service's, leads to a route of its own, and has a legal name that is claimed", () => {
    fc.assert(
      fc.property(services, (list) => {
        const result = compiled(list);
        index({ ...result.table, generation: 1 });
        const keys = result.table.listeners.map(({ hostname, port }) => `${hostname}:${port}`);
        expect(new Set(keys).size).toBe(keys.length);
        for (const { hostname, route } of result.table.listeners) {
          expect(hostnameSchema.safeParse(hostname).success).toBe(true);
          expect(result.claims).toContain(hostname);
          expect(result.hostnames[result.table.routes[route]?.service ?? ""]).toContain(hostname);
        }
        for (const found of Object.values(result.conditions)) {
          expect(new Set(found.map(({ type }) => type)).size).toBe(found.length);
          for (const each of found) expect(conditionSchema.safeParse(each).success).toBe(true);
          expect(found.filter(({ type }) => type === "postern.dev/Programmed")).toHaveLength(1);
        }
      }),
    );
  });

  test("a Service that comes or goes changes no other's default name", () => {
    fc.assert(
      fc.property(
        services.chain((list) => fc.tuple(fc.subarray(list), fc.constant(list), fc.subarray(list))),
        (rounds) => {
          let assigned: Record<string, string> = {};
          for (const list of rounds) {
            const before = assigned;
            ({ assigned } = compiled(list, { assigned }));
            for (const { uid } of list) if (before[uid] !== undefined) expect(assigned[uid]).toBe(before[uid]);
            expect(Object.keys(assigned)).toHaveLength(list.length);
            expect(new Set(Object.values(assigned)).size).toBe(list.length);
          }
        },
      ),
    );
  });
});

describe("ports", () => {
  test.each<[string, "any" | "standard", Parameters<typeof tcp>[0][], string[]]>([
    ["HTTPS goes to port 80", "any", [80, 8080], ["80>80", "443>80s", "8080>8080"]],
    ["HTTPS goes to port 80, though another comes before", "any", [79, 80], ["79>79", "80>80", "443>80s"]],
    ["… else to the first", "any", [9000, 8888], ["443>8888s", "8888>8888", "9000>9000"]],
    ["… or to 443 itself", "any", [443, 80], ["80>80", "443>443s"]],
    ["a local edge has TLS nowhere but at 443", "any", [8443], ["443>8443s", "8443>8443"]],
    ["a zone has HTTPS ports", "standard", [80, 8443], ["80>80", "443>80s", "8443>8443s"]],
    ["a zone opens no other port", "standard", [3000], ["443>3000s"]],
    ["a zone opens no other port beside", "standard", [3000, 80], ["80>80", "443>80s"]],
  ])("%s: %s %j", (_name, listenerPorts, ports, expected) => {
    const result = compiled([service("web", { ports: ports.map((port) => tcp(port)) })], { listenerPorts });
    expect(listeners(result).map((each) => each.replace("web-default-home.edge.test:", ""))).toEqual(expected);
  });

  test("a port that a zone does not open is named, and so are those that work", () => {
    const result = compiled([service("web", { ports: [tcp(3000), tcp(5000), tcp(80)] })], {
      listenerPorts: "standard",
    });
    const { PortNotOffered, Programmed } = conditions(result);
    expect(PortNotOffered).toMatchObject({ status: "True", reason: "PortNotOffered" });
    expect(PortNotOffered?.message).toMatch(/ports 3000, 5000\..*80, 8080, 8880, 2052.*443, 8443/);
    expect(Programmed).toMatchObject({ status: "True", message: expect.stringContaining("ports 80, 443") });
  });

  const own = { listenerPorts: "1-8786,8788-65535", listenerPortsMost: 32, listenerTls: false };

  test.each<[string, Partial<CompileContext>, number[], string[]]>([
    ["no HTTPS is promised where nothing ends TLS", own, [80, 8080], ["80>80", "8080>8080"]],
    ["… nor the Service's own port 443", own, [80, 443], ["80>80"]],
    ["… alone neither", own, [443], []],
    ["the admin host's port is nobody else's", own, [8787, 8788], ["8788>8788"]],
    ["only what the owner lists", { ...own, listenerPorts: "80,8000-8999" }, [80, 81, 8500], ["80>80", "8500>8500"]],
    ["a list, and TLS", { listenerPorts: "80,443" }, [80, 81], ["80>80", "443>80s"]],
  ])("an edge of one's own: %s", (_name, context, ports, expected) => {
    const result = compiled([service("web", { ports: ports.map((port) => tcp(port)) })], context);
    expect(listeners(result).map((each) => each.replace("web-default-home.edge.test:", ""))).toEqual(expected);
  });

  test("a Service of port 443 alone is not programmed where nothing ends TLS, and the remedy is told", () => {
    const found = conditions(compiled([service("web", { ports: [tcp(443)] })], own));
    expect(found["Programmed"]).toMatchObject({ status: "False", reason: "PortNotOffered" });
    expect(found["PortNotOffered"]).toMatchObject({
      ports: [443],
      message: expect.stringMatching(/no certificates.*port 80 \(or 8080\).*TLS proxy.*--trusted-proxy/),
    });
  });

  test("443 that nobody asked for is not told: a Service without ports offers 80 and 443", () => {
    const offered = [80, 443].map((port) => ({ name: "", port, protocol: "TCP" as const }));
    const found = conditions(compiled([service("web", { kind: "ExternalName", ports: offered })], own));
    expect(found["PortNotOffered"]).toBeUndefined();
    expect(found["Programmed"]).toMatchObject({ status: "True" });
  });

  test("beside another port 443 is told for itself, and Programmed names what is served", () => {
    const found = conditions(compiled([service("web", { ports: [tcp(80), tcp(443), tcp(8787)] })], own));
    expect(found["Programmed"]?.message).toBe("Served at web-default-home.edge.test on ports 80.");
    expect(found["PortNotOffered"]).toMatchObject({
      ports: [443, 8787],
      message: expect.stringMatching(
        /port 443\..*does not open port 8787\. Use one of 1-8786, 8788-65535.*--listener-ports/,
      ),
    });
  });

  test("a cluster has no more ports than it may; the oldest Services have them, and ports may be shared", () => {
    const list = [9003, 9001, 9002, 9001].map((port, i) =>
      service(`s${i}`, { createdAt: `2026-01-0${i + 1}T00:00:00Z`, ports: [tcp(port)] }),
    );
    const result = compiled(list, { ...own, listenerPortsMost: 2 });
    expect(listeners(result).map((each) => each.replace("-default-home.edge.test", ""))).toEqual([
      "s0:9003>9003",
      "s1:9001>9001",
      "s3:9001>9001",
    ]);
    expect(conditions(result, "s2")["PortNotOffered"]).toMatchObject({
      ports: [9002],
      message: expect.stringMatching(
        /opens 2 ports for a cluster.*does not open port 9002.*another Service has.*--listener-ports/,
      ),
    });
  });

  test("a list of ports that is none is the deployment's fault, not a Service's", () => {
    expect(() => compiled([service("web")], { listenerPorts: "http" })).toThrow(/LISTENER_PORTS must be/);
  });

  test("UDP beside TCP is what Kubernetes calls mixed", () => {
    const found = conditions(compiled([service("web", { ports: [tcp(80), udp(53)] })]));
    expect(found["LoadBalancerPortsError"]).toMatchObject({
      status: "True",
      reason: "LoadBalancerMixedProtocolNotSupported",
    });
    expect(found["UDPNotSupported"]?.message).toContain("UDP port 53");
    expect(found["Programmed"]).toMatchObject({ status: "True" });
  });

  test("UDP alone: nothing is programmed, and it says so", () => {
    const result = compiled([service("web", { ports: [udp(53), { ...udp(99), protocol: "SCTP" }] })]);
    const found = conditions(result);
    expect(found["Programmed"]).toMatchObject({ status: "False", reason: "NoTCPPort" });
    expect(found["UDPNotSupported"]?.message).toContain("UDP port 53");
    expect(found["SCTPNotSupported"]?.message).toContain("SCTP port 99");
    expect(found["LoadBalancerPortsError"]).toBeUndefined();
    expect(result.hostnames["default/web"]).toEqual([]);
    expect(result.table).toMatchObject({ listeners: [], routes: [] });
  });
});

describe("transport", () => {
  const direct = { transport: "direct" as const };
  const nodes = [node("n1", { directAddress: "n1.nodes.test" }), node("n2")];

  test("direct: only nodes with an address, and a word about Host", () => {
    const result = compiled([service("web", direct)], { nodes });
    expect(result.table.routes).toMatchObject([{ transport: "direct", nodePort: 30_080, nodes: [{ node: 0 }] }]);
    expect(result.table.nodes).toEqual([{ name: "n1", address: "n1.nodes.test" }, { name: "n2" }]);
    expect(conditions(result)["HostNotKept"]).toMatchObject({ status: "True" });
    expect(conditions(result)["DirectNotPossible"]).toBeUndefined();
  });

  const { nodePort: _, ...withoutNodePort } = tcp(80);
  test.each([
    ["source ranges", { sourceRanges: ["10.0.0.0/8"] }, nodes, "spec.loadBalancerSourceRanges"],
    ["affinity", { affinitySeconds: 60 }, nodes, "spec.sessionAffinity: ClientIP"],
    ["no NodePort", { ports: [withoutNodePort] }, nodes, "spec.ports[].nodePort"],
    ["no address", {}, threeNodes, "postern.dev/direct-address"],
    ["headless", { kind: "Headless" as const, ports: [withoutNodePort] }, nodes, "spec.type"],
  ])("%s: goes by tunnel, and the field is named", (_name, more, on, field) => {
    const result = compiled([service("web", { ...direct, ...more })], { nodes: on });
    expect(result.table.routes).toMatchObject([{ transport: "tunnel" }]);
    expect(result.table.routes[0]?.nodes).toHaveLength(on.length);
    expect(conditions(result)["DirectNotPossible"]?.message).toContain(field);
    expect(conditions(result)["HostNotKept"]).toBeUndefined();
  });

  test("a range of length 0 refuses nobody, so it is no obstacle", () => {
    const result = compiled([service("web", { ...direct, sourceRanges: ["0.0.0.0/0"] })], { nodes });
    expect(result.table.routes).toMatchObject([{ transport: "direct" }]);
  });
});

describe("conditions", () => {
  test("an ordinary Service has Programmed alone, without counts that move", () => {
    const one = compiled([service("web")]);
    const two = compiled([service("web", { endpoints: [ready("n1"), ready("n2")] })]);
    expect(one.conditions["default/web"]).toEqual([
      {
        type: "postern.dev/Programmed",
        status: "True",
        reason: "Programmed",
        message: "Served at web-default-home.edge.test on ports 80, 443.",
      },
    ]);
    expect(two.conditions).toEqual(one.conditions);
  });

  test("the agent's are passed on", () => {
    const found = {
      type: "postern.dev/NoReadyPods",
      status: "True",
      reason: "NoneReady",
      message: "see pods",
    } as const;
    const result = compiled([service("web", { conditions: [found], endpoints: [unready("n1")] })]);
    expect(result.conditions["default/web"]).toContainEqual(found);
    expect(conditions(result)["Programmed"]).toMatchObject({ status: "True" });
  });

  test("what a Service says of itself arrives in its routes", () => {
    const more = { algorithm: "weighted", affinitySeconds: 10_800, sourceRanges: ["10.0.0.0/8"] } as const;
    const result = compiled([service("web", { ...more, sourceRanges: [...more.sourceRanges] })]);
    expect(result.table.routes).toMatchObject([
      { service: "default/web", port: 80, algorithm: "weighted", affinity: true, sourceRanges: ["10.0.0.0/8"] },
    ]);
  });
});
