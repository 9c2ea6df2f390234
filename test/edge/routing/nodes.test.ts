// Which nodes a route has, as kube-proxy would decide it. In a cell: the node's weight; "*" preferred, "-" not used.
import { describe, expect, test } from "vitest";
import type { SnapshotEndpoint, SnapshotNode } from "../../../src/shared/model/snapshot.ts";
import { compiled, conditions, leaving, node, ready, service, tcp, threeNodes, unready } from "./snapshots.ts";

interface Case {
  name: string;
  endpoints: SnapshotEndpoint[];
  nodes?: SnapshotNode[];
  expected: string;
  unavailable?: string;
}

const excluded = (name: string): SnapshotNode =>
  node(name, { excluded: `label x/exclude (kubectl label node ${name} x/exclude- removes it)` });
const zones = [node("n1", { zone: "za" }), node("n2", { zone: "zb" }), node("n3", { zone: "za" })];
const for1 = { forNodes: ["n1"], forZones: ["za"] };

const routeOf = (policy: "Cluster" | "Local", { endpoints, nodes = threeNodes }: Case) => {
  const result = compiled([service("web", { endpoints, externalTrafficPolicy: policy })], { nodes });
  const [route] = result.table.routes;
  const cells = result.table.nodes.map((_, at) => {
    const found = route?.nodes.find((each) => each.node === at);
    return found === undefined ? "-" : `${found.weight}${found.preferred ? "*" : ""}`;
  });
  return { result, cells: cells.join(" "), unavailable: route?.unavailable };
};

describe("externalTrafficPolicy: Cluster", () => {
  test.each<Case>([
    {
      name: "every node; weight: local ready endpoints, at least 1",
      endpoints: [ready("n1"), ready("n1"), ready("n2")],
      expected: "2* 1* 1*",
    },
    {
      name: "a node's own weight",
      endpoints: [ready("n1")],
      nodes: [node("n1", { weight: 7 }), node("n2", { weight: 0 })],
      expected: "7* 0*",
    },
    {
      name: "an excluded node gets nothing; its pods are reached through others",
      endpoints: [ready("n1")],
      nodes: [excluded("n1"), node("n2")],
      expected: "- 1*",
    },
    {
      name: "unready endpoints do not count",
      endpoints: [ready("n1"), unready("n1"), unready("n2")],
      expected: "1* 1* 1*",
    },
    {
      name: "ready wins, even while terminating",
      endpoints: [ready("n1", { terminating: true }), leaving("n2")],
      expected: "1* 1* 1*",
    },
    {
      name: "none ready: serving and terminating ones",
      endpoints: [leaving("n1"), leaving("n1"), unready("n2")],
      expected: "2* 1* 1*",
    },
    { name: "endpoints without a node", endpoints: [ready()], expected: "1* 1* 1*" },
    {
      name: "hints for nodes",
      endpoints: [ready("n1", for1), ready("n2", { forNodes: ["n2"] })],
      nodes: zones,
      expected: "1* 1* 1",
    },
    {
      name: "hints for zones, where nodes have none",
      endpoints: [ready("n1", { forZones: ["za"] }), ready("n1", { forZones: ["za"] })],
      nodes: zones,
      expected: "2* 1 1*",
    },
    {
      name: "hints count only if all ready endpoints have them",
      endpoints: [ready("n1", for1), ready("n2")],
      nodes: zones,
      expected: "1* 1* 1*",
    },
    {
      name: "… of those that are ready",
      endpoints: [ready("n1", for1), leaving("n2"), unready("n2")],
      nodes: zones,
      expected: "1* 1 1*",
    },
    {
      name: "hints that suit no node prefer none",
      endpoints: [ready("n1", { forNodes: ["gone"], forZones: ["zz"] })],
      nodes: zones,
      expected: "1* 1* 1*",
    },
    {
      name: "hints that suit only an excluded node prefer none",
      endpoints: [ready("n1", { forNodes: ["n1"] })],
      nodes: [excluded("n1"), node("n2")],
      expected: "- 1*",
    },
    {
      name: "hints of leaving endpoints do not count",
      endpoints: [leaving("n1", for1)],
      nodes: zones,
      expected: "1* 1* 1*",
    },
    { name: "no endpoints", endpoints: [], expected: "1* 1* 1*", unavailable: "no-endpoints" },
    { name: "none ready, none leaving", endpoints: [unready("n1")], expected: "1* 1* 1*", unavailable: "no-endpoints" },
    {
      name: "ready, but not for this port",
      endpoints: [ready("n1", { ports: { 81: 81 } })],
      expected: "1* 1* 1*",
      unavailable: "no-endpoints",
    },
    {
      name: "all excluded",
      endpoints: [ready("n1")],
      nodes: [excluded("n1"), excluded("n2")],
      expected: "- -",
      unavailable: "no-eligible-nodes",
    },
    { name: "no nodes at all", endpoints: [ready("n1")], nodes: [], expected: "", unavailable: "no-eligible-nodes" },
  ])("$name", (each) => {
    const { cells, unavailable } = routeOf("Cluster", each);
    expect(cells).toBe(each.expected);
    expect(unavailable?.reason).toBe(each.unavailable);
  });
});

describe("externalTrafficPolicy: Local", () => {
  test.each<Case>([
    {
      name: "only nodes with a ready endpoint; weight: how many",
      endpoints: [ready("n1"), ready("n1"), ready("n3")],
      expected: "2* - 1*",
    },
    {
      name: "per node: leaving ones where none is ready, after the others",
      endpoints: [ready("n1"), leaving("n2"), leaving("n2")],
      expected: "1* 2 -",
    },
    {
      name: "a node's leaving ones do not count beside its ready one",
      endpoints: [ready("n1"), leaving("n1")],
      expected: "1* - -",
    },
    { name: "only leaving ones anywhere", endpoints: [leaving("n1")], expected: "1 - -" },
    {
      name: "a node's own weight",
      endpoints: [ready("n1"), ready("n2")],
      nodes: [node("n1", { weight: 7 }), node("n2")],
      expected: "7* 1*",
    },
    {
      name: "hints do not apply",
      endpoints: [ready("n1", for1), ready("n2", for1)],
      nodes: zones,
      expected: "1* 1* -",
    },
    {
      name: "an excluded node's endpoints are out of reach",
      endpoints: [ready("n1"), ready("n2")],
      nodes: [excluded("n1"), node("n2")],
      expected: "- 1*",
    },
    {
      name: "all of them on excluded nodes",
      endpoints: [ready("n1")],
      nodes: [excluded("n1"), node("n2")],
      expected: "- -",
      unavailable: "no-eligible-nodes",
    },
    { name: "endpoints without a node", endpoints: [ready()], expected: "- - -", unavailable: "no-eligible-nodes" },
    { name: "no endpoints", endpoints: [unready("n1")], expected: "- - -", unavailable: "no-endpoints" },
  ])("$name", (each) => {
    const { cells, unavailable } = routeOf("Local", each);
    expect(cells).toBe(each.expected);
    expect(unavailable?.reason).toBe(each.unavailable);
  });
});

describe("condition NoEligibleNodes", () => {
  test("names each node, what excludes it, and the command", () => {
    const { result } = routeOf("Cluster", {
      name: "",
      expected: "",
      endpoints: [ready("n1")],
      nodes: [excluded("n1"), excluded("n2")],
    });
    const found = conditions(result)["NoEligibleNodes"];
    expect(found).toMatchObject({ status: "True", reason: "NoEligibleNodes" });
    expect(found?.message).toContain(
      "node n1: label x/exclude (kubectl label node n1 x/exclude- removes it); node n2: ",
    );
    expect(found?.message).toContain("--ignore-exclude-label");
  });

  test("is said once for all ports, and stays short in a large cluster", () => {
    const nodes = Array.from({ length: 500 }, (_, i) => excluded(`n${i}`));
    const web = service("web", { ports: [tcp(80), tcp(81)], endpoints: [ready("n1", { ports: { 80: 1, 81: 1 } })] });
    const result = compiled([web], { nodes });
    const message = conditions(result)["NoEligibleNodes"]?.message ?? "";
    expect(message.match(/Excluded:/g)).toHaveLength(1);
    expect(message).toContain("and 490 more");
    expect(message.length).toBeLessThan(2_000);
  });
});

test("the unavailable route's message tells strangers nothing of addresses", () => {
  const { unavailable } = routeOf("Cluster", { name: "", expected: "", endpoints: [unready("n1")] });
  expect(unavailable?.message).toBe("Service default/web has no ready endpoint for port 80.");
});

test("ExternalName, whose one endpoint is on no node: any node resolves it", () => {
  const nas = service("web", {
    kind: "ExternalName",
    externalName: "nas.lan",
    endpoints: [ready(undefined, { key: "nas.lan", address: "nas.lan" })],
  });
  expect(compiled([nas]).table.routes[0]?.nodes).toHaveLength(3);
});
