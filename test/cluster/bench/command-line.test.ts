import { expect, it } from "vitest";
import { parseOptions } from "./command-line.ts";
import { parseStat } from "./processes.ts";

it("has all sizes and both programs by default", () => {
  expect(parseOptions([])).toMatchObject({
    sizes: [1, 1_000, 10_000, 30_000],
    modes: ["nftables", "iptables"],
    programs: ["agent", "kube-proxy"],
    json: false,
  });
});

it.each([
  [["--sizes", "1,many"], "--sizes must be a number"],
  [["--sizes", "0"], "--sizes must be at least 1"],
  [["--modes", "ipvs"], "--modes must be of nftables, iptables"],
  [["--programs", "cilium"], "--programs must be of agent, kube-proxy"],
  [["--rounds", "1.5"], "--rounds must be whole"],
])("refuses %j with a word on what is right", (args, message) => {
  expect(() => parseOptions(args)).toThrow(message);
});

it("reads a process whose name has blanks and parentheses", () => {
  const stat = "77 (a (b) c) S 1 77 77 0 -1 0 10 20 30 40 150 50 25 75 20 0 9 0 1234 5000000 256 0 0";
  expect(parseStat(stat)).toEqual({ pid: 77, parent: 1, cpuS: 3, residentBytes: 1024 * 1024 });
  expect(parseStat("")).toBeUndefined();
});
