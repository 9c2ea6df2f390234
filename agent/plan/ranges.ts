// Source ranges: which clients may reach a Service. Pure. Ranges are parsed once per plan; a check allocates little.
// Kubernetes' rules: no ranges, or one of prefix length 0, means everybody, IPv6 included; otherwise a client is allowed
// only by a range of its own family. An IPv4 client written as IPv6 (::ffff:192.0.2.1) counts as IPv4.
import ipaddr from "ipaddr.js";

type Range = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

/** Undefined where `text` is not a CIDR such as 192.0.2.0/24 or 2001:db8::/32. */
export function parseRange(text: string): Range | undefined {
  const trimmed = text.trim();
  // isValidCIDR also takes "10/8" for IPv4; Kubernetes wants all four numbers.
  if (!ipaddr.isValidCIDR(trimmed) || (!trimmed.includes(":") && trimmed.split(".").length !== 4)) return undefined;
  return ipaddr.parseCIDR(trimmed);
}

/** Ranges that do not parse are ignored: the plan has already said so in a condition. */
export function compileRanges(texts: readonly string[]): (client: string) => boolean {
  const ranges = texts.map(parseRange).filter((range) => range !== undefined);
  if (texts.length === 0 || ranges.some(([, bits]) => bits === 0)) return () => true;
  return (client) => {
    if (!ipaddr.isValid(client)) return false;
    const address = ipaddr.process(client);
    return ranges.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits));
  };
}
