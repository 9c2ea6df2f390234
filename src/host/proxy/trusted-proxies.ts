// Which addresses are proxies of this edge's owner, whose word on client and scheme is believed: those of --trusted-proxy. Pure.
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

type Network = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** "10.0.0.2", "10.0.0.0/24" or "fd00::/64"; undefined where it is none of these, or everybody ("0.0.0.0/0"). */
export function parseNetwork(text: string): Network | undefined {
  const [, address = "", length] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  // ipaddr.js alone reads "10/8" as 0.0.0.10/8.
  if (isIP(address) === 0) return undefined;
  const parsed = ipaddr.parse(address);
  const bits = parsed.kind() === "ipv4" ? 32 : 128;
  const prefix = Number(length ?? bits);
  if (prefix === 0 || prefix > bits) return undefined;
  if (!(parsed instanceof ipaddr.IPv6) || !parsed.isIPv4MappedAddress()) return [parsed, prefix];
  // A mapped prefix names IPv4 clients, who arrive as such.
  return prefix > 96 ? [parsed.toIPv4Address(), prefix - 96] : undefined;
}

/** Answers for the address of a connection's other end; false for what is no address. */
export function trustedProxies(networks: readonly string[]): (address: string) => boolean {
  const parsed = networks.flatMap((text) => {
    const network = parseNetwork(text);
    return network === undefined ? [] : [network];
  });
  return (text) => {
    if (parsed.length === 0 || !ipaddr.isValid(text)) return false;
    const address = ipaddr.process(text);
    return parsed.some(([network, prefix]) => network.kind() === address.kind() && address.match(network, prefix));
  };
}
