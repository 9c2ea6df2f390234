// A host and its port, written as URLs write them.
import { expect, test } from "vitest";
import { bracketed, hostPort, unbracketed } from "../../../src/shared/net/host-port.ts";

test.each([
  ["10.1.2.3", "10.1.2.3"],
  ["node-a", "node-a"],
  ["fd00::1", "[fd00::1]"],
  ["::ffff:10.1.2.3", "[::ffff:10.1.2.3]"],
])("%s stands in a URL as %s", (host, written) => {
  expect(bracketed(host)).toBe(written);
  expect(unbracketed(written)).toBe(host);
  expect(hostPort(host, 80)).toBe(`${written}:80`);
  expect(new URL(`http://${hostPort(host, "8080")}`).port).toBe("8080");
});
