// Lists of ports as an owner writes them.
import { expect, test } from "vitest";
import { formatPortRanges, inRanges, parsePortRanges, without } from "../../../src/edge/routing/port-ranges.ts";

test.each([
  ["80", "80"],
  ["80,443,8000-8999", "80,443,8000-8999"],
  [" 80 , 9000 - 9001 ", "80,9000-9001"],
  ["1-65535", "1-65535"],
])("%j is read", (text, plain) => {
  expect(formatPortRanges(parsePortRanges(text) ?? [])).toBe(plain);
});

test.each([
  "",
  "0",
  "65536",
  "80,",
  "90-80",
  "80-",
  "-80",
  "http",
  "80;81",
  "1e3",
  "0x50",
  "80-90-100",
  "80,".repeat(1_000) + "80",
])("%j is not", (text) => {
  expect(parsePortRanges(text)).toBeUndefined();
});

test.each([
  ["80-90", 85, "80-84,86-90"],
  ["80-90", 80, "81-90"],
  ["80-90", 90, "80-89"],
  ["80,81", 80, "81"],
  ["80", 443, "80"],
  ["80", 80, ""],
])("%s without %i is %j", (text, port, left) => {
  const ranges = without(parsePortRanges(text) ?? [], port);
  expect(formatPortRanges(ranges)).toBe(left);
  expect(inRanges(ranges, port)).toBe(false);
});
