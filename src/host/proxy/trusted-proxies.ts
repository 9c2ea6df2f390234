// Which addresses are proxies of this edge's owner, whose word on client and scheme is believed: those of --trusted-proxy. Pure.
import ipaddr from "ipaddr.js";
import { asRange, parseAddress, parseRange } from "../../shared/net/ranges.ts";

/** "10.0.0.2", "10.0.0.0/24" or "fd00::/64"; undefined where it is none of these, or everybody ("0.0.0.0/0"). */
export function parseNetwork(text: string): ReturnType<typeof parseRange> {
  const range = text.includes("%") ? undefined : parseRange(asRange(text));
  if (range === undefined) return undefined;
  const [network, prefix] = range;
  // A mapped prefix that is shorter than IPv4 itself would trust IPv6 addresses that nobody meant.
  if (prefix === 0 || (network instanceof ipaddr.IPv6 && network.isIPv4MappedAddress())) return undefined;
  return range;
}

/** Answers for the address of a connection's other end; false for what is no address. */
export function trustedProxies(networks: readonly string[]): (address: string) => boolean {
  const parsed = networks.flatMap((text) => {
    const network = parseNetwork(text);
    return network === undefined ? [] : [network];
  });
  return (text) => {
    const address = parsed.length === 0 ? undefined : parseAddress(text);
    if (address === undefined) return false;
    return parsed.some(([network, prefix]) => network.kind() === address.kind() && address.match(network, prefix));
  };
}
