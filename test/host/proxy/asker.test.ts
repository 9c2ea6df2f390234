// Who is believed about the client, as a table; on the wire once.
import { describe, expect, test, vi } from "vitest";
import { askerOf } from "../../../src/host/proxy/asker.ts";
import { limitedSource } from "../../../src/host/proxy/connections.ts";
import { faultLog, wordsFor } from "../../../src/host/proxy/faults.ts";
import { beforeBytes, cleanup, raw } from "./between.ts";

const trusts = (address: string): boolean => address.startsWith("10.") || address === "fd00::1";
const xff = (...values: string[]): string[] => values.flatMap((value) => ["X-Forwarded-For", value]);

describe("behind a trusted proxy", () => {
  test.each<[string, string[], string, boolean]>([
    ["that says nothing", [], "10.0.0.1", false],
    ["the client is whom it names", xff("203.0.113.9"), "203.0.113.9", false],
    ["what the client claimed before is not believed", xff("1.2.3.4, 203.0.113.9"), "203.0.113.9", false],
    ["over several lines", xff("1.2.3.4", "203.0.113.9"), "203.0.113.9", false],
    ["behind another trusted one", xff("1.2.3.4, 203.0.113.9, 10.0.0.2"), "203.0.113.9", false],
    ["where all are trusted, the farthest", xff("10.0.0.3, 10.0.0.2"), "10.0.0.3", false],
    ["what is no address ends the list", xff("203.0.113.9, unknown, 10.0.0.2"), "10.0.0.2", false],
    ["with ports", xff("203.0.113.9:4711"), "203.0.113.9", false],
    ["with IPv6 and a port", xff("[2001:db8::1]:4711"), "2001:db8::1", false],
    ["with IPv6", xff("2001:db8::1"), "2001:db8::1", false],
    ["mapped", xff("::ffff:203.0.113.9"), "203.0.113.9", false],
    ["by RFC 7239", ["Forwarded", 'for=1.2.3.4, For="[2001:db8::1]:80";Proto=HTTPS'], "2001:db8::1", true],
    ["X-Forwarded-For goes first", [...xff("203.0.113.9"), "Forwarded", "for=1.2.3.4"], "203.0.113.9", false],
    ["https", ["x-forwarded-proto", "https"], "10.0.0.1", true],
    ["https, said by the nearest", ["x-forwarded-proto", "https, http"], "10.0.0.1", false],
  ])("%s", (_, lines, client, secure) => {
    expect(askerOf("::ffff:10.0.0.1", lines, trusts)).toEqual({ client, secure, trusted: true });
  });
});

test("of anybody else nothing is believed", () => {
  const lines = [...xff("1.2.3.4"), "x-forwarded-proto", "https", "Forwarded", "for=1.2.3.4;proto=https"];
  const nobody = { client: "203.0.113.9", secure: false, trusted: false };
  expect(askerOf("203.0.113.9", lines, trusts)).toEqual(nobody);
  expect(askerOf("203.0.113.9", lines)).toEqual(nobody);
  expect(askerOf(undefined, lines, trusts)).toEqual({ ...nobody, client: "" });
});

test("the Worker is told", async () => {
  const [port, head] = await beforeBytes("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "keep", {
    trustedProxies: (address) => address === "127.0.0.1",
  });
  await raw(
    port,
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n" +
      "X-Forwarded-User: ada\r\n\r\n",
  );
  const lines = (await head).split("\r\n");
  for (const line of [
    "x-postern-client: 203.0.113.9",
    "x-postern-proto: https",
    "x-postern-trusted: 1",
    "X-Forwarded-User: ada",
  ])
    expect(lines).toContain(line);
  expect(await head).not.toContain("X-Forwarded-Proto");
});

test.each([
  ["127.0.0.1", undefined],
  ["::1", undefined],
  ["::ffff:127.0.0.1", undefined],
  ["10.0.0.1", undefined],
  ["203.0.113.9", "203.0.113.9"],
  ["::ffff:203.0.113.9", "203.0.113.9"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
  ["", undefined],
])("%j shares the limit of %j", (address, source) => {
  expect(limitedSource(address, trusts)).toBe(source);
});

test("faults: one line a second, and how many were left out", () => {
  vi.useFakeTimers();
  cleanup.push(() => vi.useRealTimers());
  const lines: string[] = [];
  const fault = faultLog((line) => lines.push(line));
  for (let i = 0; i < 5; i++) fault(`fault ${i}`);
  expect(lines).toEqual(["listener proxy: fault 0"]);
  vi.advanceTimersByTime(1_000);
  expect(lines).toEqual(["listener proxy: fault 0", expect.stringContaining("4 more")]);
  fault("too soon");
  expect(lines).toHaveLength(2);
  vi.advanceTimersByTime(5_000);
  fault("later");
  expect(lines.at(-1)).toBe("listener proxy: later");
});

test("an error in words has its code and its cause", () => {
  const cause = Object.assign(new Error("read"), { code: "ECONNRESET" });
  expect(wordsFor(new Error("it broke", { cause }))).toBe("it broke: read (ECONNRESET)");
  expect(wordsFor("text")).toBe("text");
});
