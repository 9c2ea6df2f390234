// Places of requests in flight: given back, or forgotten where nobody does.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Load, Period, PERIOD_MS } from "../../../src/edge/direct/load.ts";

test("what is taken is counted until it is given back", () => {
  const load = new Load(new Period());
  const places = [load.take(), load.take(), load.take()];
  expect(load.inFlight).toBe(3);
  for (const place of places) load.release(place);
  expect(load.inFlight).toBe(0);
});

test("a place that nobody gives back is counted for one period at least and two at most", () => {
  const period = new Period();
  const load = new Load(period);
  period.moveOn(5 * PERIOD_MS);
  load.take();
  period.moveOn(6 * PERIOD_MS);
  expect(load.inFlight).toBe(1);
  load.take();
  expect(load.inFlight).toBe(2);
  period.moveOn(7 * PERIOD_MS);
  expect(load.inFlight).toBe(1);
  period.moveOn(9 * PERIOD_MS);
  expect(load.inFlight).toBe(0);
  // A clock that goes back stands still.
  period.moveOn(PERIOD_MS);
  expect(load.inFlight).toBe(0);
});

test("never below zero, and zero once all are given back or old", () => {
  const step = fc.oneof(
    fc.constant("take" as const),
    fc.constant("release" as const),
    fc.integer({ min: 0, max: 3 * PERIOD_MS }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const period = new Period();
      const load = new Load(period);
      const places: number[] = [];
      let now = 0;
      let taken = 0;
      for (const each of steps) {
        if (each === "take") taken = places.push(load.take());
        else if (each === "release") load.release(places.shift() ?? -9);
        else period.moveOn((now += each));
        expect(load.inFlight).toBeGreaterThanOrEqual(0);
        expect(load.inFlight).toBeLessThanOrEqual(Math.max(taken, places.length));
      }
      for (const place of places) load.release(place);
      expect(load.inFlight).toBe(0);
    }),
  );
});
