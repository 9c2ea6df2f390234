// Elements that several ask for: the first by name has one with a value, all have one without, and only the former is a conflict.
import { expect, test } from "vitest";
import { Claims, type Element } from "../../../../agent/dataplane/kernel/claims.ts";

const frontend = (value: string): Element => ({ set: "frontends", key: "192.0.2.1 . tcp . 80", value });

test("who loses is told as long as somebody else has it", () => {
  const claims = new Claims();
  claims.replace("default/b", [], [frontend("2")]);
  expect(claims.conflicts()).toEqual([]);
  claims.replace("default/a", [], [frontend("1")]);
  claims.replace("default/c", [], [frontend("3")]);
  const key = "192.0.2.1 . tcp . 80";
  expect(claims.conflicts()).toEqual(["default/b", "default/c"].map((loser) => ({ loser, winner: "default/a", key })));
  claims.replace("default/a", [frontend("1")], []);
  expect(claims.conflicts()).toEqual([{ loser: "default/c", winner: "default/b", key }]);
  claims.replace("default/c", [frontend("3")], []);
  expect(claims.conflicts()).toEqual([]);
});

test("of what all share nothing is looked at: a large cluster has tens of thousands of it, and is asked at each change", () => {
  const claims = new Claims();
  let looks = 0;
  const shared: Element = { set: "cluster-ips", key: "10.96.0.1" };
  Object.defineProperty(shared, "value", { get: () => void looks++ });
  for (const owner of ["default/a TCP 80", "default/a TCP 443"]) claims.replace(owner, [], [shared]);
  looks = 0;
  expect([claims.conflicts(), looks]).toEqual([[], 0]);
});
