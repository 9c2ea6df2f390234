// What the listener proxy changes in a head, as a table: everything that is not listed here must stay as it was.
import { describe, expect, test } from "vitest";
import { decodeLines, encodeLines } from "../../../src/edge/http/forwarded.ts";
import { requestHeaders, responseHeaders } from "../../../src/host/proxy/headers.ts";

const facts = { secret: "s3cret", client: "127.0.0.1", port: 8888 };
const ours = (acceptEncoding = "-", port = "8888") => [
  "x-postern-forwarder",
  "s3cret",
  "x-postern-client",
  "127.0.0.1",
  "x-postern-port",
  port,
  "x-postern-accept-encoding",
  acceptEncoding,
];

describe("request", () => {
  test.each<[string, string[], string[]]>([
    [
      "keeps order, spelling and duplicates",
      ["X-B", "1", "x-a", "2", "X-B", "3"],
      ["X-B", "1", "x-a", "2", "X-B", "3"],
    ],
    [
      "joins Cookie lines as cookies are joined",
      ["Cookie", "a=1", "X-A", "1", "cookie", "b=2"],
      ["Cookie", "a=1; b=2", "X-A", "1"],
    ],
    ["keeps Host with its port", ["Host", "shop.localhost:8888"], ["Host", "shop.localhost:8888"]],
    ["drops what is meant for one hop", ["Connection", "keep-alive", "TE", "trailers", "Expect", "100-continue"], []],
    ["drops what Connection lists", ["Connection", "close, X-Trace", "x-trace", "1", "X-Other", "2"], ["X-Other", "2"]],
    ["keeps Host even if Connection lists it", ["Connection", "host", "Host", "a"], ["Host", "a"]],
    ["drops a client's claims about itself", ["X-Postern-Client", "9.9.9.9", "CF-Connecting-IP", "9.9.9.9"], []],
    ["drops what only Cloudflare may say", ["CF-Ray", "x", "cf-visitor", "{}", "CF-Anything", "1"], []],
    ["drops a client's bytes that claim to be raw", ["X-Postern-Raw", "[]", "x-postern-again", "1"], []],
    [
      "drops what a client says to be the listener proxy's secret",
      ["x-postern-forwarder", "guess", "X-POSTERN-Anything", "1"],
      [],
    ],
    ["drops what would steer wrangler", ["MF-Original-URL", "http://x", "X-Forwarded-Proto", "https"], []],
  ])("%s", (_, raw, kept) => {
    expect(requestHeaders(raw, facts)).toEqual([...kept, ...ours()]);
  });

  test("tells the Worker what the client really accepts", () => {
    const headers = requestHeaders(["Accept-Encoding", "br", "accept-encoding", "gzip;q=0.5", "A", "1"], facts);
    expect(headers).toEqual(["A", "1", ...ours("br, gzip;q=0.5")]);
  });

  test("tells the Worker what the request line and the proxy in front say", () => {
    const more = { ...facts, target: "/a/../b", host: "other.test", secure: true, trusted: true };
    expect(requestHeaders(["Host", "shop.test", "X-Forwarded-User", "u"], more)).toEqual([
      ...["Host", "other.test", "X-Forwarded-User", "u", ...ours()],
      ...["x-postern-target", "/a/../b", "x-postern-proto", "https", "x-postern-trusted", "1"],
    ]);
  });

  test("lists all lines of each name of which one is no ASCII", () => {
    const headers = requestHeaders(["X-A", "1", "X-B", "\xe9", "x-b", "plain", "X-C", "\xe5\xa4\xa9"], facts);
    const at = headers.indexOf("x-postern-raw");
    expect(headers.slice(0, at)).toEqual(["X-A", "1", "X-B", "\xe9", "x-b", "plain", "X-C", "\xe5\xa4\xa9"]);
    expect(decodeLines(headers[at + 1] ?? "")).toEqual(["x-b", "\xe9", "x-b", "plain", "x-c", "\xe5\xa4\xa9"]);
  });
});

test("response: hop-by-hop goes, all else stays", () => {
  const raw = ["Set-Cookie", "a=1", "Transfer-Encoding", "chunked", "Set-Cookie", "b=2", "Trailer", "x", "ETag", "e"];
  expect(responseHeaders(raw)).toEqual(["Set-Cookie", "a=1", "Set-Cookie", "b=2", "ETag", "e"]);
});

describe("response: the Worker's byte strings", () => {
  const listing = (...lines: string[]): string => encodeLines(lines);

  test("take the place of all lines of their names", () => {
    const raw = [
      "X-A",
      "1",
      "Set-Cookie",
      "?",
      "x-postern-raw",
      listing("set-cookie", "\xe9", "set-cookie", "b"),
      "set-cookie",
      "?",
    ];
    expect(responseHeaders(raw)).toEqual(["set-cookie", "\xe9", "set-cookie", "b", "X-A", "1"]);
  });

  test("that cannot be read are a fault", () => {
    for (const text of ["", btoa("{}"), btoa('["x"]'), btoa("[1,2]"), "\xe9"])
      expect(() => responseHeaders(["x-postern-raw", text])).toThrow();
  });

  test("Content-Length comes after Content-Disposition, which node:http would re-encode", () => {
    const raw = ["Content-Length", "3", "Content-Disposition", "\xe9", "X", "1"];
    expect(responseHeaders(raw)).toEqual(["Content-Disposition", "\xe9", "X", "1", "Content-Length", "3"]);
  });
});
