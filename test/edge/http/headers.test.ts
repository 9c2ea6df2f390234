// Header rules as tables, and a naive oracle for whatever the tables forget. headers.worker.test.ts has what only workerd shows.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeLines, encodeLines } from "../../../src/edge/http/forwarded.ts";
import {
  directRequestHeaders,
  directResponseHeaders,
  type Refused,
  type RequestFacts,
  requestHeaders,
  responseHeaders,
} from "../../../src/edge/http/headers.ts";

const facts: RequestFacts = { client: "192.0.2.7", proto: "http", host: "web.test:8888", port: 8888 };
const pairs = (flat: readonly string[]): [string, string][] =>
  flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? ""] as [string, string]] : []));
/** What passed; a refusal fails the test. */
function passed<T extends object>(result: T | Refused): T {
  if ("reason" in result) throw new Error(`${result.reason}: ${result.detail}`);
  return result;
}
const sent = (headers: [string, string][] | Record<string, string>, more: Partial<RequestFacts> = {}) =>
  new Map(pairs(passed(requestHeaders(new Headers(headers), { ...facts, ...more }))));

describe("requestHeaders", () => {
  test.each([
    // end-to-end: as they came
    ["host", "web.test:8888", true],
    ["content-length", "5", true],
    ["content-type", "text/plain", true],
    ["accept-encoding", "zstd", true],
    ["authorization", "Bearer x", true],
    ["cookie", "a=b; c=d", true],
    ["range", "bytes=0-1", true],
    ["upgrade-insecure-requests", "1", true],
    ["sec-websocket-protocol", "chat", true],
    ["x-forwarded", "odd but not one of ours", true],
    ["cf", "odd but not one of ours", true],
    ["x-request-id", "1", true],
    ["idempotency-key", "1", true],
    // hop-by-hop
    ["connection", "keep-alive", false],
    ["keep-alive", "timeout=5", false],
    ["te", "trailers", false],
    ["trailer", "x-sum", false],
    ["transfer-encoding", "chunked", false],
    ["upgrade", "websocket", false],
    ["proxy-connection", "keep-alive", false],
    ["proxy-authorization", "Basic x", false],
    ["http2-settings", "AAMAAABkAAQ", false],
    ["expect", "100-continue", false],
    ["sec-websocket-key", "x", false],
    ["sec-websocket-version", "13", false],
    ["sec-websocket-extensions", "permessage-deflate", false],
    // what only the edge may say
    ["x-real-ip", "6.6.6.6", false],
    ["x-forwarded-proto", "gopher", false],
    ["x-forwarded-server", "evil", false],
    ["cf-connecting-ip", "6.6.6.6", false],
    ["cf-ray", "1", false],
    ["cdn-loop", "cloudflare", false],
    ["true-client-ip", "6.6.6.6", false],
    ["x-postern-client", "6.6.6.6", false],
    ["x-postern-dial", "{}", false],
  ])("%s: %s passes: %s", (name, value, passes) => {
    expect(sent({ [name]: value }).get(name) === value).toBe(passes);
  });

  test.each([
    ["close, x-secret", ["x-secret"]],
    ["X-Secret , close", ["x-secret"]],
    ["keep-alive,x-secret,x-other", ["x-secret", "x-other"]],
    // What carries the message itself is not the client's to take away.
    ["host, content-length, content-type, content-encoding", []],
    [", ,", []],
    ["keep-alive", []],
  ])("Connection: %s takes away %j", (connection, gone) => {
    const headers = {
      "a-first": "1",
      "x-secret": "1",
      "x-other": "1",
      zed: "1",
      host: "h",
      "content-length": "1",
      "content-type": "t",
      "content-encoding": "br",
    };
    const result = sent({ ...headers, connection });
    expect(Object.keys(headers).filter((name) => !result.has(name))).toEqual(gone);
  });

  test("Connection cannot take away what the edge says", () => {
    const result = sent({ connection: "x-forwarded-for, forwarded, x-forwarded-host" });
    expect(result.get("x-forwarded-for")).toBe("192.0.2.7");
    expect(result.get("forwarded")).toContain("for=192.0.2.7");
  });

  test.each<[Partial<RequestFacts>, Record<string, string | undefined>]>([
    [
      {},
      {
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "web.test:8888",
        "x-forwarded-port": "8888",
        forwarded: 'for=192.0.2.7;host="web.test:8888";proto=http',
      },
    ],
    [
      { proto: "https", host: "web.test", port: 443 },
      { "x-forwarded-port": "443", forwarded: "for=192.0.2.7;host=web.test;proto=https" },
    ],
    [
      { client: "2001:db8::7", host: "web.test" },
      { "x-forwarded-for": "2001:db8::7", forwarded: 'for="[2001:db8::7]";host=web.test;proto=http' },
    ],
    [
      { client: "", host: "web.test" },
      { "x-forwarded-for": undefined, forwarded: "for=unknown;host=web.test;proto=http" },
    ],
    [{ acceptEncoding: undefined }, { "accept-encoding": "br, gzip" }],
    [{ acceptEncoding: "deflate" }, { "accept-encoding": "deflate" }],
    [{ acceptEncoding: "" }, { "accept-encoding": undefined }],
  ])("with %j it says %j", (more, expected) => {
    const forged = { "accept-encoding": "br, gzip", forwarded: "for=6.6.6.6", "x-forwarded-for": "6.6.6.6" };
    const result = sent(forged, more);
    for (const [name, value] of Object.entries(expected)) expect(result.get(name)).toBe(value);
  });

  test("agrees with a naive oracle on any headers", () => {
    const name = fc.oneof(
      fc.constantFrom(
        "te",
        "tea",
        "trailer",
        "expect",
        "expected",
        "cf-ray",
        "cfray",
        "x-forwarded-x",
        "x-real-ip",
        "x-posterns",
        "x-postern-a",
        "upgrade",
        "accept",
        "foo",
        "bar",
        "keep-alive",
        "keep",
        "forwarded",
        "sec-websocket-protocol",
        "sec-websocket-key",
      ),
      fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/),
    );
    const value = fc.stringMatching(/^[!-~]([ -~]{0,10}[!-~])?$/);
    const hopByHop =
      /^(connection|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-connection|proxy-authorization|http2-settings|expect|forwarded|x-forwarded-.*|x-real-ip|true-client-ip|cf-.*|cdn-loop|x-postern-.*|sec-websocket-(key|version|extensions))$/;
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value)), fc.array(name), (list, connection) => {
        const headers = new Headers(list);
        if (connection.length > 0) headers.set("connection", connection.join(" , "));
        const kept = ["host", "content-length", "content-encoding", "content-type"];
        const expected = [...headers].filter(
          ([each]) => !hopByHop.test(each) && (kept.includes(each) || !connection.includes(each)),
        );
        const result = pairs(passed(requestHeaders(headers, facts)));
        expect(result.slice(0, expected.length)).toEqual(expected);
        expect(result.slice(expected.length).map(([each]) => each)).toEqual([
          "cdn-loop",
          "x-forwarded-proto",
          "x-forwarded-host",
          "x-forwarded-port",
          "x-forwarded-for",
          "forwarded",
        ]);
      }),
    );
  });
});

test("directRequestHeaders: the same, without Host, which fetch writes", () => {
  const headers = new Headers({
    host: "web.test:8888",
    accept: "*/*",
    connection: "x-a",
    "x-a": "1",
    "x-forwarded-host": "evil",
  });
  expect(Object.fromEntries(passed(directRequestHeaders(headers, facts)))).toEqual({
    accept: "*/*",
    "cdn-loop": expect.stringMatching(/^postern-[0-9a-f]+$/),
    forwarded: 'for=192.0.2.7;host="web.test:8888";proto=http',
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-host": "web.test:8888",
    "x-forwarded-port": "8888",
    "x-forwarded-proto": "http",
  });
});

describe("responseHeaders", () => {
  test.each([
    ["Content-Type", true],
    ["content-length", true],
    ["Content-Encoding", true],
    ["ETag", true],
    ["Sec-WebSocket-Protocol", true],
    ["Sec-WebSocket-Version", true],
    ["X-P", true],
    ["x-powered-by", true],
    ["Connection", false],
    ["KEEP-ALIVE", false],
    ["Trailer", false],
    ["Transfer-Encoding", false],
    ["upgrade", false],
    ["Proxy-Authenticate", false],
    ["Proxy-Connection", false],
    ["Sec-WebSocket-Accept", false],
    ["Sec-WebSocket-Extensions", false],
    // A backend must not speak for the edge's own parts.
    ["x-postern-unsent", false],
    ["X-Postern-Generation", false],
  ])("%s passes: %s", (name, passes) => {
    expect(passed(responseHeaders([name, "7", "a", "b"], false)).has(name)).toBe(passes);
  });

  test("several Set-Cookie stay several", () => {
    const headers = passed(responseHeaders(["Set-Cookie", "a=1; Expires=Mon, 1 Jan", "set-cookie", "b=2"], false));
    expect(headers.getSetCookie()).toEqual(["a=1; Expires=Mon, 1 Jan", "b=2"]);
  });

  test("what Connection lists goes, wherever it stands", () => {
    const lines = ["X-Hop", "1", "connection", "x-hop", "Connection", "close, X-Late", "x-late", "1", "x", "1"];
    expect(Object.fromEntries(passed(responseHeaders(lines, false)))).toEqual({ x: "1" });
  });

  test.each([
    { flat: ["bad name", "1"] },
    { flat: ["", "1"] },
    { flat: ["a", "x\r\nset-cookie: evil=1"] },
    { flat: ["a", "nul\0"] },
    { flat: ["a", "snow\u2603"] },
    { flat: ["ok", "1", "a:b", "1"] },
  ])("$flat is a broken answer, not an exception", ({ flat }) => {
    for (const proxied of [false, true])
      expect(responseHeaders(flat, proxied)).toMatchObject({ reason: "bad-gateway-answer" });
  });

  test("never throws, whatever a backend lists in Connection", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (list) => void responseHeaders(["connection", list.join(",")], false)),
    );
  });

  test("directResponseHeaders: the same rules over a Headers", () => {
    const headers = new Headers([
      ["connection", "x-a"],
      ["x-a", "1"],
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
      ["x-postern-unsent", "1"],
    ]);
    const result = directResponseHeaders(headers);
    expect(result.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect([...result.keys()]).toEqual(["set-cookie", "set-cookie"]);
  });
});

const latin1 = "caf\xe9";
const utf8 = "\xe5\xa4\xa9";

describe("bytes that are no ASCII, in requests", () => {
  const raw = (...lines: string[]): string => encodeLines(lines);
  test.each<[string, [string, string][], Partial<RequestFacts>, string[] | Refused["reason"]]>([
    ["UTF-8, as the platform decodes it", [["x-a", "\u5929"]], {}, [utf8]],
    ["letters below U+0100", [["x-a", "B\u00fc"]], {}, ["B\xc3\xbc"]],
    ["no UTF-8, of which nothing is left", [["x-a", "caf\ufffd"]], {}, "bad-request"],
    ["no UTF-8, which the proxy kept", [["x-a", "caf\ufffd"]], { raw: raw("x-a", latin1) }, [latin1]],
    ["UTF-8, which the proxy kept", [["x-a", "\u5929"]], { raw: raw("x-a", utf8) }, [utf8]],
    ["a real U+FFFD, which the proxy kept", [["x-a", "\ufffd"]], { raw: raw("x-a", "\xef\xbf\xbd") }, ["\xef\xbf\xbd"]],
    [
      "several lines of one name",
      [["x-a", "1, caf\ufffd"]],
      { raw: raw("x-a", "1", "x-b", "x", "x-a", latin1) },
      ["1", latin1],
    ],
    [
      "what the proxy kept of an ASCII value is not asked for",
      [["x-a", "plain"]],
      { raw: raw("x-a", latin1) },
      ["plain"],
    ],
  ])("%s", (_name, lines, more, expected) => {
    // Node's Headers refuse what workerd's take: text.
    const headers = {
      get: (name: string) => new Map(lines).get(name) ?? null,
      forEach: (each: (value: string, name: string) => void) => lines.forEach(([name, value]) => each(value, name)),
    } as unknown as Headers;
    const result = requestHeaders(headers, { ...facts, ...more });
    if ("reason" in result) {
      expect(result).toEqual({ reason: expected, detail: expect.stringContaining("x-a") });
      return;
    }
    expect(pairs(result).flatMap(([name, value]) => (name === "x-a" ? [value] : []))).toEqual(expected);
  });
});

describe("bytes that are no ASCII, in answers", () => {
  test("UTF-8 passes as text where no proxy stands in front; other bytes cannot", () => {
    expect(responseHeaders(["x-a", latin1], false)).toEqual({
      reason: "bad-gateway-answer",
      detail: "The server's answer has a header x-a whose value cannot be passed on.",
    });
    expect(passed(responseHeaders(["x-a", "B\xc3\xbc"], false)).get("x-a")).toBe("B\u00fc");
  });

  test("a proxy gets every line of such a name, as it came, beside a form that any HTTP takes", () => {
    const lines = ["Set-Cookie", "a=1", "X-A", latin1, "set-cookie", `b=${utf8}`, "x-c", "plain", "x-a", "2"];
    const headers = passed(responseHeaders(lines, true));
    expect(decodeLines(headers.get("x-postern-raw") ?? "")).toEqual([
      "set-cookie",
      "a=1",
      "x-a",
      latin1,
      "set-cookie",
      `b=${utf8}`,
      "x-a",
      "2",
    ]);
    expect([headers.get("x-a"), headers.get("x-c"), headers.getSetCookie()]).toEqual([
      "caf?, 2",
      "plain",
      ["a=1", "b=???"],
    ]);
  });

  test("what is hop-by-hop, or ours, is not in it; and ASCII alone needs none", () => {
    const hop = passed(responseHeaders(["connection", "x-a", "x-a", latin1, "x-postern-raw", utf8, "x-b", "1"], true));
    expect([...hop]).toEqual([
      ["x-b", "1"],
      ["x-postern-raw", encodeLines([])],
    ]);
    expect(passed(responseHeaders(["x-b", "1"], true)).has("x-postern-raw")).toBe(false);
  });

  test("any byte strings come back from it", () => {
    const value = fc.string({
      unit: fc
        .integer({ min: 0x20, max: 0xff })
        .filter((c) => c !== 0x7f)
        .map((c) => String.fromCharCode(c)),
    });
    fc.assert(
      fc.property(
        fc.array(
          value.map((text) => `x${text}x`),
          { minLength: 1 },
        ),
        (values) => {
          const headers = passed(
            responseHeaders(
              values.flatMap((each) => ["x-a", each]),
              true,
            ),
          );
          const raw = headers.get("x-postern-raw");
          const came = raw === null ? values : decodeLines(raw).filter((_, i) => i % 2 === 1);
          expect(came).toEqual(values);
        },
      ),
    );
  });
});

describe("loops", () => {
  const mark = sent({}).get("cdn-loop") ?? "";
  const refused = (before: string, more: Partial<RequestFacts> = {}) =>
    "reason" in requestHeaders(new Headers({ "cdn-loop": before }), { ...facts, ...more });

  test("the mark of this listener goes on, after those before", () => {
    expect(mark).toMatch(/^postern-[0-9a-f]+$/);
    expect(sent({ "cdn-loop": "cloudflare; loops=1" }).get("cdn-loop")).toBe(`cloudflare; loops=1, ${mark}`);
  });
  test.each<[string, string, Partial<RequestFacts>, boolean]>([
    ["it has been here", mark, {}, true],
    ["it has been here, and elsewhere before and after", `cloudflare, ${mark},postern-1`, {}, true],
    ["at another host of this edge", mark, { host: "other.test" }, false],
    ["at another port", mark, { port: 81 }, false],
    ["at another edge that serves the same name", mark, { edge: "another" }, false],
    ["at edges of this kind, many times", Array(15).fill("postern-1").join(", "), {}, false],
    ["too many times", Array(16).fill("postern-1").join(", "), {}, true],
    ["a mark that only begins as ours", `${mark}0`, {}, false],
  ])("%s: refused as it should be", (_name, before, more, expected) => {
    expect(refused(before, more)).toBe(expected);
  });
  test("as a loop, which is 508", () => {
    expect(requestHeaders(new Headers({ "cdn-loop": mark }), facts)).toMatchObject({ reason: "loop" });
    expect(directRequestHeaders(new Headers({ "cdn-loop": mark }), facts)).toMatchObject({ reason: "loop" });
  });
});

describe("names that a backend may take for ours", () => {
  test.each([
    "X_Forwarded_For",
    "X-Forwarded_For",
    "x_forwarded-proto",
    "X_Real_IP",
    "x.real.ip",
    "X_Forwarded_User",
    "Proxy",
    "Proxy_Authorization",
    "Transfer_Encoding",
    "Content_Length",
    "X_Postern_Client",
    "CF_Connecting_IP",
    "true_client_ip",
  ])("%s ends here, from a trusted proxy, too", (name) => {
    for (const trusted of [false, true])
      expect(sent({ [name]: "6.6.6.6" }, { trusted }).has(name.toLowerCase())).toBe(false);
  });
  test.each(["x_request_id", "my_header", "x_forwarded", "proxy-x", "x-real-ip-2", "content_type"])(
    "%s passes",
    (name) => {
      expect(sent({ [name]: "1" }).get(name)).toBe("1");
    },
  );
  test("what a trusted proxy says beside the client's address passes, and nothing else", () => {
    const said = {
      "x-forwarded-user": "ada",
      "x-forwarded-for": "6.6.6.6",
      "x-forwarded-proto": "https",
      "x-real-ip": "6.6.6.6",
    };
    const result = sent(said, { trusted: true });
    expect([result.get("x-forwarded-user"), result.get("x-forwarded-for"), result.get("x-forwarded-proto")]).toEqual([
      "ada",
      "192.0.2.7",
      "http",
    ]);
    expect(result.has("x-real-ip")).toBe(false);
    expect(sent(said).has("x-forwarded-user")).toBe(false);
  });
});
