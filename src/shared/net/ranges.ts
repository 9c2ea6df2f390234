// loadBalancerSourceRanges: which client addresses a Service accepts. One rule for the edge and the node, which look at the
// same client one after the other. Compiled once per table or plan; a check allocates little. Fails closed: what cannot be
// read is no range, and no address is in it. Pure.
import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = readonly [Address, number];

export interface SourceRanges {
  /** False for "", or anything that is not an address. */
  readonly include: (client: string) => boolean;
}

/**
 * Undefined where `text` is not an address as everybody writes it. Stricter than ipaddr.js, which reads 10.1, 0x7f000001 and
 * 010.0.0.1 as well, and as something else than the system's own connect() may. "::ffff:10.0.0.1" is IPv4.
 */
export function parseAddress(text: string): Address | undefined {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text) ? ipaddr.process(text) : undefined;
}

/** No leading zero: so each address has one such text. */
const FOUR_PARTS = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/**
 * The one text for an address, as the kernel writes it: 2001:db8::1 for 2001:DB8:0::1. Undefined where parseAddress() has none.
 * An IPv4 address is its own text, and is not parsed: a plan has a hundred thousand of them.
 */
export function canonicalAddress(text: string): string | undefined {
  return FOUR_PARTS.test(text) ? text : parseAddress(text)?.toString();
}

/** Of an address, or of a range of them. */
export const familyOf = (text: string): "IPv4" | "IPv6" => (text.includes(":") ? "IPv6" : "IPv4");

/** Those addresses or ranges that are of this family. */
export const ofFamily = (texts: readonly string[], family: "IPv4" | "IPv6"): string[] =>
  texts.filter((text) => familyOf(text) === family);

/** Which addresses count as one source for a limit: one IPv4 address, or an IPv6 /64, which one customer has as a whole. */
export function sourceOf(address: string): string {
  const parsed = parseAddress(address);
  if (parsed === undefined) return address.slice(0, 64);
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString();
  const [a, b, c, d] = parsed.parts.map((part) => part.toString(16));
  return `${a}:${b}:${c}:${d}::/64`;
}

/** A single address as the range of itself: 192.0.2.1 is 192.0.2.1/32. Anything else as it is. */
export function asRange(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : `${address.toString()}/${address.kind() === "ipv4" ? 32 : 128}`;
}

/**
 * Undefined where `text` is not a CIDR such as 192.0.2.0/24 or 2001:db8::/32. One within ::ffff:0:0/96 is the IPv4 range that
 * it maps; a shorter one covers more than that and stays IPv6.
 */
export function parseRange(text: string): Range | undefined {
  const [address = "", bits = "", more] = text.trim().split("/");
  if (more !== undefined || parseAddress(address) === undefined || !/^\d{1,3}$/.test(bits)) return undefined;
  const network = ipaddr.parse(address);
  const prefix = Number(bits);
  if (prefix > (network.kind() === "ipv4" ? 32 : 128)) return undefined;
  if (network instanceof ipaddr.IPv6 && network.isIPv4MappedAddress() && prefix >= 96)
    return [network.toIPv4Address(), prefix - 96];
  return [network, prefix];
}

/**
 * The same addresses as canonical CIDRs of which none lies within another: "10.1.2.3/8" is 10.0.0.0/8. Sorted by prefix length.
 * What cannot be read is left out.
 */
export function disjointRanges(texts: readonly string[]): string[] {
  const kept: Range[] = [];
  const ranges = texts.map(parseRange).filter((range) => range !== undefined);
  for (const [network, prefix] of ranges.toSorted(([, a], [, b]) => a - b)) {
    const inside = kept.some(([outer, bits]) => outer.kind() === network.kind() && network.match(outer, bits));
    if (!inside) kept.push([network, prefix]);
  }
  return kept.map(([network, prefix]) => {
    const cidr = `${network.toString()}/${prefix}`;
    const first = network.kind() === "ipv4" ? ipaddr.IPv4 : ipaddr.IPv6;
    return `${first.networkAddressFromCIDR(cidr).toString()}/${prefix}`;
  });
}

/** Those of `addresses` that lie within one of `cidrs` of their own family; what is no CIDR holds none. */
export function within(cidrs: readonly string[], addresses: readonly string[]): readonly string[] {
  const ranges = cidrs.map(parseRange).filter((range) => range !== undefined);
  return addresses.filter((text) => {
    const address = parseAddress(text);
    return (
      address !== undefined &&
      ranges.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits))
    );
  });
}

/**
 * Each family is held to its own ranges; a /0 among them lets all of it in. A family without any is open where the other has
 * a /0 (people write 0.0.0.0/0 and mean everybody), else refused: `10.0.0.0/8` keeps all of IPv6 out.
 * Undefined: every client may pass, also one whose address is unknown.
 */
export function compileRanges(texts: readonly string[]): SourceRanges | undefined {
  if (texts.length === 0) return undefined;
  const ranges = texts.map(parseRange).filter((range) => range !== undefined);
  const v4 = ranges.filter(([network]) => network.kind() === "ipv4");
  const v6 = ranges.filter(([network]) => network.kind() === "ipv6");
  const v4Open = isOpen(v4, v6);
  const v6Open = isOpen(v6, v4);
  if (v4Open && v6Open) return undefined;
  return {
    include: (client) => {
      const address = parseAddress(client);
      if (address === undefined) return false;
      const [open, own] = address.kind() === "ipv4" ? [v4Open, v4] : [v6Open, v6];
      return open || own.some(([network, prefix]) => address.match(network, prefix));
    },
  };
}

const isOpen = (own: readonly Range[], other: readonly Range[]): boolean =>
  (own.length > 0 ? own : other).some(([, prefix]) => prefix === 0);
