// What a person reads of a cluster, out of what the edge answers.
import { describe, expect, it } from "vitest";
import { membersOf } from "../../cli/commands/hostnames.ts";
import { printable, tableText } from "../../cli/output.ts";
import { nodeTable, serviceTable, statusOf } from "../../cli/status.ts";

const connection = { instance: "i", since: 1, draining: false, inFlight: 2, version: "0.1.0" };
const shard = { shard: 0, node: "n1", connections: [connection], available: true, reason: "", endpoints: [] };
const node = { node: "n1", known: true, tunnel: [shard] };
const table = {
  cluster: "home",
  generation: 3,
  listeners: [
    { hostname: "web.test", port: 80, tls: false, route: 0 },
    { hostname: "web.test", port: 443, tls: true, route: 0 },
    { hostname: "api.test", port: 8080, tls: false, route: 1 },
  ],
  routes: [
    { service: "default/web", port: 80 },
    { service: "default/api", port: 8080, unavailable: { reason: "no-endpoints", message: "the service has no pods" } },
  ],
};
const trouble = {
  type: "postern.dev/PortNotOffered",
  status: "True" as const,
  reason: "PortNotOffered",
  message: "port 22 is not offered",
};
const conditions = { services: { "default/ssh": [trouble] } };
const status = statusOf(table, conditions, { nodes: [node], silentShards: [] });

describe("status", () => {
  it("has every Service with its addresses, and in words what keeps it from being served", () => {
    expect(status.services.map(({ service, troubles }) => [service, ...troubles])).toEqual([
      ["default/api", "port 8080: the service has no pods"],
      ["default/ssh", "port 22 is not offered"],
      ["default/web"],
    ]);
    expect(tableText(serviceTable(status, false))).toBe(
      [
        "SERVICE      ADDRESS               STATE",
        "default/api  http://api.test:8080  port 8080: the service has no pods",
        "default/ssh                        port 22 is not offered",
        "default/web  http://web.test       served",
        "             https://web.test",
        "",
      ].join("\n"),
    );
    expect(serviceTable(status, true).rows[1]).toEqual([
      "default/ssh",
      "",
      "port 22 is not offered",
      "postern.dev/PortNotOffered=PortNotOffered",
    ]);
  });

  it.each([
    ["available", {}],
    ["it is not connected", { tunnel: [] }],
    ["draining", { tunnel: [{ ...shard, available: false, reason: "draining" }] }],
    ["cordoned", { excluded: "cordoned" }],
    ["the cluster's last snapshot does not know it", { known: false }],
    ["its direct address does not answer: refused", { probe: { healthy: false, reason: "refused" } }],
  ])("says of a node: %s", (text, parts) => {
    const one = statusOf(table, conditions, { nodes: [{ ...node, ...parts }], silentShards: [] });
    expect(nodeTable(one, false).rows[0]?.at(-1)).toBe(text);
  });

  it("says which shards did not answer", () => {
    const { troubles } = statusOf(table, conditions, { nodes: [], silentShards: [1, 2] });
    expect(troubles).toEqual(["shards 1, 2 of the tunnel did not answer in time"]);
  });

  it("lets no word of what it was answered steer the terminal", () => {
    expect(printable("a\u001b[2Jb\r\nc")).toBe("a [2Jb c");
    expect(tableText({ columns: ["A"], rows: [["x\u001b]0;evil\u0007"]] })).not.toMatch(/[^\n\P{Cc}]/u);
  });
});

describe("who serves a hostname", () => {
  it("is written as shares, and then those that take over", () => {
    expect(membersOf(["home=3", "rack", "then", "spare=0"])).toEqual([
      { cluster: "home", priority: 0, weight: 3 },
      { cluster: "rack", priority: 0, weight: 1 },
      { cluster: "spare", priority: 1, weight: 0 },
    ]);
  });

  it.each([[["home=x"]], [["=3"]], [["then"]], [["home="]]])("is refused where it cannot be read: %j", (words) => {
    expect(() => membersOf(words)).toThrow(/must be|no cluster/);
  });
});
