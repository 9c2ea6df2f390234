// Source ranges: which clients may reach a Service. Pure. Ranges are parsed once per plan; a check allocates little.
// Kubernetes' rules: no ranges, or one of prefix length 0, means everybody, IPv6 included; otherwise a client is allowed
// only by a range of its own family. An IPv4 client written as IPv6 (::ffff:192.0.2.1) counts as IPv4.
import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = readonly [Address, number];

/**
 * Undefined where `text` is not an address as everybody writes it. Stricter than ipaddr.js, which reads 10.1, 0x7f000001 and
 * 010.0.0.1 as well, and as something else than the system's own connect() may.
 */
export function parseAddress(text: string): Address | undefined {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text) ? ipaddr.process(text) : undefined;
}

/** Undefined where `text` is not a CIDR such as 192.0.2.0/24 or 2001:db8::/32. */
export function parseRange(text: string): Range | undefined {
  const [address = "", bits = "", more] = text.trim().split("/");
  if (more !== undefined || parseAddress(address) === undefined || !/^\d{1,3}$/.test(bits)) return undefined;
  const network = ipaddr.parse(address);
  return Number(bits) <= (network.kind() === "ipv4" ? 32 : 128) ? [network, Number(bits)] : undefined;
}

/** Ranges that do not parse are ignored: the plan has already said so in a condition. */
export function compileRanges(texts: readonly string[]): (client: string) => boolean {
  const ranges = texts.map(parseRange).filter((range) => range !== undefined);
  if (texts.length === 0 || ranges.some(([, bits]) => bits === 0)) return () => true;
  return (client) => {
    const address = parseAddress(client);
    return (
      address !== undefined &&
      ranges.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits))
    );
  };
}
