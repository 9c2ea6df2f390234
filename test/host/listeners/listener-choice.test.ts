// Which of the clusters' ports are opened on the edge's machine.
import { expect, test } from "vitest";
import {
  chooseListeners,
  type ListenerRules,
  PORTS_MOST,
  PORTS_MOST_OF_CLUSTER,
} from "../../../src/host/listeners/listener-choice.ts";
import { parsePortRanges, without } from "../../../src/edge/routing/port-ranges.ts";

const any: ListenerRules = {
  offered: without([[1, 65_535]], 8787),
  most: { all: PORTS_MOST, cluster: PORTS_MOST_OF_CLUSTER },
};
const range = (from: number, count: number) => new Set(Array.from({ length: count }, (_, i) => from + i));
const sorted = (ports: ReadonlySet<number>) => [...ports].sort((a, b) => a - b);

test("by default any port but the admin host's", () => {
  const { ports, refused } = chooseListeners(new Map([["home", new Set([80, 8787, 9000])]]), new Set(), any);
  expect(sorted(ports)).toEqual([80, 9000]);
  expect([...refused]).toEqual([["home", "port 8787 (not among the ports that this edge offers)"]]);
});

test("one cluster gets no more than its share, and the rest is told in few words", () => {
  const { ports, refused } = chooseListeners(
    new Map([
      ["a", range(1000, 600)],
      ["b", new Set([80])],
    ]),
    new Set(),
    any,
  );
  expect(sorted(ports)).toEqual([80, ...range(1000, 256)]);
  expect(refused.get("a")).toBe(
    "ports 1256, 1257, 1258, 1259, 1260, 1261, 1262, 1263, 1264, 1265 and 334 more (256 ports are the most for one cluster without --listener-ports)",
  );
  expect(refused.has("b")).toBe(false);
});

test("all clusters together get no more than the machine's share, and a newcomer takes nothing that is open", () => {
  const clusters = new Map(Array.from({ length: 6 }, (_, i) => [`c${i}`, range(2000 + 300 * i, 256)] as const));
  const before = chooseListeners(clusters, new Set(), any);
  expect(before.ports.size).toBe(1_024);
  expect([...before.refused.keys()]).toEqual(["c4", "c5"]);
  const after = chooseListeners(new Map([...clusters, ["new", range(1, 256)]]), before.ports, any);
  expect(sorted(after.ports)).toEqual(sorted(before.ports));
  expect(after.refused.get("new")).toContain("1024 ports are the most for all clusters");
});

test("ports that clusters share are opened once, and count for each", () => {
  const { ports, refused } = chooseListeners(
    new Map([
      ["a", range(1, 256)],
      ["b", range(1, 256)],
    ]),
    new Set(),
    any,
  );
  expect([ports.size, refused.size]).toEqual([256, 0]);
});

test("the owner's list is the only limit where there is one", () => {
  const offered = without(parsePortRanges("80, 8000-8999") ?? [], 8787);
  const { ports, refused } = chooseListeners(
    new Map([["a", new Set([80, 443, 8787, ...range(8000, 200)])]]),
    new Set(),
    { offered },
  );
  expect(ports.size).toBe(201);
  expect(refused.get("a")).toBe("ports 443, 8787 (not among the ports that this edge offers)");
});
