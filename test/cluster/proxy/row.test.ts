// The judge is judged: what it takes for right, wrong and not yet known.
import { expect, test } from "vitest";
import { casesOf, expectedOf, judge, type Row } from "./row.ts";

const seen = (counts: Record<string, number>): Map<string, number> => new Map(Object.entries(counts));

test.each<[expected: string, counts: Record<string, number>, verdict: string]>([
  ["a1", {}, "more"],
  ["a1", { a1: 11 }, "more"],
  ["a1", { a1: 12 }, "right"],
  ["a1", { a1: 11, b1: 1 }, "wrong"],
  ["a1", { "a1*": 1 }, "wrong"],
  ["a1 b1", { a1: 6, b1: 5 }, "more"],
  ["a1 b1", { a1: 11, b1: 1 }, "right"],
  // One of them never comes.
  ["a1 b1", { a1: 119 }, "more"],
  ["a1 b1", { a1: 120 }, "wrong"],
  ["one of a1 b1", { b1: 12 }, "right"],
  ["one of a1 b1", { b1: 1, a1: 1 }, "wrong"],
  ["one of a1 b1", { c1: 1 }, "wrong"],
  ["drop", { drop: 1 }, "right"],
  ["drop", { reject: 1 }, "wrong"],
  ["reject", { reject: 1 }, "more"],
  ["reject", { reject: 2 }, "right"],
  ["reject", { drop: 1 }, "wrong"],
])("%s, seen %j: %s", (expected, counts, verdict) => {
  expect(judge(expectedOf(expected, "nftables", true), seen(counts), "nftables")).toBe(verdict);
});

test("mode ipvs, which deals by turns, needs fewer tries, and still all words", () => {
  expect(judge(expectedOf("a1 b1", "ipvs", true), seen({ a1: 2, b1: 1 }), "ipvs")).toBe("more");
  expect(judge(expectedOf("a1 b1", "ipvs", true), seen({ a1: 2, b1: 2 }), "ipvs")).toBe("right");
  expect(judge(expectedOf("a1 b1", "ipvs", true), seen({ a1: 4 }), "ipvs")).toBe("more");
});

const row: Row = { service: "web", from: "a2", to: "ClusterIP", expect: { otherwise: "drop", iptables: "gateway" } };

test("a row is played in both families and protocols, in one protocol where the host answers", () => {
  const played = (mode: "nftables" | "iptables") =>
    casesOf(row, mode, true).map(({ family, protocol }) => `${family} ${protocol}`);
  expect(played("nftables")).toEqual(["IPv4 TCP", "IPv4 UDP", "IPv6 TCP", "IPv6 UDP"]);
  expect(played("iptables")).toEqual(["IPv4 TCP", "IPv6 TCP"]);
  const ofHost = casesOf({ ...row, expect: "a*" }, "ipvs", true);
  expect(ofHost.map(({ protocol }) => protocol)).toEqual(["TCP", "TCP"]);
});

test("a fault of kube-proxy's is expected of kube-proxy alone", () => {
  const faulty = { ...row, expect: "reject, but kube-proxy: gateway" };
  expect(casesOf(faulty, "nftables", true)[0]?.expected.text).toBe("gateway");
  expect(casesOf(faulty, "nftables", false)[0]?.expected.text).toBe("reject");
});
