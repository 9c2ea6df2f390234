// Where transport direct may dial, as a table: by what whoever publishes a snapshot may write as a node's address.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressFault, dialRules, originOf, portFault } from "../../../src/edge/routing/dial.ts";
import { compiled, conditions, node, service, tcp } from "./snapshots.ts";

const edge = { ADMIN_HOST: "edge.example.com:8787", LISTENER_PORTS: "any" } as const;
const rules = dialRules(edge);
const any = dialRules({ ...edge, DIRECT_ADDRESSES: "any" });

describe("addresses", () => {
  test.each([
    "10.0.0.1",
    "192.168.1.20",
    "172.16.0.1",
    "100.64.0.7",
    "203.0.113.7",
    "8.8.8.8",
    "fd00::1",
    "2001:db8::1",
    "2a01:4f8::1",
    "n1.nodes.test",
    "Node-1",
    "n_1.lan",
    "localhost.example.com",
    "1.2.3.example",
  ])("%s: may be dialled", (address) => {
    expect(addressFault(address, rules)).toBeUndefined();
    expect(originOf(address, 30080, rules)).toBe(`http://${address.includes(":") ? `[${address}]` : address}:30080`);
  });

  test.each([
    // The edge's own machine.
    "127.0.0.1",
    "127.53.0.9",
    "::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "localhost",
    "LOCALHOST",
    "x.localhost",
    // Metadata services and other neighbours.
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    // Many at once.
    "224.0.0.1",
    "239.1.2.3",
    "255.255.255.255",
    "ff02::1",
    // An IPv4 address in other clothes.
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "127.0.0.01",
    "1.2.3.4.5",
    "a.0x10",
    // More than a host.
    "127.0.0.1/x?",
    "n1.lan:22",
    "n1.lan#",
    "user@n1.lan",
    "n1.lan%2f",
    "n1.lan/",
    "n1 lan",
    "n1\nlan",
    "[::1]",
    "http://n1.lan",
    "",
    ".",
    "n1..lan",
    "n1.lan.",
    "127.0.0.1.",
    "localhost.",
    "-n1.lan",
    "bücher.lan",
    "１２７.0.0.1",
    `${"a".repeat(64)}.lan`,
    // The edge itself.
    "edge.example.com",
    "EDGE.example.com",
  ])("%j: may not", (address) => {
    expect(addressFault(address, rules)).toBeTypeOf("string");
    expect(originOf(address, 30080, rules)).toBeUndefined();
  });

  test("the admin host by address, in any spelling", () => {
    const at = (ADMIN_HOST: string) => dialRules({ ...edge, ADMIN_HOST });
    expect(addressFault("192.168.1.2", at("192.168.1.2:8787"))).toContain("admin host");
    expect(addressFault("fd00:0::9", at("[fd00::9]:8787"))).toContain("admin host");
    expect(addressFault("192.168.1.3", at("192.168.1.2:8787"))).toBeUndefined();
  });

  test("on Cloudflare a name alone", () => {
    const cloudflare = dialRules({ ...edge, LISTENER_PORTS: "standard" });
    expect(addressFault("203.0.113.7", cloudflare)).toContain("Cloudflare");
    expect(addressFault("n1.example.com", cloudflare)).toBeUndefined();
  });

  test("`npm start` dials loopback, and still nothing but a host", () => {
    for (const address of ["127.0.1.1", "localhost", "::1"]) expect(addressFault(address, any)).toBeUndefined();
    for (const address of ["127.0.0.1/x?", "a@b", "n1:80", "", "fe80::1%eth0", "2130706433"])
      expect(addressFault(address, any)).toBeTypeOf("string");
  });

  test("whatever passes is the host of its URL, and nothing else of it", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string(), fc.stringMatching(/^[0-9a-fx.:%@/?#-]{1,12}$/)),
        (address) => {
          const origin = originOf(address, 30080, rules);
          if (origin === undefined) return;
          const url = new URL(origin);
          expect([url.pathname, url.search, url.hash, url.username, url.port]).toEqual(["/", "", "", "", "30080"]);
          expect(url.hostname).not.toMatch(/^((127|0|169\.254)(\.\d+)+|localhost)$/);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

test.each([
  [30_000, undefined, true],
  [32_767, undefined, true],
  [29_999, undefined, false],
  [80, undefined, false],
  [80, "1-65535", true],
  [30_080, "20000-22767", false],
  [22, "nonsense", false],
])("NodePort %i with NODE_PORTS %s: %s", (port, NODE_PORTS, allowed) => {
  const given = NODE_PORTS === undefined ? edge : { ...edge, NODE_PORTS };
  expect(portFault(port, dialRules(given)) === undefined).toBe(allowed);
  expect(portFault(port, any)).toBeUndefined();
});

describe("a Service of transport direct", () => {
  const direct = service("web", { transport: "direct" });

  test("whose nodes may not be dialled goes by tunnel, and the condition says why", () => {
    const nodes = [node("n1", { directAddress: "127.0.0.1" }), node("n2")];
    const result = compiled([direct], { nodes });
    expect(result.table.routes).toMatchObject([{ transport: "tunnel", nodes: [{ node: 0 }, { node: 1 }] }]);
    expect(conditions(result)["DirectNotPossible"]?.message).toContain('node n1: "127.0.0.1" is a loopback address');
  });

  test("of which one node may not goes to the others", () => {
    const nodes = [node("n1", { directAddress: "127.0.0.1/x?" }), node("n2", { directAddress: "n2.lan" })];
    const result = compiled([direct], { nodes });
    expect(result.table.routes).toMatchObject([{ transport: "direct", nodes: [{ node: 1 }] }]);
    expect(conditions(result)["DirectAddressRefused"]?.message).toContain("node n1");
    expect(conditions(result)["DirectNotPossible"]).toBeUndefined();
  });

  test("whose NodePort is none goes by tunnel", () => {
    const nodes = [node("n1", { directAddress: "n1.lan" })];
    const result = compiled([service("web", { transport: "direct", ports: [tcp(80, 19_700)] })], { nodes });
    expect(result.table.routes).toMatchObject([{ transport: "tunnel" }]);
    expect(conditions(result)["DirectNotPossible"]?.message).toContain("nodePort 19700");
  });
});
