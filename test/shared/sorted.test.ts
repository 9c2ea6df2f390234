import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareText, differences, placeIn, placesBefore } from "../../src/shared/sorted.ts";

interface Item {
  readonly name: string;
}
const order = (a: Item, b: Item): number => compareText(a.name, b.name);
const sorted = (items: Iterable<Item>): Item[] => [...items].sort(order);

/** Two lists of which some items are the same objects, some others under the same name. */
const lists = fc
  .uniqueArray(
    fc.record({ name: fc.string({ maxLength: 3 }), fate: fc.constantFrom("stays", "goes", "comes", "changes") }),
    {
      selector: ({ name }) => name,
      maxLength: 30,
    },
  )
  .map((all) => {
    const before = sorted(all.filter(({ fate }) => fate !== "comes"));
    const after = sorted(
      all.filter(({ fate }) => fate !== "goes").map((each) => (each.fate === "changes" ? { ...each } : each)),
    );
    return { before, after };
  });

describe("lists that are sorted by name", () => {
  it("differ by what came, went or is another object, in order", () => {
    fc.assert(
      fc.property(lists, ({ before, after }) => {
        const names = [...new Set([...before, ...after].map(({ name }) => name))].sort(compareText);
        const find = (list: readonly Item[], name: string) => list.find((each) => each.name === name);
        const expected = names
          .map((name) => ({ before: find(before, name), after: find(after, name) }))
          .filter((each) => each.before !== each.after);
        const found = differences(before, after, order);
        expect(found).toEqual(expected);
        expect(found.every((each, at) => each.after === expected[at]?.after)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it("know where the same object was", () => {
    fc.assert(
      fc.property(lists, ({ before, after }) => {
        const places = after.map((item) => (before.includes(item) ? before.indexOf(item) : undefined));
        expect(placesBefore(before, after, order)).toEqual(places);
      }),
      { numRuns: 1_000 },
    );
  });

  it("know where a name is or belongs", () => {
    fc.assert(
      fc.property(lists, fc.string({ maxLength: 3 }), ({ before }, name) => {
        const place = before.filter((each) => each.name < name).length;
        expect(placeIn(before, (item) => compareText(item.name, name))).toBe(place);
      }),
    );
  });
});
