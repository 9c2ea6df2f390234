// Where NodePorts are served.
import { expect, it } from "vitest";
import { nodePortAddresses } from "../../../../agent/dataplane/kernel/node-port-addresses.ts";
import type { ProxyMode } from "../../../../agent/dataplane/kernel/settings.ts";

const node = ["192.168.1.10", "192.168.1.11", "fd00::10"];
const local = ["127.0.0.1", "::1", "192.168.1.10", "192.168.1.11", "10.5.0.1", "fd00::10", "fe80::1"];

it.each<[ProxyMode, readonly string[], "all" | readonly string[]]>([
  ["nftables", [], ["192.168.1.10", "fd00::10"]],
  ["iptables", [], "all"],
  ["ipvs", [], "all"],
  ["nftables", ["all"], "all"],
  ["iptables", ["primary"], ["192.168.1.10", "fd00::10"]],
  ["nftables", ["localhost"], ["127.0.0.1", "::1"]],
  ["nftables", ["primary", "10.0.0.0/8", "fd00::/8"], ["192.168.1.10", "fd00::10", "10.5.0.1"]],
  ["nftables", ["0.0.0.0/0"], ["127.0.0.1", "192.168.1.10", "192.168.1.11", "10.5.0.1"]],
  ["nftables", ["192.0.2.0/24"], []],
])("%s, %j: %j", (mode, wanted, found) => {
  expect(nodePortAddresses({ mode, nodePortAddresses: wanted }, node, local)).toEqual(found);
});
