import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Ejector } from "../../../src/shared/health/ejection.ts";

const noJitter = (): number => 0;
const fail = (ejector: Ejector, key: string, now: number, times: number, of = 4): boolean[] =>
  Array.from({ length: times }, () => ejector.failed(key, now, of));

describe("Ejector", () => {
  test("five failures in a row eject for five seconds; a success before that starts anew", () => {
    const ejector = new Ejector(noJitter);
    fail(ejector, "a", 0, 4);
    ejector.succeeded("a", 0);
    expect(fail(ejector, "a", 0, 5)).toEqual([false, false, false, false, true]);
    expect(ejector.ejectedUntil("a", 4_999)).toBe(5_000);
    expect(ejector.ejectedUntil("a", 5_000)).toBeUndefined();
    expect(ejector.ejectedUntil("b", 0)).toBeUndefined();
  });

  test("afterwards one more failure suffices, for twice as long, up to five minutes", () => {
    const ejector = new Ejector(noJitter);
    fail(ejector, "a", 0, 5);
    const seconds: number[] = [];
    let now = 5_000;
    for (let round = 0; round < 8; round++) {
      expect(ejector.failed("a", now, 4)).toBe(true);
      const until = ejector.ejectedUntil("a", now) ?? 0;
      seconds.push((until - now) / 1000);
      now = until;
    }
    expect(seconds).toEqual([10, 20, 40, 80, 160, 300, 300, 300]);
  });

  test("a success after its time forgives everything", () => {
    const ejector = new Ejector(noJitter);
    fail(ejector, "a", 0, 5);
    ejector.succeeded("a", 5_000);
    expect(fail(ejector, "a", 5_000, 5)).toEqual([false, false, false, false, true]);
    expect(ejector.ejectedUntil("a", 5_000)).toBe(10_000);
  });

  test("what was sent before the ejection neither shortens nor lengthens it", () => {
    const ejector = new Ejector(noJitter);
    fail(ejector, "a", 0, 5);
    ejector.succeeded("a", 1_000);
    expect(fail(ejector, "a", 2_000, 9)).not.toContain(true);
    expect(ejector.ejectedUntil("a", 3_000)).toBe(5_000);
  });

  test.each([
    { of: 1, ejected: 0 },
    { of: 2, ejected: 1 },
    { of: 3, ejected: 1 },
    { of: 4, ejected: 2 },
    { of: 9, ejected: 4 },
  ])("of $of that all fail, $ejected are ejected", ({ of, ejected }) => {
    const ejector = new Ejector(noJitter);
    const keys = Array.from({ length: of }, (_, i) => `n${i}`);
    for (const key of keys) fail(ejector, key, 0, 20, of);
    expect(keys.filter((key) => ejector.ejectedUntil(key, 0) !== undefined)).toHaveLength(ejected);
  });

  test("those who fell together do not return together", () => {
    const draws = [0, 1].values();
    const ejector = new Ejector(() => draws.next().value ?? 0);
    fail(ejector, "a", 0, 5);
    fail(ejector, "b", 0, 5);
    expect([ejector.ejectedUntil("a", 0), ejector.ejectedUntil("b", 0)]).toEqual([5_000, 6_000]);
    expect([ejector.nextReturn(0), ejector.nextReturn(5_000), ejector.nextReturn(6_000)]).toEqual([
      5_000,
      6_000,
      Number.POSITIVE_INFINITY,
    ]);
  });

  test("forgets those that are gone", () => {
    const ejector = new Ejector(noJitter);
    fail(ejector, "a", 0, 5);
    fail(ejector, "b", 0, 5);
    ejector.retain(new Set(["b"]));
    expect([ejector.ejectedUntil("a", 0), ejector.ejectedUntil("b", 0)]).toEqual([undefined, 5_000]);
  });

  test("whatever happens, never more than half is ejected", () => {
    const event = fc.record({
      key: fc.constantFrom("a", "b", "c", "d", "e"),
      ok: fc.boolean(),
      after: fc.nat(3_000),
      times: fc.integer({ min: 1, max: 6 }),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const ejector = new Ejector(() => 0.5);
        let now = 0;
        for (const { key, ok, after, times } of events) {
          now += after;
          if (ok) ejector.succeeded(key, now);
          else fail(ejector, key, now, times, 5);
          expect(
            ["a", "b", "c", "d", "e"].filter((each) => ejector.ejectedUntil(each, now) !== undefined).length,
          ).toBeLessThanOrEqual(2);
        }
      }),
    );
  });
});
