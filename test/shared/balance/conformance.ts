// What every Balancer promises, whatever its algorithm: run over the edge's node orders and the agent's endpoint orders.
// Chance is seeded and time is an argument, so that each run is the same.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Balancer, Candidate, PickContext } from "../../../src/shared/balance/balancer.ts";
import { hash32 } from "../../../src/shared/balance/hash.ts";

export interface TestCandidate extends Candidate {
  weight: number;
  inFlight: number;
}

export function candidate(key: string, weight = 1, inFlight = 0): TestCandidate {
  return { key, hash: hash32(key), weight, inFlight };
}

export const candidates = (...weights: number[]): TestCandidate[] =>
  weights.map((weight, i) => candidate(`node-${i}`, weight));

/** mulberry32: small, seeded, good enough to deal with. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const context = (random: () => number, client = 1): PickContext => ({ now: 0, random, client });
export const clientHash = (n: number): number => hash32(`192.0.2.${n}`);

export function firstOf<C extends Candidate>(balancer: Balancer, list: readonly C[], ctx: PickContext): C | undefined {
  for (const each of balancer.order(list, ctx)) return each;
  return undefined;
}

/** Deals `requests` of as many clients, of which `open` are in flight at any time; how often each came first, by key. */
export function deal(
  balancer: Balancer,
  list: readonly TestCandidate[],
  requests: number,
  open = 16,
): Map<string, number> {
  const random = seeded(7);
  const counts = new Map(list.map(({ key }) => [key, 0]));
  const inFlight: TestCandidate[] = [];
  for (let n = 0; n < requests; n++) {
    const picked = firstOf(balancer, list, context(random, clientHash(n)));
    if (picked === undefined) throw new Error("no candidate");
    counts.set(picked.key, (counts.get(picked.key) ?? 0) + 1);
    picked.inFlight++;
    inFlight.push(picked);
    // They end in any order.
    if (inFlight.length > open) for (const done of inFlight.splice(Math.floor(random() * open), 1)) done.inFlight--;
  }
  return counts;
}

export function balancerConformance(name: string, create: () => Balancer): void {
  describe(`${name} is a Balancer`, () => {
    const lists = fc.uniqueArray(fc.record({ n: fc.nat(1000), weight: fc.nat(5), inFlight: fc.nat(9) }), {
      selector: ({ n }) => n,
      maxLength: 20,
    });
    const toCandidates = (specs: readonly { n: number; weight: number; inFlight: number }[]): TestCandidate[] =>
      specs.map(({ n, weight, inFlight }) => candidate(`node-${n}`, weight, inFlight));

    test("no candidates: an empty order", () => {
      expect([...create().order([], context(seeded(1)))]).toEqual([]);
    });

    test.each([1, 0])("one candidate of weight %i: that one, every time", (weight) => {
      const balancer = create();
      const only = candidate("node", weight);
      for (let n = 0; n < 5; n++) expect([...balancer.order([only], context(seeded(n)))]).toEqual([only]);
    });

    test("each candidate exactly once, those without weight last, over changing lists", () => {
      fc.assert(
        fc.property(fc.array(lists, { minLength: 1, maxLength: 6 }), fc.nat(), fc.nat(), (rounds, seed, client) => {
          const balancer = create();
          const random = seeded(seed);
          for (const specs of rounds) {
            const list = toCandidates(specs);
            const order = [...balancer.order(list, context(random, client))];
            expect(new Set(order)).toEqual(new Set(list));
            expect(order).toHaveLength(list.length);
            const weightless = order.findIndex(({ weight }) => weight === 0);
            if (weightless >= 0) expect(order.slice(weightless).every(({ weight }) => weight === 0)).toBe(true);
          }
        }),
        { numRuns: 200 },
      );
    });

    test("hashes that collide do not make two candidates one", () => {
      const list = candidates(1, 1, 0, 0).map((each) => ({ ...each, hash: 7 }));
      expect(new Set(create().order(list, context(seeded(1))))).toEqual(new Set(list));
    });

    test("changes neither the list nor its candidates", () => {
      const list = candidates(3, 1, 0, 2);
      const before = structuredClone(list);
      for (const _ of create().order(list, context(seeded(3)))) expect(list).toEqual(before);
      expect(list).toEqual(before);
    });

    test("after an order was broken off anywhere, the next one is whole", () => {
      fc.assert(
        fc.property(lists, fc.nat(), fc.nat(20), (specs, seed, taken) => {
          const list = toCandidates(specs);
          const balancer = create();
          let left = taken;
          for (const _ of balancer.order(list, context(seeded(seed)))) if (left-- === 0) break;
          const order = [...balancer.order(list, context(seeded(seed + 1)))];
          expect(new Set(order)).toEqual(new Set(list));
          expect(order).toHaveLength(list.length);
        }),
      );
    });

    test("taking only the first is the same as going on: the turn is used up either way", () => {
      const list = candidates(1, 1, 1);
      const [broken, whole] = [create(), create()];
      for (let n = 0; n < 10; n++) {
        const first = firstOf(broken, list, context(seeded(n), clientHash(n)));
        const [expected] = [...whole.order(list, context(seeded(n), clientHash(n)))];
        expect(first).toBe(expected);
      }
    });

    test("equal candidates get equal shares of many clients", () => {
      const requests = 12_000;
      const counts = deal(create(), candidates(1, 1, 1, 1, 1, 1), requests);
      for (const count of counts.values()) expect(Math.abs(count / (requests / 6) - 1)).toBeLessThan(0.15);
    });

    test("candidates without weight get nothing while others are there", () => {
      const counts = deal(create(), candidates(0, 1, 0, 1), 400);
      expect([counts.get("node-0"), counts.get("node-2")]).toEqual([0, 0]);
    });
  });
}

/** Beside the above, for balancers that give a client the same candidate every time. */
export function stickyConformance(name: string, create: () => Balancer): void {
  describe(`${name} is sticky`, () => {
    const pick = (list: readonly TestCandidate[], client: number, balancer = create()): string | undefined =>
      firstOf(balancer, list, context(seeded(client), clientHash(client)))?.key;

    test("a client's first is the same every time, in any order of the list, from any balancer", () => {
      const list = candidates(1, 1, 1, 1, 1);
      const balancer = create();
      for (let client = 0; client < 200; client++) {
        const key = pick(list, client, balancer);
        expect(pick(list, client, balancer)).toBe(key);
        expect(pick(list.toReversed(), client)).toBe(key);
      }
    });

    test("when a candidate leaves, only its clients move; when it returns, they come back", () => {
      const list = candidates(1, 1, 1, 1, 1);
      const without = list.filter(({ key }) => key !== "node-2");
      let moved = 0;
      for (let client = 0; client < 2_000; client++) {
        const before = pick(list, client);
        const after = pick(without, client);
        if (before === "node-2") moved++;
        else expect(after).toBe(before);
      }
      expect(moved).toBeGreaterThan(300);
      expect(moved).toBeLessThan(500);
    });
  });
}
