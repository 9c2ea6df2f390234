// Where transport direct may dial. A cluster's snapshot names the addresses and NodePorts, and must not lead the edge to its own
// machine, loopback or metadata service. Checked twice: when a table is compiled, for a condition, and before each use, because a
// table may be older than the rule. Pure: what a DNS name resolves to is not seen here. Loopback behind a name is refused after
// the lookup, by workerd's network list on edges of one's own, and by the platform on Cloudflare.
import ipaddr from "ipaddr.js";
import { hostPort, unbracketed } from "../../shared/net/host-port.ts";
import { canonicalAddress, parseAddress } from "../../shared/net/ranges.ts";

export interface DialRules {
  /** True on `npm start`, where nodes are loopback addresses: anything that is an address or a name at all. */
  readonly any: boolean;
  /** False on Cloudflare, which lets a Worker dial names alone (its error 1003). */
  readonly addresses: boolean;
  /** Lower case, no port. */
  readonly adminName: string;
  /** First and last one. */
  readonly nodePorts: readonly [number, number];
}

/** Those settings of src/edge/env.ts that decide it. */
export interface DialSettings {
  readonly ADMIN_HOST: string;
  /** "standard": Cloudflare. */
  readonly LISTENER_PORTS: string;
  readonly DIRECT_ADDRESSES?: "any";
  readonly NODE_PORTS?: string;
}

/** Kubernetes' own default: --service-node-port-range. */
const NODE_PORTS = [30_000, 32_767] as const;

export function dialRules({
  ADMIN_HOST,
  LISTENER_PORTS,
  DIRECT_ADDRESSES,
  NODE_PORTS: ports,
}: DialSettings): DialRules {
  const range = /^(\d{1,5})-(\d{1,5})$/.exec(ports ?? "");
  return {
    any: DIRECT_ADDRESSES === "any",
    addresses: LISTENER_PORTS !== "standard",
    adminName: unbracketed(ADMIN_HOST.toLowerCase().replace(/:\d+$/, "")),
    nodePorts: range === null ? NODE_PORTS : [Number(range[1]), Number(range[2])],
  };
}

/** "http://10.0.0.1:30080"; undefined where either may not be dialled. */
export function originOf(address: string, nodePort: number, rules: DialRules): string | undefined {
  if (addressFault(address, rules) !== undefined || portFault(nodePort, rules) !== undefined) return undefined;
  return `http://${hostPort(address, nodePort)}`;
}

/** Why this NodePort is not dialled, after "nodePort 80"; undefined: it may be. */
export function portFault(nodePort: number, { any, nodePorts: [first, last] }: DialRules): string | undefined {
  if (any || (nodePort >= first && nodePort <= last)) return undefined;
  return `is outside of ${first}-${last} (the edge's setting NODE_PORTS)`;
}

/** Why a node's address is not dialled, after the address; undefined: it may be. */
export function addressFault(text: string, { any, addresses, adminName }: DialRules): string | undefined {
  const address = text.includes("%") ? undefined : parseAddress(text);
  if (address === undefined && !isDnsName(text)) return "is neither an IP address nor a DNS name";
  if (any) return undefined;
  if (text.toLowerCase() === adminName || (address !== undefined && address.toString() === canonicalAddress(adminName)))
    return "is the edge's own admin host";
  if (address === undefined) return /(^|\.)localhost$/i.test(text) ? "is a name of the edge's own machine" : undefined;
  if (text.includes(":") && address.kind() === "ipv4") return "is an IPv4 address written as IPv6";
  const kind = address.range();
  if (address instanceof ipaddr.IPv6 ? !isNodeIPv6(address) : !nodeIPv4.has(kind))
    return `is a ${kind} address, which no node has for others`;
  return addresses ? undefined : "is an IP address, and Cloudflare lets a Worker dial DNS names only";
}

/** "reserved" are the addresses for documentation and those that nobody routes. */
const nodeIPv4: ReadonlySet<string> = new Set(["unicast", "private", "carrierGradeNat", "reserved"]);

/** Global unicast that has no IPv4 address inside, or unique local. */
function isNodeIPv6(address: ipaddr.IPv6): boolean {
  const kind: string = address.range();
  if (kind === "uniqueLocal") return true;
  const [first = 0] = address.parts;
  return first >> 13 === 1 && kind !== "6to4" && kind !== "teredo";
}

/** No dot at the end. URL parsers read a name as IPv4 if its last label is a number: 2130706433, 0x7f.1 */
function isDnsName(text: string): boolean {
  const labels = text.split(".");
  return (
    text.length <= 253 &&
    labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$/i.test(label)) &&
    !/^(\d+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? "")
  );
}
