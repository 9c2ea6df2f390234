// Host header → listener, with a naive oracle: parse the header as RFC 9110 says, walk all listeners.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { index, match } from "../../../src/edge/routing/match.ts";
import type { Listener, Route, RoutingTable } from "../../../src/edge/routing/table.ts";

const route = (service: string, port: number, sourceRanges: string[] = []): Route => ({
  service,
  port,
  transport: "tunnel",
  algorithm: "least-request",
  affinity: false,
  sourceRanges,
  nodes: [],
});
const table = (routes: Route[], listeners: Listener[]): RoutingTable => ({
  version: 1,
  cluster: "home",
  generation: 1,
  nodes: [],
  routes,
  listeners,
});

const shop = table(
  [route("default/shop", 80), route("default/shop", 8888), route("default/shop", 443)],
  [
    { hostname: "shop.test", port: 80, tls: false, route: 0 },
    { hostname: "shop.test", port: 8888, tls: false, route: 1 },
    { hostname: "shop.test", port: 443, tls: true, route: 2 },
    { hostname: "own.example", port: 8888, tls: false, route: 1 },
  ],
);

describe("match", () => {
  const at = index(shop);
  test.each<["http" | "https", string, number | undefined]>([
    ["http", "shop.test", 80],
    ["https", "shop.test", 443],
    ["http", "shop.test:8888", 8888],
    ["https", "shop.test:8888", 8888],
    // The scheme's own port, said aloud; the other scheme's, too.
    ["http", "shop.test:80", 80],
    ["https", "shop.test:443", 443],
    ["http", "shop.test:443", 443],
    ["https", "shop.test:80", 80],
    ["http", "SHOP.Test", 80],
    ["http", "Shop.test.:8888", 8888],
    ["http", "shop.test.", 80],
    ["http", "shop.test:", 80],
    ["http", "shop.test:08888", 8888],
    ["http", "own.example:8888", 8888],
    ["http", "own.example", undefined],
    ["http", "shop.test:81", undefined],
    ["http", "shop.test:0", undefined],
    ["http", "shop.test:99999999", undefined],
    ["http", "shop.test:8888x", undefined],
    ["http", "shop.test:-80", undefined],
    ["http", "shop.test..", undefined],
    ["http", ".shop.test", undefined],
    ["http", "x.shop.test", undefined],
    ["http", "[::1]:8888", undefined],
    ["http", "user@shop.test", undefined],
    ["http", " shop.test", undefined],
    ["http", "", undefined],
    ["http", ":80", undefined],
    ["http", "__proto__", undefined],
    ["http", `${"a".repeat(100_000)}.test`, undefined],
  ])("%s, Host %s: port %s", (scheme, host, port) => {
    expect(match(at, { host, scheme, port: undefined })?.port).toBe(port);
  });

  test("a listener serves what is published on its own port, whatever Host says", () => {
    const by = (host: string, port: number) => match(at, { host, scheme: "http", port });
    expect(by("shop.test:8888", 80)?.port).toBe(80);
    expect(by("Shop.test.", 8888)?.port).toBe(8888);
    expect(by("shop.test:80", 9999)).toBeUndefined();
  });

  test("gives the same object each time, with the Host in its plain form", () => {
    const found = match(at, { host: "shop.test", scheme: "http", port: undefined });
    expect(match(at, { host: "SHOP.test.:80", scheme: "http", port: undefined })).toBe(found);
    expect(found).toMatchObject({ hostname: "shop.test", port: 80, host: "shop.test", route: shop.routes[0] });
    expect(match(at, { host: "Shop.test:8888", scheme: "http", port: undefined })?.host).toBe("shop.test:8888");
    expect(match(at, { host: "shop.test", scheme: "https", port: undefined })?.host).toBe("shop.test");
    expect(match(at, { host: "shop.test:443", scheme: "http", port: undefined })?.host).toBe("shop.test:443");
  });

  test("agrees with a naive oracle", () => {
    const hostname = fc.constantFrom("a.test", "b.test", "a", "b.a.test");
    const port = fc.constantFrom(80, 443, 8080, 8443, 1);
    const lists = fc.uniqueArray(fc.tuple(hostname, port), { selector: (pair) => pair.join(":"), maxLength: 12 });
    const header = fc
      .tuple(hostname, fc.constantFrom("", "."), fc.constantFrom("", ":80", ":443", ":8080", ":1", ":2"), fc.boolean())
      .map(([name, dot, end, upper]) => `${upper ? name.toUpperCase() : name}${dot}${end}`);
    fc.assert(
      fc.property(lists, header, fc.constantFrom("http" as const, "https" as const), (list, host, scheme) => {
        const listeners = list.map(([name, number], i) => ({ hostname: name, port: number, tls: false, route: i }));
        const built = index(
          table(
            list.map(([name, number]) => route(name, number)),
            listeners,
          ),
        );
        const url = new URL(`${scheme}://${host}`);
        const wanted = Number(url.port === "" ? (scheme === "http" ? 80 : 443) : url.port);
        const name = url.hostname.replace(/\.$/, "");
        const expected = listeners.find((each) => each.hostname === name && each.port === wanted);
        const found = match(built, { host, scheme, port: undefined });
        expect(found && { hostname: found.hostname, port: found.port }).toEqual(
          expected && { hostname: expected.hostname, port: expected.port },
        );
      }),
    );
  });

  test("a table that contradicts itself is refused", () => {
    expect(() => index(table([], [{ hostname: "a", port: 80, tls: false, route: 0 }]))).toThrow(/route 0/);
  });
});
