// Source ranges, as Kubernetes means them; and against a naive oracle.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileRanges, parseRange } from "../../../agent/plan/ranges.ts";

describe("ranges", () => {
  it.each<[string, string[], string, boolean]>([
    ["no ranges", [], "192.0.2.1", true],
    ["no ranges, unknown client", [], "", true],
    ["inside", ["192.0.2.0/24"], "192.0.2.1", true],
    ["outside", ["192.0.2.0/24"], "192.0.3.1", false],
    ["any of several", ["10.0.0.0/8", "192.0.2.0/24"], "192.0.2.1", true],
    ["IPv6 inside", ["2001:db8::/32"], "2001:db8::1", true],
    ["an IPv4 list refuses IPv6", ["192.0.2.0/24"], "2001:db8::1", false],
    ["an IPv6 list refuses IPv4", ["2001:db8::/32"], "192.0.2.1", false],
    ["IPv4 written as IPv6", ["192.0.2.0/24"], "::ffff:192.0.2.1", true],
    ["/0 is everybody, IPv6 included", ["0.0.0.0/0"], "2001:db8::1", true],
    ["::/0 is everybody, IPv4 included", ["::/0"], "192.0.2.1", true],
    ["host bits set", ["192.0.2.77/24"], "192.0.2.1", true],
    ["unknown client", ["192.0.2.0/24"], "", false],
    ["no address", ["192.0.2.0/24"], "192.0.2", false],
    ["only ranges that do not parse: nobody", ["x"], "192.0.2.1", false],
    ["::/128 is nobody", ["::/128"], "192.0.2.1", false],
  ])("%s", (_what, ranges, client, expected) => {
    expect(compileRanges(ranges)(client)).toBe(expected);
  });

  it.each(["192.0.2.1", "10/8", "10.0.0.0/33", "2001:db8::/129", "a/8", ""])("%j is no range", (text) => {
    expect(parseRange(text)).toBeUndefined();
  });

  it("agrees with arithmetic", () => {
    const address = fc.integer({ min: 0, max: 0xffffffff });
    const dotted = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
    fc.assert(
      fc.property(address, fc.integer({ min: 1, max: 32 }), address, fc.boolean(), (network, bits, random, near) => {
        const client = near ? (network ^ (random >>> 20)) >>> 0 : random;
        const expected = Math.floor(network / 2 ** (32 - bits)) === Math.floor(client / 2 ** (32 - bits));
        expect(compileRanges([`${dotted(network)}/${bits}`])(dotted(client))).toBe(expected);
      }),
    );
  });
});
