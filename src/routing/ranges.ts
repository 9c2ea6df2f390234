// loadBalancerSourceRanges, compiled once per table: which client addresses a Service accepts. Fails closed: what cannot be
// read is no range, and no address is in it.
import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = readonly [Address, number];

export interface SourceRanges {
  /** False for "", or anything that is not an address. */
  include(client: string): boolean;
}

/** undefined: everybody, because there is no range, or one of length 0, which covers the other family too. */
export function compileRanges(ranges: readonly string[]): SourceRanges | undefined {
  if (ranges.length === 0) return undefined;
  const parsed = ranges.flatMap((text) => parseRange(text) ?? []);
  if (parsed.some(({ prefix }) => prefix === 0)) return undefined;
  const v4 = parsed.flatMap(({ address, prefix }): Range[] => (address.kind() === "ipv4" ? [[address, prefix]] : []));
  const v6 = parsed.flatMap(({ address, prefix }): Range[] => (address.kind() === "ipv6" ? [[address, prefix]] : []));
  return {
    include: (client) => {
      if (!ipaddr.isValid(client)) return false;
      // "::ffff:10.0.0.1" is a client of the IPv4 Internet.
      const address = ipaddr.process(client);
      return (address.kind() === "ipv4" ? v4 : v6).some(([network, prefix]) => address.match(network, prefix));
    },
  };
}

/** A prefix within ::ffff:0:0/96 is the IPv4 range it maps; a shorter one covers more than that and stays IPv6. */
function parseRange(text: string): { address: Address; prefix: number } | undefined {
  if (!ipaddr.isValidCIDR(text)) return undefined;
  const [address, prefix] = ipaddr.parseCIDR(text);
  if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && prefix >= 96)
    return { address: address.toIPv4Address(), prefix: prefix - 96 };
  return { address, prefix };
}
