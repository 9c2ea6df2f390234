// What the forwarder changes in a head, as a table: everything that is not listed here must stay as it was.
import { describe, expect, test } from "vitest";
import { requestHeaders, responseHeaders } from "../../src/local/headers.ts";

const facts = { secret: "s3cret", client: "127.0.0.1", port: 8888, opened: 8888 };
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
    ["keeps Host with its port", ["Host", "shop.localhost:8888"], ["Host", "shop.localhost:8888"]],
    ["drops what is meant for one hop", ["Connection", "keep-alive", "TE", "trailers", "Expect", "100-continue"], []],
    ["drops what Connection lists", ["Connection", "close, X-Trace", "x-trace", "1", "X-Other", "2"], ["X-Other", "2"]],
    ["keeps Host even if Connection lists it", ["Connection", "host", "Host", "a"], ["Host", "a"]],
    ["drops a client's claims about itself", ["X-Postern-Client", "9.9.9.9", "CF-Connecting-IP", "9.9.9.9"], []],
    ["drops a client's forwarder secret", ["x-postern-forwarder", "guess", "X-POSTERN-Anything", "1"], []],
    ["drops what would steer wrangler", ["MF-Original-URL", "http://x", "X-Forwarded-Proto", "https"], []],
  ])("%s", (_, raw, kept) => {
    expect(requestHeaders(raw, facts)).toEqual([...kept, ...ours()]);
  });

  test("tells the Worker what the client really accepts", () => {
    const headers = requestHeaders(["Accept-Encoding", "br", "accept-encoding", "gzip;q=0.5", "A", "1"], facts);
    expect(headers).toEqual(["A", "1", ...ours("br, gzip;q=0.5")]);
  });

  test.each([
    [80, 8080, "shop.localhost:8080", "shop.localhost"],
    [81, 8081, "shop.localhost:8081", "shop.localhost:81"],
    [80, 8080, "shop.localhost", "shop.localhost"],
    [80, 8080, "shop.localhost:9090", "shop.localhost:9090"],
  ])("port %i opened at %i: %s is %s at the edge", (port, opened, sent, expected) => {
    expect(requestHeaders(["Host", sent], { ...facts, port, opened })).toEqual([
      "Host",
      expected,
      ...ours("-", String(port)),
    ]);
  });
});

test("response: hop-by-hop goes, all else stays", () => {
  const raw = ["Set-Cookie", "a=1", "Transfer-Encoding", "chunked", "Set-Cookie", "b=2", "Trailer", "x", "ETag", "e"];
  expect(responseHeaders(raw)).toEqual(["Set-Cookie", "a=1", "Set-Cookie", "b=2", "ETag", "e"]);
});
