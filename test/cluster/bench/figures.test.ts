import { expect, it } from "vitest";
import { type Measured, median, percentile, ratios, summarize } from "./figures.ts";
import { compare, printed } from "./report.ts";

const started = (ms: number) => ({ ms, cpuS: 1, peakMiB: 50, stallMs: 2 });
const whole = (ms: number, moves: readonly number[]): Measured => ({
  quiet: true,
  idleStallMs: 1,
  silent: 0,
  fullSync: started(ms),
  restart: { ...started(ms), failed: 0 },
  adds: { ms: [ms], cpuMs: 5, stallMs: 1 },
  creates: { ms: [ms], cpuMs: 5, stallMs: 1 },
  moves: { ms: moves, cpuMs: 5, stallMs: 1 },
  firstPacket: { directUs: [100, 110, 120], serviceUs: [130, 140, 150] },
});
const broken: Measured = { quiet: false, idleStallMs: 3, gaveUp: "full sync: not within 900 s" };

it.each([
  [[], 0.5, null],
  [[7], 0.99, 7],
  [[3, 1, 2], 0.5, 2],
  [Array.from({ length: 100 }, (_, index) => index + 1), 0.99, 100],
  [Array.from({ length: 200 }, (_, index) => index + 1), 0.99, 199],
])("percentile of %j at %d is %s", (values, share, expected) => {
  expect(percentile(values, share)).toBe(expected);
});

it.each([
  [[], null],
  [[4], 4],
  [[4, 1], 2.5],
  [[9, 1, 2], 2],
])("median of %j is %s", (values, expected) => {
  expect(median(values)).toBe(expected);
});

it("takes medians of rounds, and percentiles over all of them", () => {
  const summary = summarize([whole(10, [1, 2]), whole(30, [3, 4]), whole(20, [5])]);
  expect(summary).toMatchObject({ fullSyncMs: 20, moveP50Ms: 3, moveP99Ms: 5, firstPacketAddedUs: 30 });
});

it("has no figure, and no ratio, for what was not reached", () => {
  const summary = summarize([broken]);
  expect(new Set(Object.values(summary))).toEqual(new Set([null]));
  expect(ratios(summarize([whole(10, [1])]), summary).fullSyncMs).toBeNull();
});

it("divides ours by theirs", () => {
  expect(ratios(summarize([whole(10, [1])]), summarize([whole(40, [1])])).fullSyncMs).toBe(0.25);
});

it("says what was given up, and which rounds do not count for much", () => {
  const compared = compare(
    10,
    "iptables",
    new Map([
      ["agent", [whole(10, [1])]],
      ["kube-proxy", [broken, whole(20, [1])]],
    ]),
  );
  expect(compared.ratios?.fullSyncMs).toBe(0.5);
  const text = printed(compared);
  expect(text).toContain("kube-proxy: gave up: full sync: not within 900 s");
  expect(text).toContain("kube-proxy: the machine had other work in 1 rounds");
  expect(text).not.toContain("agent: gave up");
});
