// Whose X-Forwarded-* an edge of one's own believes.
import { expect, test } from "vitest";
import { parseNetwork, trustedProxies } from "../../../src/host/proxy/trusted-proxies.ts";

test.each<[string[], string, boolean]>([
  [["127.0.0.1"], "127.0.0.1", true],
  [["127.0.0.1"], "::ffff:127.0.0.1", true],
  [["127.0.0.1"], "127.0.0.2", false],
  [["10.0.0.0/24"], "10.0.0.200", true],
  [["10.0.0.0/24"], "10.0.1.0", false],
  [["10.0.0.7/24"], "10.0.0.200", true],
  [["::ffff:10.0.0.0/120"], "10.0.0.200", true],
  [["fd00::/64"], "fd00::1", true],
  [["fd00::/64"], "fd00:0:0:1::1", false],
  [["fd00::/64"], "10.0.0.1", false],
  [["::1"], "127.0.0.1", false],
  [["10.0.0.1", "fd00::/64"], "fd00::9", true],
  [[], "127.0.0.1", false],
  [["127.0.0.1"], "", false],
  [["127.0.0.1"], "unknown", false],
])("of %j, %s: %s", (networks, address, trusted) => {
  expect(trustedProxies(networks)(address)).toBe(trusted);
});

test.each([
  "",
  "proxy.lan",
  "10/8",
  "10.0.0.0/33",
  "10.0.0.0/",
  "10.0.0.0/0",
  "::/0",
  "::ffff:0.0.0.0/96",
  "10.0.0.0/8/8",
  "fe80::1%eth0",
  "010.0.0.1",
])("%j names nobody", (text) => {
  expect(parseNetwork(text)).toBeUndefined();
});
