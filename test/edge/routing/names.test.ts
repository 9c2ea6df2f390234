// Hostnames: default ones that never change because of others, and own ones that may be refused or owned.
import { describe, expect, test } from "vitest";
import { compiled, conditions, listeners, service, tcp } from "./snapshots.ts";

const old = { createdAt: "2025-01-01T00:00:00Z" };
const young = { createdAt: "2026-06-01T00:00:00Z" };
const refusing = (reason: string, ...hostnames: string[]) =>
  new Map(hostnames.map((name) => [name, { reason, message: `${name} is not yours` }]));

describe("the default hostname", () => {
  test("is readable where it can be", () => {
    expect(compiled([service("shop")]).hostnames).toEqual({ "default/shop": ["shop-default-home.edge.test"] });
  });

  const [ambiguous, other] = [service("a-b", { namespace: "c", ...old }), service("a", { namespace: "b-c", ...young })];

  test("of two that would have the same, the older has it, the other gets a hash", () => {
    const { hostnames } = compiled([other, ambiguous]);
    expect(hostnames["c/a-b"]).toEqual(["a-b-c-home.edge.test"]);
    expect(hostnames["b-c/a"]?.[0]).toMatch(/^a-b-c-home-[0-9a-f]{8}\.edge\.test$/);
  });

  test("stays, though an older Service would have had it", () => {
    const first = compiled([other]);
    expect(first.hostnames["b-c/a"]).toEqual(["a-b-c-home.edge.test"]);
    const second = compiled([other, ambiguous], { assigned: first.assigned });
    expect(second.hostnames["b-c/a"]).toEqual(["a-b-c-home.edge.test"]);
    expect(second.hostnames["c/a-b"]?.[0]).toMatch(/^a-b-c-home-[0-9a-f]{8}\./);
    // … and the hashed one stays when the other goes.
    const third = compiled([ambiguous], { assigned: second.assigned });
    expect(third.hostnames["c/a-b"]).toEqual(second.hostnames["c/a-b"]);
    expect(third.assigned).toEqual({ [ambiguous.uid]: second.assigned[ambiguous.uid] });
  });

  test("is cut to a label of 63 characters, and still ends in the cluster and a hash", () => {
    const long = service("s".repeat(60), { namespace: "n".repeat(60) });
    const [hostname = ""] = compiled([long]).hostnames[`${long.namespace}/${long.name}`] ?? [];
    const [label = ""] = hostname.split(".");
    expect(label).toHaveLength(63);
    expect(label).toMatch(/^s+-home-[0-9a-f]{8}$/);
    // Just fits: "<46>-default-home" is 59 and needs no hash.
    expect(compiled([service("s".repeat(46))]).claims[0]).toBe(`${"s".repeat(46)}-default-home.edge.test`);
  });

  test("two that are cut to the same are told apart", () => {
    const names = ["1", "2"].map((end) => service(`${"s".repeat(60)}${end}`));
    expect(new Set(compiled(names).claims).size).toBe(2);
  });

  test("takes its hashed form where the directory refuses it, keeps that, and does not ask again", () => {
    const refused = refusing("owned", "shop-default-home.edge.test");
    const first = compiled([service("shop")], { refused });
    expect(first.claims).toHaveLength(1);
    expect(first.claims[0]).toMatch(/^shop-default-home-[0-9a-f]{8}\.edge\.test$/);
    expect(compiled([service("shop")], { assigned: first.assigned }).hostnames).toEqual(first.hostnames);
  });

  test("leaves a name that it had when the directory takes it away", () => {
    const refused = refusing("reserved", "shop-default-home.edge.test");
    const result = compiled([service("shop")], { refused, assigned: { "uid of default/shop": "shop-default-home" } });
    expect(result.hostnames["default/shop"]?.[0]).toMatch(/^shop-default-home-[0-9a-f]{8}\./);
  });

  test("is none where all its forms are refused, and a condition says so", () => {
    const all = new Set<string>();
    let result = compiled([service("web")]);
    for (let round = 0; round < 6; round++) {
      for (const name of result.claims) all.add(name);
      result = compiled([service("web")], { refused: refusing("owned", ...all) });
    }
    expect(result.hostnames["default/web"]).toEqual([]);
    expect(conditions(result)).toMatchObject({
      HostnameConflict: { status: "True" },
      Programmed: { status: "False", reason: "NoHostname" },
    });
  });
});

describe("own hostnames", () => {
  test("come after the default one, each once", () => {
    const result = compiled([
      service("web", { hostnames: ["z.test", "a.test", "z.test", "web-default-home.edge.test"] }),
    ]);
    expect(result.hostnames["default/web"]).toEqual(["web-default-home.edge.test", "a.test", "z.test"]);
  });

  test.each([
    ["owned", "HostnameConflict"],
    ["not-allowed", "HostnameNotAllowed"],
    ["reserved", "HostnameNotAllowed"],
  ])("refused as %s: %s, the others stay, and it is asked for again", (reason, type) => {
    const web = service("web", { hostnames: ["bad.test", "good.test"] });
    const result = compiled([web], { refused: refusing(reason, "bad.test") });
    expect(result.hostnames["default/web"]).toEqual(["web-default-home.edge.test", "good.test"]);
    expect(conditions(result)[type]?.message).toContain("bad.test is not yours");
    expect(conditions(result)["Programmed"]).toMatchObject({ status: "True" });
    expect(result.claims).toContain("bad.test");
  });

  test("the oldest Service owns a (hostname, port); other ports are free", () => {
    const result = compiled([
      service("web", { hostnames: ["own.test"], ports: [tcp(80), tcp(8080)], ...young }),
      service("older", { hostnames: ["own.test"], ports: [tcp(80)], ...old }),
    ]);
    expect(listeners(result).filter((each) => each.startsWith("own.test"))).toEqual([
      "own.test:80>80",
      "own.test:443>80s",
      "own.test:8080>8080",
    ]);
    const owner = result.table.listeners.find(({ hostname, port }) => hostname === "own.test" && port === 80)?.route;
    expect(result.table.routes[owner ?? -1]?.service).toBe("default/older");
    expect(conditions(result)["HostnameConflict"]?.message).toContain(
      "own.test port 80 belongs to the older Service default/older",
    );
    expect(result.hostnames["default/web"]).toContain("own.test");
  });

  test("of the same age, the first by namespace and name", () => {
    const both = [service("b", { hostnames: ["own.test"] }), service("a", { hostnames: ["own.test"] })];
    expect(compiled(both).hostnames["default/a"]).toContain("own.test");
    expect(compiled(both).hostnames["default/b"]).not.toContain("own.test");
  });

  test("nobody takes another's default name, however old; nor does a newcomer's default name take an older one's own", () => {
    const thief = service("web", { hostnames: ["shop-default-home.edge.test"], ...old });
    const shop = service("shop", young);
    const { assigned } = compiled([shop]);
    const kept = compiled([thief, shop], { assigned });
    expect(kept.hostnames["default/shop"]).toEqual(["shop-default-home.edge.test"]);
    expect(conditions(kept)["HostnameConflict"]?.message).toContain("another Service's default name");

    const fresh = compiled([thief, shop]);
    expect(fresh.hostnames["default/web"]).toContain("shop-default-home.edge.test");
    expect(fresh.hostnames["default/shop"]?.[0]).toMatch(/^shop-default-home-[0-9a-f]{8}\./);
  });
});
