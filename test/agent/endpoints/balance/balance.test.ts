// The node's endpoint orders: the contract for all of them, and what makes each what it is.
import { describe, expect, it } from "vitest";
import { createEndpointBalancer, userspaceAlgorithms } from "../../../../agent/endpoints/balance/index.ts";
import { LeastConnections } from "../../../../agent/endpoints/balance/least-connections.ts";
import { buildTable, Maglev, TABLE_SIZE } from "../../../../agent/endpoints/balance/maglev.ts";
import type { Balancer } from "../../../../src/shared/balance/balancer.ts";
import { endpointAlgorithms } from "../../../../src/shared/model/snapshot.ts";
import {
  balancerConformance,
  candidate,
  candidates,
  clientHash,
  context,
  firstOf,
  seeded,
  stickyConformance,
  type TestCandidate,
} from "../../../shared/balance/conformance.ts";

const create = (name: (typeof endpointAlgorithms)[number]) => (): Balancer => {
  const balancer = createEndpointBalancer(name);
  if (balancer === undefined) throw new Error(`no balancer ${name}`);
  return balancer;
};

for (const name of userspaceAlgorithms) balancerConformance(name, create(name));
stickyConformance("sh", create("sh"));

/** Keys of the first picks, one letter each: "aba". */
const firsts = (balancer: Balancer, list: readonly TestCandidate[], times: number) => {
  const random = seeded(1);
  return Array.from({ length: times }, () => firstOf(balancer, list, context(random))?.key).join("");
};
const letters = (...weights: number[]) => weights.map((weight, index) => candidate("abcdef"[index] ?? "?", weight));

describe("what userspace can do", () => {
  it("leaves IPVS' own to IPVS", () => {
    const missing = endpointAlgorithms.filter((name) => createEndpointBalancer(name) === undefined);
    expect(missing).toEqual(["wlc", "dh", "sed", "nq"]);
  });
});

describe("rr", () => {
  it.each([
    [[1, 1, 1], "abcabc"],
    [[1, 9, 1], "abcabc"],
    [[1, 0, 1], "acacac"],
    [[0, 0], "ababab"],
  ])("weights %j: %s", (weights, expected) => {
    expect(firsts(create("rr")(), letters(...weights), 6)).toBe(expected);
  });
});

describe("wrr", () => {
  it.each([
    [[5, 1, 1], "aabacaaaabacaa"],
    [[1, 1], "abababababab"],
    [[2, 0, 1], "acaacaaca"],
  ])("weights %j: %s", (weights, expected) => {
    expect(firsts(create("wrr")(), letters(...weights), expected.length)).toBe(expected);
  });

  it("keeps its place when one more joins", () => {
    const balancer = create("wrr")();
    expect(firsts(balancer, letters(1, 1), 1)).toBe("a");
    // b was to be next; c is new and has no turn owed.
    expect(firsts(balancer, letters(1, 1, 1), 1)).toBe("b");
  });
});

describe("lc", () => {
  it("takes who has the fewest in flight, and retries in that order", () => {
    const list = [candidate("a", 1, 3), candidate("b", 1, 1), candidate("c", 0, 0), candidate("d", 1, 2)];
    const order = [...new LeastConnections().order(list, context(seeded(1)))];
    expect(order.map(({ key }) => key).join("")).toBe("bdac");
  });
});

describe("maglev", () => {
  const keys = (table: Uint16Array, list: readonly TestCandidate[]) => Array.from(table, (index) => list[index]?.key);

  it("fills every slot, in shares by weight within 2 %", () => {
    const list = letters(1, 2, 3);
    const table = keys(buildTable(list), list);
    expect(table).toHaveLength(TABLE_SIZE);
    for (const { key, weight } of list) {
      const share = table.filter((each) => each === key).length / TABLE_SIZE;
      expect(Math.abs(share / (weight / 6) - 1)).toBeLessThan(0.02);
    }
  });

  it("is the same whatever the order of the list", () => {
    const list = candidates(1, 1, 1, 1);
    const reversed = list.toReversed();
    expect(keys(buildTable(reversed), reversed)).toEqual(keys(buildTable(list), list));
  });

  it("moves few clients beside those of one that leaves", () => {
    const list = candidates(1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    const without = list.slice(1);
    const [before, after] = [keys(buildTable(list), list), keys(buildTable(without), without)];
    const others = before.flatMap((key, slot) => (key === "node-0" ? [] : [key === after[slot]]));
    expect(others.filter((same) => !same).length / others.length).toBeLessThan(0.05);
  });

  it("builds its table once for the same set, and anew for another", () => {
    const balancer = new Maglev();
    const list = candidates(1, 1, 1);
    const pick = (client: number, from = list) => firstOf(balancer, from, context(seeded(1), clientHash(client)))?.key;
    const before = Array.from({ length: 200 }, (_, client) => pick(client));
    expect(new Set(before).size).toBe(3);
    // A copy is the same set; other weights are not.
    const copy = Array.from({ length: 200 }, (_, client) => pick(client, [...list]));
    expect(copy).toEqual(before);
    const [, ...rest] = list;
    expect(new Set(Array.from({ length: 200 }, (_, client) => pick(client, rest))).size).toBe(2);
  });

  it("has no table where nobody has a weight", () => {
    expect(buildTable(candidates(0, 0))).toHaveLength(0);
  });
});
