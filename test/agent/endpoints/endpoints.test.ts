// Backends: what is found, in which order, and what survives a change of plan.
import { describe, expect, it } from "vitest";
import { Backends } from "../../../agent/endpoints/endpoints.ts";
import { hash32, pairScore } from "../../../src/shared/balance/hash.ts";
import { seeded } from "../../shared/balance/conformance.ts";
import { plan, planEndpoint, planPort, planService } from "../dataplane/plans.ts";

const a = planEndpoint("10.0.0.1", 80, { key: "a" });
const b = planEndpoint("10.0.0.2", 80, { key: "b" });
const c = planEndpoint("10.0.0.3", 80, { key: "c" });

const rig = (first = plan()) => {
  const clock = { now: 0 };
  const backends = new Backends(() => clock.now, seeded(1));
  const retired: string[] = [];
  backends.onRetired((key, address) => retired.push(`${key} ${address}`));
  backends.update(first);
  const order = (client = "192.0.2.1", port = 80) => [
    ...(backends.find("default/web", port)?.order(client, clock.now) ?? []),
  ];
  const keys = (client?: string) => order(client).map(({ key }) => key);
  const get = (key: string) => {
    const found = order().find((endpoint) => endpoint.key === key);
    if (found === undefined) throw new Error(`no endpoint ${key}`);
    return found;
  };
  return { clock, backends, retired, order, keys, get };
};
const web = (endpoints: readonly (typeof a)[], parts = {}, portParts = {}) =>
  plan(planService("default/web", [planPort(endpoints, portParts)], parts));

describe("what is found", () => {
  it("is what the plan exposes, by Service and Service port", () => {
    const { backends } = rig(
      plan(
        planService("default/web", [planPort([a]), planPort([a], { port: 53, protocol: "UDP" })]),
        planService("default/inner", [planPort([b])], { exposed: false }),
      ),
    );
    expect(backends.find("default/web", 80)).toBeDefined();
    for (const [service, port] of [
      ["default/web", 81],
      ["default/web", 53],
      ["default/inner", 80],
      ["web", 80],
    ] as const) {
      expect(backends.find(service, port)).toBeUndefined();
    }
    expect(backends.findNodePort("default/inner", 80)).toBeDefined();
  });

  it("says why there is no endpoint, and knows an external name", () => {
    const { backends } = rig(web([], { externalName: "nas.lan" }));
    expect(backends.find("default/web", 80)).toMatchObject({
      refusal: "no pod of the service is ready",
      externalName: "nas.lan",
    });
    backends.update(web([a]));
    expect(backends.find("default/web", 80)?.refusal).toBeUndefined();
  });

  it("checks the source", () => {
    const { backends } = rig(web([a], { sourceRanges: ["192.0.2.0/24"] }));
    const allowed = (client: string) => backends.find("default/web", 80)?.sourceAllowed(client);
    expect([allowed("192.0.2.1"), allowed("192.0.3.1"), allowed("")]).toEqual([true, false, false]);
  });
});

describe("order", () => {
  it("is the plan's algorithm, which keeps its place over changes of the plan", () => {
    const { backends, keys } = rig(web([a, b, c]));
    expect(keys()).toEqual(["a", "b", "c"]);
    backends.update(web([a, b, c], { sourceRanges: ["10.0.0.0/8"] }));
    expect(keys()).toEqual(["b", "c", "a"]);
    backends.update(web([a, b, c], { algorithm: "lc" }));
    backends.update(web([a, b, c]));
    expect(keys()).toEqual(["a", "b", "c"]);
  });

  it("is random where userspace cannot do what is asked", () => {
    const { keys } = rig(web([a, b, c], { algorithm: "nq" }));
    const firsts = new Set(Array.from({ length: 50 }, () => keys()[0]));
    expect(firsts.size).toBe(3);
  });

  it("puts who failed three times in a row last, never out", () => {
    const { clock, keys, get } = rig(web([a, b, c]));
    for (let n = 0; n < 3; n++) get("b").failed("refused");
    for (let n = 0; n < 6; n++) expect(keys().indexOf("b")).toBe(2);
    clock.now = 2_000;
    expect(new Set(Array.from({ length: 3 }, () => keys()[0]))).toEqual(new Set(["a", "b", "c"]));
    get("b").failed("refused");
    clock.now = 5_999;
    expect(keys()[2]).toBe("b");
    get("b").succeeded();
    expect(new Set(Array.from({ length: 3 }, () => keys()[0]))).toEqual(new Set(["a", "b", "c"]));
  });

  it("gives the share of an ejected one to all others, not to its neighbour", () => {
    const { keys, get } = rig(web([a, b, c]));
    for (let n = 0; n < 3; n++) get("a").failed("refused");
    const firsts = Array.from({ length: 10 }, () => keys()[0]).join("");
    expect(["bcbcbcbcbc", "cbcbcbcbcb"]).toContain(firsts);
  });

  it("still has everybody when all failed", () => {
    const { keys, get } = rig(web([a, b]));
    for (const key of ["a", "b"]) for (let n = 0; n < 3; n++) get(key).failed("refused");
    expect(keys().sort()).toEqual(["a", "b"]);
  });
});

describe("affinity", () => {
  const sticky = (endpoints: readonly (typeof a)[], seconds = 60) => web(endpoints, { affinitySeconds: seconds });
  const clients = Array.from({ length: 30 }, (_, n) => `192.0.2.${n}`);

  it("begins with the rendezvous hash of client and endpoint, so that any node picks the same", () => {
    const { keys } = rig(sticky([a, b, c]));
    for (const client of clients) {
      const [best] = ["a", "b", "c"].sort(
        (x, y) => pairScore(hash32(client), hash32(y)) - pairScore(hash32(client), hash32(x)),
      );
      expect(keys(client)[0]).toBe(best);
    }
  });

  it("keeps a client where it is when endpoints join and others leave", () => {
    const { backends, order } = rig(sticky([a, b]));
    const first = (client: string) => {
      for (const endpoint of backends.find("default/web", 80)?.order(client, 0) ?? []) return endpoint.key;
      return undefined;
    };
    const before = clients.map(first);
    backends.update(sticky([a, b, c]));
    expect(clients.map(first)).toEqual(before);
    backends.update(sticky([b, c]));
    expect(clients.map(first).every((key, n) => before[n] === "a" || key === before[n])).toBe(true);
    expect(order().length).toBe(2);
  });

  it("moves a client with the endpoint that served it in the end", () => {
    const { backends } = rig(sticky([a, b, c]));
    const take = (count: number) => {
      const taken: string[] = [];
      for (const endpoint of backends.find("default/web", 80)?.order("192.0.2.1", 0) ?? []) {
        taken.push(endpoint.key);
        if (taken.length === count) break;
      }
      return taken;
    };
    const [, second] = take(2);
    expect(take(1)).toEqual([second]);
  });

  it("is over after its timeout, off without one, and none for unknown clients", () => {
    const { clock, backends, order } = rig(sticky([a, b, c], 10));
    const [, second] = order();
    for (const endpoint of backends.find("default/web", 80)?.order("192.0.2.1", 0) ?? [])
      if (endpoint === second) break;
    expect(order()[0]).toBe(second);
    const served = order().at(-1);
    expect(order()[0]).toBe(served);
    clock.now = 10_000;
    expect(order()[0]).not.toBe(served);
    backends.update(web([a, b, c]));
    expect(new Set(Array.from({ length: 3 }, () => order()[0])).size).toBe(3);
    backends.update(sticky([a, b, c], 10));
    expect(new Set(Array.from({ length: 3 }, () => order("")[0])).size).toBe(3);
  });
});

describe("a change of plan", () => {
  it("keeps what is in flight and what failed", () => {
    const { backends, get } = rig(web([a, b]));
    get("a").begin();
    for (let n = 0; n < 3; n++) get("b").failed("refused");
    backends.update(web([a, b, c]));
    expect(get("a").inFlight).toBe(1);
    expect(backends.problems()).toHaveLength(1);
    get("a").end();
    expect(get("a").inFlight).toBe(0);
  });

  it("shares an endpoint between Services and ports that lead to it", () => {
    const { backends, get } = rig(
      plan(planService("default/web", [planPort([a])]), planService("default/other", [planPort([a])])),
    );
    get("a").begin();
    const [same] = backends.find("default/other", 80)?.order("", 0) ?? [];
    expect(same?.inFlight).toBe(1);
  });

  it("tells at once who left or is on its way out, each once", () => {
    const { backends, retired, get } = rig(web([a, b, c]));
    backends.update(web([a, { ...b, terminating: true }]));
    expect(retired).toEqual(["c 10.0.0.3:80", "b 10.0.0.2:80"]);
    expect(get("b").terminating).toBe(true);
    backends.update(web([a]));
    expect(retired).toHaveLength(2);
    backends.update(plan());
    expect(retired).toEqual(["c 10.0.0.3:80", "b 10.0.0.2:80", "a 10.0.0.1:80"]);
  });

  it("is in force when the retired are told", () => {
    const { backends } = rig(web([a, b]));
    let found: unknown = "not told";
    backends.onRetired(
      () => (found = [...(backends.find("default/web", 80)?.order("", 0) ?? [])].map(({ key }) => key)),
    );
    backends.update(web([a]));
    expect(found).toEqual(["a"]);
  });

  it("does not retire what another Service still uses", () => {
    const { backends, retired } = rig(
      plan(planService("default/web", [planPort([a])]), planService("default/other", [planPort([a])])),
    );
    backends.update(web([a]));
    expect(retired).toEqual([]);
  });

  it("forgives who becomes ready again", () => {
    const { backends, get } = rig(web([{ ...a, terminating: true }]));
    for (let n = 0; n < 3; n++) get("a").failed("refused");
    expect(backends.problems()).toHaveLength(1);
    backends.update(web([a]));
    expect(backends.problems()).toEqual([]);
  });
});

describe("problems", () => {
  it("name Service, address and reason, are told when they change, and end with a success or a departure", () => {
    const { backends, get } = rig(web([a, b]));
    let told = 0;
    const listening = backends.onProblems(() => told++);
    for (let n = 0; n < 4; n++) get("a").failed("connection refused");
    for (let n = 0; n < 3; n++) get("b").failed("no connection within 2000 ms");
    expect(backends.problems()).toEqual([
      { endpoint: "default/web 10.0.0.1:80", reason: "failed 3 times in a row or more, the last: connection refused" },
      {
        endpoint: "default/web 10.0.0.2:80",
        reason: "failed 3 times in a row or more, the last: no connection within 2000 ms",
      },
    ]);
    expect(told).toBe(2);
    get("a").succeeded();
    expect(told).toBe(3);
    backends.update(web([a]));
    expect([backends.problems(), told]).toEqual([[], 4]);
    listening[Symbol.dispose]();
    for (let n = 0; n < 3; n++) get("a").failed("refused");
    expect(told).toBe(4);
  });

  it("write IPv6 as in a URL", () => {
    const { backends, get } = rig(web([planEndpoint("fd00::1", 80, { key: "a" })]));
    for (let n = 0; n < 3; n++) get("a").failed("refused");
    expect(backends.problems()[0]?.endpoint).toBe("default/web [fd00::1]:80");
  });
});
