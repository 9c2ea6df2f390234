// Where plain http may carry a token.
import { expect, it } from "vitest";
import { isNearby } from "../../../src/shared/net/nearby.ts";

it.each([
  ["localhost", true],
  ["admin.localhost", true],
  ["127.0.0.1", true],
  ["169.254.169.254", true],
  ["10.90.0.1", true],
  ["[fd00::1]", true],
  ["[::ffff:192.168.1.1]", true],
  ["203.0.113.7", false],
  ["[2001:db8::1]", false],
  ["postern.example.com", false],
  ["localhost.example.com", false],
  ["10.example.com", false],
  // What ipaddr.js reads as 10.0.0.1, and URL.hostname never has.
  ["10.1", false],
  ["", false],
])("%s: %s", (host, nearby) => {
  expect(isNearby(host)).toBe(nearby);
});
