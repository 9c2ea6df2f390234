// The header rules over workerd's own Headers: names come sorted and in lower case, and what is illegal throws there, too.
import { expect, test } from "vitest";
import { directRequestHeaders, type Refused, requestHeaders, responseHeaders } from "../../../src/edge/http/headers.ts";

/** What passed; a refusal fails the test. */
function passed<T extends object>(result: T | Refused): T {
  if ("reason" in result) throw new Error(`${result.reason}: ${result.detail}`);
  return result;
}
const facts = { client: "2001:db8::7", proto: "https", host: "web.test", port: 443 } as const;

test("a request: what Connection lists goes, though it comes before it", () => {
  const headers = new Headers([
    ["Zed", "1"],
    ["A-Hop", "1"],
    ["Connection", "keep-alive, A-Hop"],
    ["Host", "web.test"],
    ["Cookie", "a=1"],
  ]);
  const expected = ["cookie", "a=1", "host", "web.test", "zed", "1"];
  expect(passed(requestHeaders(headers, facts)).slice(0, expected.length)).toEqual(expected);
  expect(passed(directRequestHeaders(headers, facts)).get("forwarded")).toBe(
    'for="[2001:db8::7]";host=web.test;proto=https',
  );
});

test("an answer: several Set-Cookie stay several", () => {
  const headers = passed(responseHeaders(["Set-Cookie", "a=1", "SET-COOKIE", "b=2", "Connection", "close"], false));
  expect(headers.getSetCookie()).toEqual(["a=1", "b=2"]);
});

test.each([["bad name"], ["a:b"], [""]])("an answer with the header name %j is broken, not an exception", (name) => {
  expect(responseHeaders([name, "1"], false)).toMatchObject({ reason: "bad-gateway-answer" });
});

test.each([["x\r\nset-cookie: evil=1"], ["nul\0"]])(
  "an answer with the value %j is broken, not an exception",
  (value) => {
    expect(responseHeaders(["a", value], false)).toMatchObject({ reason: "bad-gateway-answer" });
  },
);
