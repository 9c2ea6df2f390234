// The last lines of .ci/run: they name whatever failed, at whichever try, and count what counts.
import { expect, test } from "vitest";
import { type Report, totals } from "../../.ci/totals.ts";

const report: Report = {
  ...{ numPassedTests: 2, numFailedTests: 1, numFailedTestSuites: 1, success: false },
  testResults: [
    {
      name: "a.test.ts",
      status: "failed",
      assertionResults: [
        { fullName: "adds", status: "passed" },
        { fullName: "waits", status: "passed", failureMessages: ["too early\n at /x/node_modules/vitest/y.js"] },
        { fullName: "subtracts", status: "failed", failureMessages: ["4 is not 3"] },
      ],
    },
  ],
};
const passing = { numPassedTests: 1, numFailedTests: 0, numFailedTestSuites: 0, success: true, testResults: [] };
const wrong = `
changes: agent in mode iptables, 108 checks in 40.0 s
WRONG  the program starts anew: requests: all answered
         seen: drop ×1
         because: rules stay

1466 passed, 1 failed
test:proxy: 85.0 s in all
`;
const right = "\n1467 passed, 0 failed\ntest:proxy: 85.0 s in all\n";
const brokenOff = "test:proxy: the world is there after 12.0 s\nError: not within 180 s: marker-201 is forwarded\n";

test("what failed is said, and what passed at another try", () => {
  expect(totals([report], [])).toEqual([
    "PASSED AT ANOTHER TRY a.test.ts: waits",
    "too early",
    "FAILED a.test.ts: subtracts",
    "4 is not 3",
    "2 passed, 1 failed",
  ]);
});

test("a file that does not load is a failure", () => {
  const lost = { ...{ numPassedTests: 0, numFailedTests: 0, numFailedTestSuites: 1, success: false } };
  const testResults = [{ name: "b.test.ts", status: "failed", message: "no such module", assertionResults: [] }];
  expect(totals([{ ...lost, testResults }], [])).toEqual(["FAILED b.test.ts\nno such module", "0 passed, 1 failed"]);
});

test("rows that were wrong only at the first try of the packet table are said, and do not count", () => {
  const tries = [
    { mode: "iptables", try: 1, text: wrong },
    { mode: "iptables", try: 2, text: right },
    { mode: "nftables", try: 1, text: right },
  ];
  expect(totals([report], tries).slice(-2)).toEqual([
    "AT THE FIRST TRY: packet table: iptables: WRONG  the program starts anew: requests: all answered\n" +
      "         seen: drop ×1\n         because: rules stay",
    "2936 passed, 1 failed",
  ]);
});

test("rows that were wrong at the last try count", () => {
  const tries = [
    { mode: "iptables", try: 1, text: brokenOff },
    { mode: "iptables", try: 2, text: wrong },
  ];
  const lines = totals([passing], tries);
  expect(lines[0]).toContain("AT THE FIRST TRY: packet table: iptables: broke off: test:proxy: the world is there");
  expect(lines[1]).toMatch(/^packet table: iptables: WRONG/);
  expect(lines.at(-1)).toBe("1467 passed, 1 failed");
});

test("a table that broke off is a failure, with its last words", () => {
  const lines = totals([passing], [{ mode: "iptables", try: 1, text: brokenOff }]);
  expect(lines[0]).toContain("not within 180 s: marker-201 is forwarded");
  expect(lines.at(-1)).toBe("1 passed, 1 failed");
});

test("tests without a report are a failure", () => {
  expect(totals([], []).at(-1)).toBe("0 passed, 1 failed");
});
