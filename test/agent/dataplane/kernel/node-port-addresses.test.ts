// Where NodePorts are served.
import { expect, it } from "vitest";
import { type NodePortAddresses, nodePortAddresses } from "../../../../agent/dataplane/kernel/node-port-addresses.ts";
import type { Family } from "../../../../agent/plan/endpoints.ts";
import type { ProxyMode } from "../../../../agent/dataplane/kernel/settings.ts";

const node = ["192.168.1.10", "192.168.1.11", "fd00::10"];
const local = ["127.0.0.1", "::1", "192.168.1.10", "192.168.1.11", "10.5.0.1", "fd00::10", "fe80::1"];

it.each<[ProxyMode, readonly string[], IPv4: NodePortAddresses, IPv6: NodePortAddresses]>([
  ["nftables", [], ["192.168.1.10"], ["fd00::10"]],
  ["iptables", [], "all", "all"],
  ["ipvs", [], "all", "all"],
  ["nftables", ["all"], "all", "all"],
  ["iptables", ["primary"], ["192.168.1.10"], ["fd00::10"]],
  ["nftables", ["localhost"], ["127.0.0.1"], ["::1"]],
  ["nftables", ["primary", "10.0.0.0/8", "fd00::/8"], ["192.168.1.10", "10.5.0.1"], ["fd00::10"]],
  ["nftables", ["0.0.0.0/0", "primary"], "all", ["fd00::10"]],
  ["iptables", ["192.168.1.10/32", "::/0"], ["192.168.1.10"], "all"],
  ["nftables", ["192.0.2.0/24"], [], "all"],
  ["iptables", ["fe80::/10"], "all", ["fe80::1"]],
])("%s, %j: %j and %j", (mode, wanted, IPv4, IPv6) => {
  const of = (family: Family) => nodePortAddresses(family, { mode, nodePortAddresses: wanted }, node, local);
  expect({ IPv4: of("IPv4"), IPv6: of("IPv6") }).toEqual({ IPv4, IPv6 });
});
