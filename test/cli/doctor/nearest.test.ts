// Which name was meant.
import { describe, expect, it } from "vitest";
import { distance, nearest, nearestLabels } from "../../../cli/doctor/nearest.ts";

it.each([
  ["web", "web", 0],
  ["web", "wbe", 1],
  ["web", "webb", 1],
  ["", "ab", 2],
  ["kitten", "sitting", 3],
])("from %j to %j it is %i letters", (a, b, letters) => {
  expect(distance(a, b)).toBe(letters);
  expect(distance(b, a)).toBe(letters);
});

it("the nearest name is one that is half alike, or none", () => {
  expect(nearest("hostnames", ["hostname", "transport"])).toBe("hostname");
  expect(nearest("weight", ["hostname", "expose"])).toBeUndefined();
});

describe("labels", () => {
  const near = (selector: Record<string, string>, ...all: Record<string, string>[]) =>
    nearestLabels(
      selector,
      all.map((labels, at) => ({ at, labels })),
    );

  it("a slip in the value", () => {
    const found = near({ app: "web" }, { app: "db" }, { app: "webb", "pod-template-hash": "web" });
    expect(found?.candidate.at).toBe(1);
    expect(found?.instead).toEqual([{ key: "app", value: "web", has: ["app", "webb"] }]);
  });

  it("the same value under another key", () => {
    const found = near({ app: "web" }, { "app.kubernetes.io/name": "web" }, { tier: "front" });
    expect(found?.instead).toEqual([{ key: "app", value: "web", has: ["app.kubernetes.io/name", "web"] }]);
  });

  it("one label of several", () => {
    const found = near({ app: "web", tier: "front" }, { app: "db", tier: "back" }, { app: "web" });
    expect(found?.candidate.at).toBe(1);
    expect(found?.instead).toEqual([{ key: "tier", value: "front" }]);
  });

  it("nothing in common is near to nobody", () => {
    expect(near({ app: "web" }, { run: "db" })).toBeUndefined();
  });
});
