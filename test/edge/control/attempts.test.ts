// Buckets of sources: what is one source, and that a million of them take no more memory than ten thousand.
import { describe, expect, it } from "vitest";
import { Attempts } from "../../../src/edge/control/attempts.ts";

const BURST = 20;
const exhausted = (address: string, now = 0): Attempts => {
  const attempts = new Attempts();
  for (let at = 0; at < BURST; at++) expect(attempts.take(address, now)).toBe(true);
  expect(attempts.take(address, now)).toBe(false);
  return attempts;
};

describe("a source", () => {
  // [exhausted, asked, one source]
  it.each([
    ["192.0.2.1", "192.0.2.1", true],
    ["192.0.2.1", "192.0.2.2", false],
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", true],
    ["2001:db8:1:2::1", "2001:0DB8:0001:0002::9", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["192.0.2.1", "::ffff:192.0.2.1", true],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.2", false],
    ["", "", true],
    ["", "192.0.2.1", false],
    ["x:y", "x:y", true],
  ])("%s and %s", (one, other, same) => {
    expect(exhausted(one).take(other, 0)).toBe(!same);
  });
});

describe("a bucket", () => {
  it("gets one attempt a second, and no more than it holds", () => {
    const attempts = exhausted("a");
    expect(attempts.take("a", 999)).toBe(false);
    expect([attempts.take("a", 2_500), attempts.take("a", 2_500), attempts.take("a", 2_500)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(attempts.take("a", 3_000)).toBe(true);
    const late = Array.from({ length: BURST + 1 }, () => attempts.take("a", 1e9));
    expect(late.filter(Boolean)).toHaveLength(BURST);
  });

  it("is not filled by a clock that goes back", () => {
    expect(exhausted("a", 100_000).take("a", 0)).toBe(false);
  });

  it("holds no more than it can after too many good ones", () => {
    const attempts = new Attempts();
    attempts.take("a", 0);
    for (let at = 0; at < 100; at++) attempts.giveBack("a");
    const taken = Array.from({ length: BURST + 1 }, () => attempts.take("a", 0));
    expect(taken.filter(Boolean)).toHaveLength(BURST);
  });

  it("of the source that was seen longest ago makes way", () => {
    const attempts = exhausted("first");
    for (let at = 0; at < 9_999; at++) attempts.take(`${at}`, 0);
    expect(attempts.take("first", 0)).toBe(false);
    for (let at = 0; at < 10_000; at++) attempts.take(`other ${at}`, 0);
    expect(attempts.take("first", 0)).toBe(true);
  });
});
