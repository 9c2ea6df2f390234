import { expect, it } from "vitest";
import { inParallel } from "../../src/shared/in-parallel.ts";

it("does each item once, in order, and no more than so many at the same time", async () => {
  const done: number[] = [];
  let [running, most] = [0, 0];
  const items = Array.from({ length: 20 }, (_, index) => index);
  await inParallel(3, items, async (item) => {
    done.push(item);
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  });
  expect(done).toEqual(items);
  expect(most).toBe(3);
});

it("says that one failed", async () => {
  await expect(inParallel(2, [1, 2], (item) => Promise.reject(new Error(String(item))))).rejects.toThrow("1");
});
