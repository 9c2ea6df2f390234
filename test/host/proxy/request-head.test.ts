// Which heads can be passed on: as a table, and on the wire where node:http has a word in it.
import { describe, expect, test } from "vitest";
import { ADMIN_LISTENER } from "../../../src/edge/http/forwarded.ts";
import { checkHead } from "../../../src/host/proxy/request-head.ts";
import { beforeBytes, beforeHandler, raw } from "./between.ts";

const host = ["Host", "shop.test"];
const check = (url: string, method = "GET", port: number | typeof ADMIN_LISTENER = 80, lines = host, version = "1.1") =>
  checkHead({ method, url, version }, lines, port);

describe("targets", () => {
  test.each([
    "/",
    "/a/b?c=d&e",
    "/a%20b/%C3%B6",
    "/it's;v=1,2/(x)*!$&+=:@~_-.",
    "/a..b/.well-known/...",
    "/a?/../b",
    "/a?b?c/d",
    "/%zz%",
    "/?",
  ])("%s stays on the request line", (url) => {
    expect(check(url)).toEqual({ path: url });
  });

  test.each([
    "/a/../b",
    "/a/./b",
    "/..",
    "/a/..?b",
    "/a/%2e%2e/b",
    "/a/%2E./b",
    "/a\\b",
    '/x?a={"k":1}',
    "/x?a='b'",
    "/<x>",
    "/`",
    "/a^b|c{d}",
    "/a#b",
    "//evil.test/x",
  ])("%s is told beside it", (url) => {
    expect(check(url)).toEqual({ path: "/", target: url });
    expect(check(url, "GET", ADMIN_LISTENER)).toMatchObject({ reason: "bad-request" });
  });

  test("an absolute one names the host", () => {
    expect(check("http://other.test:81/x?y")).toEqual({ path: "/x?y", host: "other.test:81" });
    expect(check("HTTP://other.test")).toEqual({ path: "/", host: "other.test" });
    expect(check("hTTps://other.test?y")).toEqual({ path: "/?y", host: "other.test" });
    expect(check("http://other.test/a/../b")).toEqual({ path: "/", target: "/a/../b", host: "other.test" });
    expect(check("http://other.test", "OPTIONS")).toEqual({ path: "/", target: "*", host: "other.test" });
    for (const url of ["http://", "http:///x", "http://a@b/", "ftp://a/x", "a", "a:80", "?x", "http://a:99999/"])
      expect(check(url)).toMatchObject({ reason: "bad-request" });
  });

  test("* is for OPTIONS", () => {
    expect(check("*", "OPTIONS")).toEqual({ path: "/", target: "*" });
    expect(check("*")).toMatchObject({ reason: "bad-request" });
  });

  test.each(["/gr\xf6\xdfe", "/a b", "/\x7f", ""])("%j is refused", (url) => {
    expect(check(url)).toMatchObject({ reason: "bad-request" });
  });
});

describe("Host", () => {
  test.each([
    "a",
    "Shop.Localhost:8888",
    "a_b-c.test:80",
    "127.0.0.1:1",
    "[::1]:80",
    "[2001:db8::1]",
    "a.test.",
    "a:",
    "xn--bcher-kva.test",
  ])("%s is one", (value) => {
    expect(check("/", "GET", 80, ["hOsT", value])).toEqual({ path: "/" });
  });

  test.each([
    ...[
      "",
      "a,b",
      "a b",
      '"a"',
      "a:+80",
      "a:84616",
      "a:80:80",
      "a:x",
      "a/b",
      "a?b",
      "a@b",
      "a#b",
      "[::1",
      "[fe80::1%25lo]",
    ],
    ...["[::zz]", "[1.2.3.4]", "a\\b", "a%41", "caf\xe9", "a.256", "1.2.3.4.5", "a..b".repeat(80), "a\tb", "a<b"],
  ])("%j is none", (value) => {
    expect(check("/", "GET", 80, ["Host", value])).toMatchObject({ reason: "bad-request" });
  });

  test("there is exactly one", () => {
    expect(check("/", "GET", 80, [])).toMatchObject({ reason: "bad-request" });
    expect(check("/", "GET", 80, ["Host", "a", "host", "a"])).toMatchObject({ reason: "bad-request" });
    expect(check("http://a/", "GET", 80, [])).toMatchObject({ reason: "bad-request" });
  });
});

test.each(["0.9", "2.0", "1.2", "3.0"])("HTTP/%s is not served", (version) => {
  expect(check("/", "GET", 80, host, version)).toEqual({ reason: "unsupported-version" });
});

test("the only transfer coding is chunked", () => {
  expect(check("/", "POST", 80, [...host, "Transfer-Encoding", "Chunked"])).toEqual({ path: "/" });
  for (const coding of ["gzip, chunked", "gzip", "identity"])
    expect(check("/", "POST", 80, [...host, "Transfer-Encoding", coding])).toMatchObject({
      reason: "unsupported-request",
    });
});

describe("on the wire", () => {
  test.each([
    ["400", "GET /gr\xc3\xb6\xc3\x9fe HTTP/1.1\r\nHost: h\r\n\r\n"],
    ["400", "GARBAGE\r\n\r\n"],
    ["400", "GET / HTTP/1.1\r\n\r\n"],
    ["400", "GET / HTTP/1.0\r\n\r\n"],
    ["400", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"],
    ["400", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"],
    ["400", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n"],
    ["400", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
    ["400", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    ["400", "\x16\x03\x01\x02\x00\x01\x00\x01"],
    ["400", "GET / HTTP/1.1\r\nHost: a b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
    ["501", "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n"],
    ["501", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    ["417", "POST / HTTP/1.1\r\nHost: h\r\nExpect: the-unexpected\r\nContent-Length: 1\r\n\r\nx"],
    ["505", "GET / HTTP/2.0\r\nHost: h\r\n\r\n"],
    ["505", "GET / HTTP/0.9\r\nHost: h\r\n\r\n"],
    ["505", "GET /\r\n\r\n"],
    ["505", "GET / HTTP/3.7\r\nHost: h\r\n\r\n"],
    ["505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"],
  ])("a %s of our own: %j", async (status, bytes) => {
    let asked = 0;
    const port = await beforeHandler((_, res) => void (asked++, res.end("fine")));
    const { text } = await raw(port, bytes);
    const [head = "", body = ""] = text.split("\r\n\r\n");
    expect(head.slice(0, 13)).toBe(`HTTP/1.1 ${status} `);
    expect(JSON.parse(body)).toMatchObject({
      status: Number(status),
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    expect(asked).toBe(0);
    expect((await raw(port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).text).toContain("fine");
  });

  test("a browser gets a page, HEAD no body", async () => {
    const port = await beforeHandler((_, res) => res.end());
    expect((await raw(port, "GET / HTTP/1.1\r\nHost: a b\r\nAccept: text/html\r\n\r\n")).text).toMatch(
      /content-type: text\/html[\s\S]*<!doctype html>/,
    );
    expect((await raw(port, "HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n")).text).toMatch(/^HTTP\/1.1 400 [\s\S]*\r\n\r\n$/);
  });

  test.each([
    ["OPTIONS * HTTP/1.1", "OPTIONS / HTTP/1.1", "h", "*"],
    ["GET HTTP://other.test:8888/x HTTP/1.1", "GET /x HTTP/1.1", "other.test:8888", undefined],
    ['GET /a/../b?c={"k":1} HTTP/1.1', "GET / HTTP/1.1", "h", '/a/../b?c={"k":1}'],
  ])("%s passes", async (line, expected, named, target) => {
    const [port, head] = await beforeBytes("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    await raw(port, `${line}\r\nHost: h\r\nConnection: close\r\n\r\n`);
    const [first, ...lines] = (await head).split("\r\n");
    expect(first).toBe(expected);
    expect(lines).toContain(`host: ${named}`);
    expect(lines.filter((one) => one.startsWith("x-postern-target"))).toEqual(
      target === undefined ? [] : [`x-postern-target: ${target}`],
    );
  });
});
