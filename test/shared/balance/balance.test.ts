// The edge's node orders: what all promise (conformance.ts), and what each one promises beside it.
import { describe, expect, test } from "vitest";
import { createBalancer } from "../../../src/shared/balance/index.ts";
import { nodeAlgorithms } from "../../../src/shared/model/snapshot.ts";
import {
  balancerConformance,
  candidate,
  candidates,
  clientHash,
  context,
  deal,
  firstOf,
  seeded,
  stickyConformance,
} from "./conformance.ts";

for (const name of nodeAlgorithms) balancerConformance(name, () => createBalancer(name));
stickyConformance("source-hash", () => createBalancer("source-hash"));

const names = (weights: number[], count: number, algorithm: "round-robin" | "weighted"): string => {
  const balancer = createBalancer(algorithm);
  const list = weights.map((weight, i) => candidate("abcdef"[i] ?? "", weight));
  return Array.from({ length: count }, () => firstOf(balancer, list, context(seeded(1)))?.key).join("");
};

describe("round-robin", () => {
  test.each([
    { weights: [1, 1, 1], turns: "abcabca" },
    { weights: [5, 1, 1], turns: "abcabca" },
    // Passing over a weightless one gives its neighbour no second turn.
    { weights: [1, 0, 1], turns: "acacaca" },
    { weights: [0, 0, 0], turns: "abcabca" },
    { weights: [1], turns: "aaaaaaa" },
  ])("weights $weights take turns $turns", ({ weights, turns }) => {
    expect(names(weights, 7, "round-robin")).toBe(turns);
  });

  test("a retry goes to the next in turn", () => {
    const balancer = createBalancer("round-robin");
    const list = candidates(1, 1, 1);
    const orders = [0, 1, 2].map(() => [...balancer.order(list, context(seeded(1)))].map(({ key }) => key).join(" "));
    expect(orders).toEqual(["node-0 node-1 node-2", "node-1 node-2 node-0", "node-2 node-0 node-1"]);
  });

  test("one that leaves does not start the round anew", () => {
    const balancer = createBalancer("round-robin");
    const list = candidates(1, 1, 1, 1);
    expect([1, 2].map(() => firstOf(balancer, list, context(seeded(1)))?.key)).toEqual(["node-0", "node-1"]);
    expect(firstOf(balancer, list.slice(0, 3), context(seeded(1)))?.key).toBe("node-2");
  });
});

describe("weighted", () => {
  test.each([
    // "smooth": spread evenly, not aaaaabc
    { weights: [5, 1, 1], turns: "aabacaaaabacaa" },
    { weights: [1, 1], turns: "ababababababab" },
    { weights: [2, 0, 1], turns: "acaacaacaacaac" },
  ])("weights $weights take turns $turns", ({ weights, turns }) => {
    expect(names(weights, 14, "weighted")).toBe(turns);
  });

  test("shares are by weight, exactly, also after the list was reordered", () => {
    const balancer = createBalancer("weighted");
    const list = candidates(4, 3, 2, 1);
    const counts = new Map<string, number>();
    for (let n = 0; n < 1000; n++) {
      const key = firstOf(balancer, n % 3 === 0 ? list : list.toReversed(), context(seeded(1)))?.key ?? "";
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(Object.fromEntries(counts)).toEqual({ "node-0": 400, "node-1": 300, "node-2": 200, "node-3": 100 });
  });
});

describe("source-hash", () => {
  test("shares of clients are by weight", () => {
    const counts = deal(createBalancer("source-hash"), candidates(1, 2, 5), 16_000);
    for (const [i, share] of [1, 2, 5].entries())
      expect(Math.abs((counts.get(`node-${i}`) ?? 0) / (share * 2_000) - 1)).toBeLessThan(0.08);
  });

  test("a weight that changes moves clients only to or from that candidate", () => {
    const before = candidates(1, 1, 1);
    const after = candidates(1, 3, 1);
    for (let n = 0; n < 500; n++) {
      const ctx = context(seeded(n), clientHash(n));
      const [a, b] = [before, after].map((list) => firstOf(createBalancer("source-hash"), list, ctx)?.key);
      if (a !== b) expect(b).toBe("node-1");
    }
  });

  test("the second choice is where the client goes when the first has left", () => {
    const list = candidates(1, 2, 3, 1, 2);
    for (let n = 0; n < 200; n++) {
      const ctx = context(seeded(n), clientHash(n));
      const [first, second] = [...createBalancer("source-hash").order(list, ctx)];
      const rest = list.filter((each) => each !== first);
      expect(firstOf(createBalancer("source-hash"), rest, ctx)).toBe(second);
    }
  });

  test("a client without an address is dealt anew each time", () => {
    const balancer = createBalancer("source-hash");
    const random = seeded(5);
    const picked = new Set(
      Array.from({ length: 100 }, () => firstOf(balancer, candidates(1, 1, 1), context(random, 0))?.key),
    );
    expect(picked.size).toBe(3);
  });
});

describe("least-request", () => {
  test("of two, the less loaded; in proportion to weight", () => {
    const cases = [
      { list: [candidate("a", 1, 5), candidate("b", 1, 1)], first: "b" },
      { list: [candidate("a", 10, 9), candidate("b", 1, 1)], first: "a" },
      { list: [candidate("a", 0, 0), candidate("b", 1, 99)], first: "b" },
    ];
    for (const { list, first } of cases)
      for (let seed = 0; seed < 20; seed++)
        expect(firstOf(createBalancer("least-request"), list, context(seeded(seed)))?.key).toBe(first);
  });

  test("the most loaded of many is never first", () => {
    const list = candidates(1, 1, 1, 1, 1);
    (list[3] as { inFlight: number }).inFlight = 9;
    const random = seeded(3);
    for (let n = 0; n < 500; n++)
      expect(firstOf(createBalancer("least-request"), list, context(random))?.key).not.toBe("node-3");
  });

  test("keeps loads far more even than chance: none above twice the mean", () => {
    const list = candidates(...Array.from({ length: 20 }, () => 1));
    const balancer = createBalancer("least-request");
    const random = seeded(11);
    for (let n = 0; n < 400; n++) {
      const picked = firstOf(balancer, list, context(random));
      if (picked !== undefined) picked.inFlight++;
    }
    expect(Math.max(...list.map(({ inFlight }) => inFlight))).toBeLessThanOrEqual(24);
    expect(Math.min(...list.map(({ inFlight }) => inFlight))).toBeGreaterThanOrEqual(15);
  });
});
