// Differences are what the command exists for, so each kind of them is shown to be seen.
import { expect, test } from "vitest";
import { suites, type Spec } from "./expectations.ts";
import { judge, parseResults, type Result, table } from "./results.ts";

const specs: Spec[] = [
  { name: "serves", expected: "passed" },
  { name: "wants an IP", expected: "skipped", why: "host names" },
];
const result = (name: string, state: string, message = ""): Result => ({ name, state, seconds: 1, message });
const skipped = result("wants an IP", "skipped", "no IP");

test.each<[string, Result[], string[], string]>([
  ["as expected", [result("serves", "passed"), skipped], [], "1 passed, 1 skipped, 0 failed"],
  [
    "failed",
    [result("serves", "failed", "no answer"), skipped],
    ["failed, expected passed: serves\n  no answer"],
    "0 passed, 1 skipped, 1 failed",
  ],
  [
    "broke off",
    [result("serves", "interrupted"), skipped],
    ["interrupted, expected passed: serves"],
    "0 passed, 1 skipped, 1 failed",
  ],
  [
    "passes what should skip itself",
    [result("serves", "passed"), result("wants an IP", "passed")],
    ["passed, expected skipped: wants an IP"],
    "2 passed, 0 skipped, 0 failed",
  ],
  ["did not run", [skipped], ["did not run: serves"], "0 passed, 1 skipped, 0 failed"],
  [
    "unknown",
    [result("serves", "passed"), skipped, result("is new", "passed")],
    ["not in expectations.ts: is new"],
    "2 passed, 1 skipped, 0 failed",
  ],
])("%s", (_name, results, differences, summary) => {
  expect(judge(specs, results)).toEqual({ differences, summary });
});

test("runs stand beside each other, a line for each spec that any of them had", () => {
  const columns = {
    "kube-proxy": [result("serves", "passed"), skipped],
    nftables: [skipped, result("serves", "failed"), result("is new", "passed")],
  };
  expect(table(columns)).toEqual([
    "kube-proxy  nftables    spec",
    "-           passed      is new",
    "passed      failed      serves",
    "skipped     skipped     wants an IP",
    "1 passed    1 passed    of 3",
  ]);
});

test("a line that was cut short counts as not written", () => {
  const line = JSON.stringify(result("serves", "passed"));
  expect(parseResults(`${line}\n${line.slice(0, 20)}`)).toEqual([result("serves", "passed")]);
});

test.each(Object.entries(suites))(
  "%s: names are unlike, found by the focus, and have a reason where not passed",
  (_name, suite) => {
    expect(new Set(suite.specs.map(({ name }) => name)).size).toBe(suite.specs.length);
    for (const { name, expected, why } of suite.specs) {
      expect(name).toMatch(new RegExp(suite.focus));
      expect(why !== undefined, name).toBe(expected !== "passed");
    }
  },
);
