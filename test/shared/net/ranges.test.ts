// Source ranges: the one table of cases for edge and node, and a naive oracle: addresses as strings of bits, a range as a
// prefix of them.
import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import {
  canonicalAddress,
  compileRanges,
  disjointRanges,
  parseAddress,
  parseRange,
} from "../../../src/shared/net/ranges.ts";

const allowed = (ranges: string[], client: string): boolean => compileRanges(ranges)?.include(client) ?? true;

describe("source ranges", () => {
  test.each<[string[], string, boolean]>([
    // No range: everybody, even who has no address.
    [[], "192.0.2.1", true],
    [[], "", true],
    [["192.0.2.0/24"], "192.0.2.255", true],
    [["192.0.2.0/24"], "192.0.3.0", false],
    [["192.0.2.7/24"], "192.0.2.1", true],
    [["192.0.2.1/32"], "192.0.2.1", true],
    [["192.0.2.1/32"], "192.0.2.2", false],
    [["10.0.0.0/8", "192.0.2.0/24"], "192.0.2.9", true],
    // The family that is not listed is refused.
    [["10.0.0.0/8"], "2001:db8::1", false],
    [["2001:db8::/32"], "192.0.2.1", false],
    [["2001:db8::/32"], "2001:db8:ffff::1", true],
    [["2001:db8::/32"], "2001:db9::1", false],
    [["192.0.2.1/32"], "::1", false],
    [["::/128"], "192.0.2.1", false],
    // A list of nothing but a /0 is everybody.
    [["0.0.0.0/0"], "2001:db8::1", true],
    [["::/0"], "192.0.2.1", true],
    [["0.0.0.0/0", "::/0"], "", true],
    [["::ffff:0:0/96"], "2001:db8::1", true],
    [["10.0.0.0/8", "0.0.0.0/0"], "", true],
    // A /0 of one family says nothing of the other's own ranges.
    [["10.0.0.0/8", "::/0"], "192.0.2.1", false],
    [["10.0.0.0/8", "::/0"], "10.1.2.3", true],
    [["10.0.0.0/8", "::/0"], "2001:db8::1", true],
    [["10.0.0.0/8", "::/0"], "::ffff:192.0.2.1", false],
    [["10.0.0.0/8", "::/0"], "", false],
    [["0.0.0.0/0", "2001:db8::/32"], "2001:db9::1", false],
    [["0.0.0.0/0", "2001:db8::/32"], "::1", false],
    [["0.0.0.0/0", "2001:db8::/32"], "2001:db8::1", true],
    [["0.0.0.0/0", "2001:db8::/32"], "192.0.2.1", true],
    [["10.0.0.0/8", "2001:db8::/32"], "192.0.2.1", false],
    [["10.0.0.0/8", "192.0.0.0/0", "2001:db8::/32"], "198.51.100.1", true],
    // IPv4 in IPv6's clothes, on either side.
    [["192.0.2.0/24"], "::ffff:192.0.2.5", true],
    [["192.0.2.0/24"], "::ffff:c000:205", true],
    [["::ffff:192.0.2.0/120"], "192.0.2.5", true],
    [["::ffff:192.0.2.0/120"], "192.0.3.5", false],
    [["::ffff:192.0.2.0/120"], "::ffff:192.0.2.5", true],
    [["::ffff:192.0.2.0/120", "::/0"], "192.0.3.5", false],
    [["::ffff:0:0/90"], "192.0.2.5", false],
    [["2001:db8::/32"], "::ffff:192.0.2.5", false],
    // Fails closed.
    [["10.0.0.0/8"], "", false],
    [["10.0.0.0/8"], "unknown", false],
    [["10.0.0.0/8"], "10.0.0.1:1234", false],
    [["10.0.0.0/8"], "10.0.0.1, 6.6.6.6", false],
    [["nonsense"], "192.0.2.1", false],
    [["192.0.2.0/33"], "192.0.2.1", false],
    [["192.0.2.0"], "192.0.2.0", false],
    [["10/8"], "10.0.0.1", false],
    [["010.0.0.0/8"], "8.0.0.1", false],
    [["0x0a000000/8"], "10.0.0.1", false],
    [["10.0.0.0/8"], "0x0a000001", false],
    [["10.0.0.0/8"], "10.1", false],
    [["10.0.0.0/8/8"], "10.0.0.1", false],
    [[""], "", false],
  ])("%j, client %s: %s", (ranges, client, expected) => {
    expect(allowed(ranges, client)).toBe(expected);
  });

  test.each(["192.0.2.1", "10/8", "10.0.0.0/33", "2001:db8::/129", "a/8", ""])("%j is no range", (text) => {
    expect(parseRange(text)).toBeUndefined();
  });

  const v4 = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 });
  const v6 = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 });
  const text4 = (parts: readonly number[]): string => parts.join(".");
  const text6 = (parts: readonly number[]): string => parts.map((part) => part.toString(16)).join(":");
  const bits = (parts: readonly number[], width: number): string =>
    parts.map((part) => part.toString(2).padStart(width, "0")).join("");

  test.each([
    { family: "IPv4", parts: v4, text: text4, width: 8, length: 32 },
    { family: "IPv6", parts: v6, text: text6, width: 16, length: 128 },
  ])("$family agrees with a naive oracle", ({ parts, text, width, length }) => {
    const near = fc.tuple(parts, fc.nat(length - 1)).chain(([address, flip]) =>
      // A client that differs in one bit, or not at all, so that both answers are common.
      fc.record({
        network: fc.constant(address),
        flip: fc.constantFrom(-1, flip),
        prefix: fc.integer({ min: 1, max: length }),
      }),
    );
    fc.assert(
      fc.property(near, ({ network, flip, prefix }) => {
        const client = network.map((part, i) =>
          Math.floor(flip / width) === i && flip >= 0 ? part ^ (1 << (width - 1 - (flip % width))) : part,
        );
        // The mapped block is IPv4's, whatever a range says of it.
        fc.pre(client.slice(0, 6).join() !== "0,0,0,0,0,65535");
        const expected = bits(client, width).slice(0, prefix) === bits(network, width).slice(0, prefix);
        expect(allowed([`${text(network)}/${prefix}`], text(client))).toBe(expected);
      }),
    );
  });
});

test.each<[string[], string[]]>([
  [
    ["10.1.2.3/8", "10.1.0.0/16", "192.0.2.1/32"],
    ["10.0.0.0/8", "192.0.2.1/32"],
  ],
  [["10.0.0.0/8", "10.0.0.0/8", "nonsense", "10.0.0.0"], ["10.0.0.0/8"]],
  [
    ["2001:db8:0::5/32", "2001:db8:1::/48", "fd00::/8"],
    ["fd00::/8", "2001:db8::/32"],
  ],
  [
    ["0.0.0.0/0", "10.0.0.0/8", "::/0"],
    ["0.0.0.0/0", "::/0"],
  ],
])("%j as ranges of which none lies within another", (given, expected) => {
  expect(disjointRanges(given)).toEqual(expected);
});

describe("the one text for an address", () => {
  const decimal = fc.array(fc.oneof(fc.nat(300).map(String), fc.constantFrom("", "00", "010", "1e1")), {
    minLength: 3,
    maxLength: 5,
  });
  it("is what parsing it gives, whatever the text", () => {
    const texts = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.string(),
      decimal.map((parts) => parts.join(".")),
    );
    fc.assert(
      fc.property(texts, (address) => {
        expect(canonicalAddress(address)).toBe(parseAddress(address)?.toString());
      }),
      { numRuns: 2_000 },
    );
  });
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:DB8:0::1", "2001:db8::1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["192.0.2.1.", undefined],
    ["192.0.2.01", undefined],
    ["192.0.2", undefined],
    ["192.0.2.256", undefined],
    ["192.0.2.1\n", undefined],
  ])("%j: %s", (address, text) => expect(canonicalAddress(address)).toBe(text));
});
