import { expect, test } from "vitest";
import { parseOptions } from "../../src/demo/options.ts";
import { warningOf } from "../../src/demo/processes.ts";

test.each([
  [[], { json: false }],
  [["--json"], { json: true }],
  [["--port", "9000"], { json: false, port: 9000 }],
  [["--manifests", "/my/cluster"], { json: false, manifests: "/my/cluster" }],
  [["-h"], "help"],
  [["--port", "0"], { wrong: "--port must be a number from 1 to 65535, not 0" }],
  [["--port", "http"], { wrong: "--port must be a number from 1 to 65535, not http" }],
  [["--jsn"], { wrong: expect.stringContaining("--jsn") }],
])("%j", (args, expected) => {
  expect(parseOptions(args)).toEqual(expected);
});

test.each([
  ['{"level":40,"msg":"web.yaml:3: bad"}', "web.yaml:3: bad"],
  ['{"level":30,"msg":"connected"}', undefined],
  ['{"level":50}', undefined],
  ["{not json", undefined],
  ["plain words", undefined],
])("of an agent's lines only warnings are shown: %s", (line, expected) => {
  expect(warningOf(line)).toBe(expected);
});
