// Rows about requests: methods, bodies, targets, hosts, header bytes, versions, and shapes that two parsers could read in
// two ways. Written after RFC 9110 and 9112; the numbers in brackets are theirs.
import { setTimeout as delay } from "node:timers/promises";
import { response } from "./backend.ts";
import {
  both,
  brief,
  check,
  either,
  field,
  refused,
  type Row,
  same,
  sameAnswer,
  sameOr,
  sameSeen,
  told,
} from "./row.ts";
import { utf8 } from "./wire.ts";

const http = (line: string, headers: readonly string[] = [], body = "") =>
  `${line} HTTP/1.1\r\n${["Host: {H}", "{R}", ...headers].join("\r\n")}\r\n\r\n${body}`;
const sized = (line: string, body: string, ...headers: string[]) =>
  http(line, [`Content-Length: ${body.length}`, ...headers], body);
const chunked = (line: string, body: string, ...headers: string[]) =>
  http(line, ["Transfer-Encoding: chunked", ...headers], body);
const noWay = { because: "fetch() parses its URL and cannot send every target as it came" };

const methods: Row[] = [
  ...[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "PROPFIND",
    "MKCOL",
    "REPORT",
    "SEARCH",
    "PURGE",
    "LOCK",
  ].map((method): Row => ({ name: `method ${method}`, request: http(`${method} /m`), expect: same })),
  ...["TRACE", "QUERY", "FOO", "get", "Get"].map(
    (method): Row => ({
      name: `method ${method}: as it came, or refused`,
      request: http(`${method} /m`),
      expect: either(same, refused(400, 405, 501), told(400, 405, 501)),
    }),
  ),
  {
    name: "method M-SEARCH, which workerd does not know: as it came, or 501",
    request: http("M-SEARCH /m"),
    expect: either(
      same,
      check("it", ({ answers: [answer], seen }) =>
        answer?.status === 501 && seen.length === 0 ? undefined : `is ${answer?.status}`,
      ),
    ),
  },
  {
    name: "method CONNECT is refused with an answer [9110 §9.3.6]",
    request: "CONNECT {H} HTTP/1.1\r\nHost: {H}\r\n{R}\r\n\r\n",
    methods: ["GET"],
    expect: refused(400, 405, 501),
  },
  { name: "OPTIONS * [9112 §3.2.4]", request: http("OPTIONS *"), expect: sameOr(400, 405, 501) },
];

const mebibyte = "m".repeat(1024 * 1024);
const bodies: Row[] = [
  { name: "POST without a body", request: sized("POST /b", ""), expect: same },
  { name: "POST without any framing", request: http("POST /b"), expect: same },
  { name: "POST of one byte", request: sized("POST /b", "x"), expect: same },
  { name: "POST in pieces", request: [http("POST /b", ["Content-Length: 10"]), "abc", "d", "efghij"], expect: same },
  {
    name: "head in pieces",
    request: ["PO", "ST /b HT", "TP/1.1\r", "\nHost: {H}\r\n{R}\r\nContent-Le", "ngth: 3\r\n\r", "\nabc"],
    methods: ["POST"],
    expect: same,
  },
  { name: "POST of 1 MiB", request: sized("POST /b", mebibyte), expect: same },
  {
    name: "POST of 1 MiB, chunked",
    request: chunked("POST /b", `${(1024 * 1024).toString(16)}\r\n${mebibyte}\r\n0\r\n\r\n`),
    expect: same,
  },
  { name: "PUT of 65,537 bytes", request: sized("PUT /b", "p".repeat(65_537)), expect: same },
  { name: "PUT of zero bytes", request: sized("PUT /b", ""), expect: same },
  {
    name: "chunked, in pieces",
    request: [chunked("POST /b", ""), "5\r\nhel", "lo\r\n", "1\r\n!\r\n0\r\n", "\r\n"],
    expect: same,
  },
  { name: "chunked, empty", request: chunked("POST /b", "0\r\n\r\n"), expect: same },
  {
    name: "chunked, many of one byte",
    request: chunked("POST /b", `${"1\r\nz\r\n".repeat(500)}0\r\n\r\n`),
    expect: same,
  },
  {
    name: "chunk extensions [9112 §7.1.1]",
    request: chunked("POST /b", '5;a=b;c="d e"\r\nhello\r\n0;last\r\n\r\n'),
    expect: same,
  },
  {
    name: "trailers [9112 §7.1.2]",
    request: chunked("POST /b", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "Trailer: X-Sum"),
    expect: same,
  },
  {
    name: "Transfer-Encoding in other letters",
    request: http("POST /b", ["Transfer-Encoding: Chunked"], "5\r\nhello\r\n0\r\n\r\n"),
    expect: same,
  },
  { name: "PATCH, chunked", request: chunked("PATCH /b", "5\r\nhello\r\n0\r\n\r\n"), expect: same },
  { name: "DELETE with a body", request: sized("DELETE /b", "which"), expect: same },
  { name: "OPTIONS with a body", request: sized("OPTIONS /b", "which"), expect: same },
  ...["GET", "HEAD"].flatMap((method): Row[] => [
    {
      name: `${method} with a body (F8)`,
      request: sized(`${method} /b`, '{"query":{}}'),
      expect: same,
      except: { direct: { because: "fetch() sends no body with GET and HEAD", expect: sameOr(400, 413, 501) } },
    },
    {
      name: `${method} with a chunked body (F8)`,
      request: chunked(`${method} /b`, "5\r\nhello\r\n0\r\n\r\n"),
      expect: same,
      except: { direct: { because: "fetch() sends no body with GET and HEAD", expect: sameOr(400, 413, 501) } },
    },
  ]),
  { name: "GET with Content-Length: 0", request: http("GET /b", ["Content-Length: 0"]), expect: same },
  {
    name: "an upload with an encoding of its own",
    request: sized("PUT /b", "hello", "Content-Encoding: gzip"),
    expect: same,
  },
];

const early = (status: string, linger: boolean) => ({
  early: true,
  answer: (socket: import("node:net").Socket) => {
    socket.write(
      response(
        `HTTP/1.1 ${status}\nContent-Type: text/plain\nContent-Length: 6${linger ? "" : "\nConnection: close"}`,
        "early\n",
      ),
    );
    if (linger) return;
    socket.end();
    socket.pause();
    setTimeout(() => socket.destroy(), 2_000).unref();
  },
});
const LARGE = 20_000_000;
const block = Buffer.alloc(64 * 1024, "u");
/** Sends 20 MB; `stubborn`: all of it before it looks at the answer, as simple clients do. */
const upload =
  (stubborn: boolean, head: string): NonNullable<Row["script"]> =>
  async (wire, send) => {
    send(head);
    if (stubborn) wire.socket.pause();
    for (let left = LARGE; left > 0 && !wire.socket.destroyed; left -= block.length) {
      if (!stubborn && wire.received > 0) break;
      const part = left < block.length ? block.subarray(0, left) : block;
      if (wire.socket.write(part)) await new Promise(setImmediate);
      else
        await Promise.race([
          new Promise((resolve) => wire.socket.once("drain", resolve)),
          new Promise((resolve) => wire.socket.once("close", resolve)),
          ...(stubborn ? [delay(5_000, undefined, { ref: false })] : [wire.until(() => wire.received > 0)]),
        ]);
    }
    wire.socket.resume();
  };
export const uploadRows: readonly Row[] = [true, false].flatMap((stubborn) =>
  [
    ["401 Unauthorized", true],
    ["413 Too Large", true],
    ["302 Found\nLocation: /login", true],
    ["403 Forbidden", false],
  ].map(
    ([status, linger]): Row => ({
      name: `20 MB, answered ${String(status).slice(0, 3)} at the head by a server that ${linger ? "reads on" : "closes"}; the client ${stubborn ? "reads after its upload" : "stops at the answer"} (F6)`,
      request: "POST",
      methods: ["POST"],
      script: upload(
        stubborn,
        http("POST /early", [`Content-Length: ${LARGE}`, "Content-Type: application/octet-stream"]),
      ),
      backend: early(String(status), linger === true),
      // A server that closes while bytes are on the way resets the connection: straight to it, the answer may be lost too.
      expect: linger
        ? sameAnswer
        : {
            judge: (ours, plain) =>
              stubborn && ours.answers.length === 0
                ? undefined
                : sameAnswer.judge(ours, {
                    ...plain,
                    answers: plain.answers.length > 0 ? plain.answers : ours.answers.filter((a) => a.status === 403),
                  }),
          },
      withinMs: 20_000,
    }),
  ),
);

/** As it came through a tunnel; by direct as it came, or refused in words. */
const target = (name: string, text: string): Row => ({
  name: `target ${name} (F23)`,
  request: `GET ${text} HTTP/1.1\r\nHost: {H}\r\n{R}\r\n\r\n`,
  expect: same,
  except: { direct: { ...noWay, expect: sameOr(400) } },
});
const targets: Row[] = [
  ...[
    ["dot segments", "/a/../b/./c"],
    ["encoded dots", "/a/%2e%2e/b/%2E/c"],
    ["encoded slash and lower-case hex", "/a%2fb%2Fc"],
    ["backslash", "/a\\b"],
    ["two slashes", "//a//b"],
    ["two slashes and a host", "//evil.example/x"],
    ["empty query", "/x?"],
    ["two question marks", "/x??a=?b"],
    ["caret, braces, bar", "/x^{y}|z"],
    ["quotes in the query", "/x?a={\"k\":1}&b='c'"],
    ["angle brackets", "/x<y>?q=<z>"],
    ["backtick", "/x`y?`z`"],
    ["brackets", "/x[1]?a[]=2&b[c]=3"],
    ["stray percent", "/100%?x=%zz"],
    ["encoded nothing", "/a%00b"],
    ["plus and space", "/a+b%20c?d+e"],
    ["semicolons, commas, at, colon", "/a;v=1,2@3:4!$&'()*"],
    ["UTF-8, encoded", "/%E5%A4%A9?q=%C3%BC"],
    ["long, 8,000", `/${"p".repeat(8_000)}`],
    ["long, 30,000", `/?${"q".repeat(30_000)}`],
    ["root only", "/"],
    ["a query with a URL", "/go?to=http://a.example/b?c"],
  ].map(([name = "", text = ""]) => target(name, text)),
  ...[
    ["raw UTF-8", utf8("/größe?q=日本")],
    ["a raw Latin-1 byte", "/gr\xf6sse"],
    ["a fragment", "/x#frag"],
  ].map(
    ([name = "", text = ""]): Row => ({ ...target(name, text), expect: either(sameOr(400), refused(400)), except: {} }),
  ),
  {
    name: "target of 70,000 bytes is refused in words",
    request: http(`GET /${"p".repeat(70_000)}`),
    expect: told(414, 431),
  },
  { name: "absolute-form [9112 §3.2.2]", request: http("GET http://{H}/abs?q"), expect: same },
  { name: "absolute-form in capitals (F26)", request: http("GET HTTP://{H}/abs"), expect: same },
  {
    name: "absolute-form beside another Host: the target's counts [9112 §3.2.2]",
    request: "GET http://{H}/abs HTTP/1.1\r\nHost: other.example\r\n{R}\r\n\r\n",
    expect: either(same, told(400, 404), refused(400)),
  },
  {
    name: "absolute-form of another host is not served here",
    request: "GET http://other.example/abs HTTP/1.1\r\nHost: {H}\r\n{R}\r\n\r\n",
    expect: either(told(400, 404, 421), refused(400)),
  },
];

const host = (name: string, line: string, expect: Row["expect"]): Row => ({
  name: `Host ${name}`,
  request: `GET /h HTTP/1.1\r\n${line}{R}\r\n\r\n`,
  expect,
});
const notServed = either(told(400, 404), refused(400, 404));
const hosts: Row[] = [
  {
    name: "Host in capitals [9110 §4.2.3]",
    request: "GET /h HTTP/1.1\r\nHost: {H}\r\n{R}\r\n\r\n",
    script: async (_, send) => send("GET /h HTTP/1.1\r\nHoST: {H}\r\n{R}\r\n\r\n"),
    expect: same,
  },
  host("with blanks around", "Host:   {H} \t\r\n", same),
  host("absent [9112 §3.2: 400]", "", refused(400)),
  host("twice [9112 §3.2: 400]", "Host: {H}\r\nHost: {H}\r\n", refused(400)),
  host("twice, two hosts", "Host: {H}\r\nHost: other.example\r\n", refused(400)),
  host("empty", "Host:\r\n", notServed),
  host("unknown", "Host: nobody-default-home.localhost\r\n", notServed),
  host("with a comma (S32)", "Host: {H}, {H}\r\n", notServed),
  host("with quotes (S32)", 'Host: "{H}"\r\n', notServed),
  host("with a blank within (S32)", "Host: a b.localhost\r\n", notServed),
  host("with a port too large (S32)", "Host: x.localhost:84616\r\n", notServed),
  host("with a signed port (S32)", "Host: x.localhost:+80\r\n", notServed),
  host("with a path", "Host: {H}/y\r\n", notServed),
  host("with a user", "Host: u@{H}\r\n", either(same, notServed)),
  host("of bytes that are no ASCII", "Host: \xfcber.localhost\r\n", notServed),
  host("of 300 letters", `Host: ${"h".repeat(300)}.localhost\r\n`, notServed),
];

const value = (name: string, ...headers: string[]): Row => ({
  name: `header ${name}`,
  request: http("GET /v", headers),
  expect: same,
});
/** Of bytes that are no UTF-8. */
const opaque = (name: string, ...headers: string[]): Row => ({
  ...value(name, ...headers),
  except: { direct: { because: "fetch() writes text, as UTF-8", expect: sameOr(400) } },
});
const headers: Row[] = [
  opaque("of one Latin-1 byte (F1)", "X-Name: caf\xe9"),
  value("of UTF-8, two bytes a letter (F1)", `X-Name: ${utf8("Müller, grüße")}`),
  value("of UTF-8, three bytes a letter (F1)", `User-Agent: ${utf8("天气/3.1 €")}`),
  value("of UTF-8, four bytes a letter (F1)", `X-File-Name: ${utf8("🍐.txt")}`),
  opaque(
    "with every byte from 0x80 on (F1)",
    `X-All: a${Buffer.from(Array.from({ length: 128 }, (_, i) => 128 + i)).toString("latin1")}z`,
  ),
  value("with a byte order mark (F1)", "X-Bom: \xef\xbb\xbftext"),
  opaque("Cookie of Latin-1 (F1)", "Cookie: n=caf\xe9; m=1"),
  value("Cookie of UTF-8 (F1)", `Cookie: n=${utf8("größe")}`),
  value("Referer of UTF-8 (F1)", `Referer: http://a.example/${utf8("ü")}`),
  opaque("Authorization of Latin-1 (F1)", "Authorization: Basic \xfc\xfc"),
  opaque("on two lines, one Latin-1, one UTF-8 (F1)", "X-Two: \xe9", `X-Two: ${utf8("日")}`),
  value("empty, blank", "X-Empty:", "X-Blank:   ", "X-After: 1"),
  value("with a tab within", "X-Tab: a\tb"),
  value("on several lines, in order", "X-D: 1", "X-D: 2", "Accept: a/b", "X-D: 3", "Accept: c/d"),
  value("Cookie on two lines", "Cookie: a=1", "Cookie: b=2"),
  value(
    "names in mixed letters, with underscores and dots",
    "x-MiXeD: V",
    "X_Under: 1",
    "X.Dot: 2",
    "X-!#$%&'*+^`|~: 3",
  ),
  value("Accept-Encoding as it is", "Accept-Encoding: zstd;q=0.5, identity"),
  value("ranges and conditions", "Range: bytes=0-1,5-", 'If-Range: "e"', 'If-None-Match: W/"a", "b"'),
  value("of other products, left alone", "X-HTTP-Method-Override: DELETE", "X-Amz-Date: 1", "DNT: 1", "Origin: null"),
  ...[200, 8_000, 16_400, 33_000, 60_000].map((bytes) =>
    value(`Cookie of ${bytes} bytes`, `Cookie: k=${"v".repeat(bytes)}`),
  ),
  value("200 of them", ...Array.from({ length: 200 }, (_, i) => `X-N${i}: ${i}`)),
  {
    name: "headers of 300,000 bytes are refused in words",
    request: http("GET /v", [`Cookie: k=${"v".repeat(300_000)}`]),
    expect: either(told(431), refused(431)),
  },
  {
    name: "headers that Connection lists go no further [9110 §7.6.1]",
    request: http("GET /v", ["Connection: X-Hop, keep-alive", "X-Hop: 1", "X-Keep: 2"]),
    expect: check("the server", ({ seen: [seen], answers }) => {
      if (answers[0]?.status !== 200) return `status ${answers[0]?.status}`;
      const names = seen?.fields.map(([name]) => name.toLowerCase()) ?? [];
      return names.includes("x-hop") ? "saw X-Hop" : names.includes("x-keep") ? undefined : "did not see X-Keep";
    }),
  },
  {
    name: "Expect: 100-continue, awaited [9110 §10.1.1]",
    request: "POST",
    methods: ["POST"],
    script: async (wire, send) => {
      send(http("POST /e", ["Expect: 100-continue", "Content-Length: 5"]));
      // The plain server of these tests says nothing before the body.
      await wire.until(() => wire.interim.length > 0, 300);
      wire.send("hello");
    },
    expect: both(
      same,
      check("the client", ({ interim }) => (interim.includes(100) ? undefined : "was not told 100")),
    ),
  },
  {
    name: "Expect: 100-continue, not awaited",
    request: http("POST /e", ["Expect: 100-continue", "Content-Length: 5"], "hello"),
    expect: same,
  },
  {
    name: "Expect of something else: 417 or passed over",
    request: http("GET /e", ["Expect: 200-ok"]),
    expect: either(same, told(417), refused(417)),
  },
  {
    name: "an Upgrade that may be ignored",
    request: http("GET /u", ["Connection: Upgrade", "Upgrade: foo/2"]),
    expect: same,
  },
  {
    name: "Upgrade: h2c may be ignored",
    request: http("GET /u", [
      "Connection: Upgrade, HTTP2-Settings",
      "Upgrade: h2c",
      "HTTP2-Settings: AAMAAABkAAQAAP__",
    ]),
    expect: same,
  },
];

const echo: Row["backend"] = {
  answer: (socket, { method, target, body }) => {
    const text = `${method} ${target} ${body.toString("latin1")}`;
    socket.write(response(`HTTP/1.1 200 OK\nContent-Length: ${text.length}`, text));
  },
};
const slowOk: Row["backend"] = {
  answer: (socket) => void setTimeout(() => socket.write(response("HTTP/1.1 200 OK\nContent-Length: 4", "slow")), 300),
};
const connections: Row[] = [
  { name: "FIN after a GET (F7)", request: http("GET /f"), half: true, expect: same },
  { name: "FIN after a POST (F7)", request: sized("POST /f", "abc"), half: true, expect: same },
  {
    name: "FIN after a chunked POST (F7)",
    request: chunked("POST /f", "3\r\nabc\r\n0\r\n\r\n"),
    half: true,
    expect: same,
  },
  { name: "FIN before a slow answer (F7)", request: http("GET /f"), half: true, backend: slowOk, expect: same },
  { name: "FIN after HTTP/1.0 (F7)", request: "GET /f HTTP/1.0\r\nHost: {H}\r\n{R}\r\n\r\n", half: true, expect: same },
  {
    name: "FIN in the middle of a body is no request",
    request: http("POST /f", ["Content-Length: 10"], "abc"),
    half: true,
    expect: check("the server", ({ answers: [answer], seen }) =>
      seen.some(({ whole }) => whole)
        ? "saw a whole request"
        : answer === undefined || answer.status >= 400
          ? undefined
          : `answer ${answer.status}`,
    ),
  },
  {
    name: "pipelined [9112 §9.3.2]",
    request: `${http("GET /p1")}${sized("POST /p2", "abc")}${http("GET /p3")}`,
    methods: ["GET", "POST", "GET"],
    backend: echo,
    // Which of them the servers see first is nobody's promise: they may be on several connections.
    expect: both(
      sameAnswer,
      check("the server", ({ seen }) => (seen.length === 3 ? undefined : `saw ${seen.length} requests`)),
    ),
  },
  {
    name: "one after the other on a connection",
    request: [http("GET /k1"), ""],
    methods: ["GET", "GET"],
    script: async (wire, send) => {
      send(http("GET /k1"));
      await wire.head(1);
      wire.send("");
      send(http("GET /k2"));
    },
    backend: echo,
    expect: check("the client", ({ answers }) =>
      answers.length === 2 && answers.every(({ status }) => status === 200)
        ? undefined
        : `got ${answers.map(({ status }) => status).join()}`,
    ),
  },
  {
    name: "Connection: close is kept [9112 §9.6]",
    request: http("GET /c", ["Connection: close"]),
    expect: {
      ...both(
        same,
        check("the connection", ({ end }) => (end === "open" ? "stayed open" : undefined)),
      ),
      closes: true,
    },
    except: {},
  },
  {
    name: "an empty line before the request [9112 §2.2]",
    request: `\r\n${http("GET /l")}`,
    methods: ["GET"],
    expect: either(same, refused(400)),
  },
  {
    name: "HTTP/1.0",
    request: "GET /10 HTTP/1.0\r\nHost: {H}\r\n{R}\r\n\r\n",
    expect: {
      ...both(
        same,
        check("the connection", ({ end }) => (end === "open" ? "stayed open" : undefined)),
      ),
      closes: true,
    },
  },
  {
    name: "HTTP/1.0 with keep-alive",
    request: "GET /10 HTTP/1.0\r\nHost: {H}\r\n{R}\r\nConnection: keep-alive\r\n\r\n",
    expect: same,
  },
  {
    name: "HTTP/1.0 gets no chunks [9112 §6.1]",
    request: "GET /10 HTTP/1.0\r\nHost: {H}\r\n{R}\r\n\r\n",
    backend: {
      answer: (socket) =>
        void socket.write(response("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n")),
    },
    expect: check(
      "the answer",
      ({ answers: [answer] }) =>
        answer === undefined || answer.framing === "chunked"
          ? `framing ${answer?.framing}`
          : answer.body.toString() === "ok"
            ? undefined
            : `body ${brief(answer.body.toString())}`,
      true,
    ),
  },
  { name: "HTTP/1.0 without Host", request: "GET /10 HTTP/1.0\r\n{R}\r\n\r\n", expect: notServed },
  {
    name: "HTTP/1.2 is served as 1.1, or refused [9110 §2.5]",
    request: "GET /12 HTTP/1.2\r\nHost: {H}\r\n{R}\r\n\r\n",
    expect: either(sameSeen, refused(400, 505)),
  },
  {
    name: "HTTP/2.0 in a 1.1 head is refused (S29)",
    request: "GET /20 HTTP/2.0\r\nHost: {H}\r\n{R}\r\n\r\n",
    expect: refused(400, 505),
  },
  { name: "HTTP/0.9 is refused (S29)", request: "GET /09\r\n{R}\r\n\r\n", methods: ["GET"], expect: refused(400, 505) },
  {
    name: "HTTP/2 with prior knowledge is refused in words of HTTP/1.1, or closed",
    request: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    methods: ["GET"],
    expect: check(
      "it",
      ({ end, answers: [answer] }) =>
        end === "open"
          ? "stayed open"
          : answer === undefined || answer.status >= 400
            ? undefined
            : `was answered ${answer.status}`,
      true,
    ),
  },
  {
    name: "TLS on a plain port is refused",
    request: "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
    methods: ["GET"],
    expect: check("it", ({ end }) => (end === "open" ? "stayed open" : undefined), true),
  },
  {
    name: "PROXY protocol is refused",
    request: `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${http("GET /x")}`,
    methods: ["GET"],
    expect: refused(400),
  },
];

/** What two parsers could read in two ways: 400 (501: a coding, 505: a version that nobody knows), closed, and nothing behind. */
const bad = (name: string, request: string): Row => ({
  name: `400: ${name}`,
  request,
  methods: ["POST"],
  expect: refused(400, 501, 505),
});
const hidden = "GET /smuggled HTTP/1.1\r\nHost: {H}\r\n{R}\r\n\r\n";
const smuggling: Row[] = [
  bad(
    "Content-Length beside Transfer-Encoding [9112 §6.3]",
    http("POST /s", ["Content-Length: 4", "Transfer-Encoding: chunked"], `0\r\n\r\n${hidden}`),
  ),
  bad(
    "Transfer-Encoding beside Content-Length",
    http("POST /s", ["Transfer-Encoding: chunked", "Content-Length: 60"], `0\r\n\r\n${hidden}`),
  ),
  bad("two Content-Lengths", http("POST /s", ["Content-Length: 5", "Content-Length: 6"], "helloX")),
  bad("a list of two Content-Lengths", http("POST /s", ["Content-Length: 5, 6"], "helloX")),
  ...["+5", "-5", "0x5", "5a", "5 5", "1e1", ""].map((length) =>
    bad(`Content-Length: ${length || "(empty)"}`, http("POST /s", [`Content-Length: ${length}`], "hello")),
  ),
  bad("Content-Length beyond 64 bits", http("POST /s", ["Content-Length: 18446744073709551617"], "h")),
  ...["chunked, identity", "xchunked", "chunkedx", '"chunked"', "identity"].map((coding) =>
    bad(
      `Transfer-Encoding: ${coding}`,
      http("POST /s", [`Transfer-Encoding: ${coding}`], `5\r\nhello\r\n0\r\n\r\n${hidden}`),
    ),
  ),
  bad(
    "Transfer-Encoding with a vertical tab",
    http("POST /s", ["Transfer-Encoding: \x0bchunked"], `0\r\n\r\n${hidden}`),
  ),
  bad(
    "Transfer-Encoding on two lines, chunked first",
    http("POST /s", ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], `0\r\n\r\n${hidden}`),
  ),
  {
    ...bad(
      "Transfer-Encoding in HTTP/1.0",
      "POST /s HTTP/1.0\r\nHost: {H}\r\n{R}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    expect: either(refused(400), {
      closes: true,
      judge: (ours, plain) => (ours.end === "open" ? "stayed open" : sameSeen.judge(ours, plain)),
    }),
  },
  {
    ...bad(
      "Content-Length twice the same: as one, or refused",
      http("POST /s", ["Content-Length: 5", "Content-Length: 5"], "hello"),
    ),
    expect: either(same, refused(400)),
  },
  {
    ...bad(
      "Transfer-Encoding: gzip, chunked: passed on or refused",
      http("POST /s", ["Transfer-Encoding: gzip, chunked"], "5\r\nhello\r\n0\r\n\r\n"),
    ),
    expect: either(same, refused(400, 501), told(400, 501)),
  },
  ...[
    ["g", "g\r\nhello\r\n0\r\n\r\n"],
    ["-5", "-5\r\nhello\r\n0\r\n\r\n"],
    ["0x5", "0x5\r\nhello\r\n0\r\n\r\n"],
    ["(empty)", "\r\nhello\r\n0\r\n\r\n"],
    ["beyond 64 bits", `${"f".repeat(17)}\r\nhello\r\n0\r\n\r\n`],
    ["smaller than the chunk", "3\r\nhello\r\n0\r\n\r\n"],
    ["ended by LF", "5\nhello\r\n0\r\n\r\n"],
    ["ended by CR", "5\rhello\r\n0\r\n\r\n"],
  ].map(([size, body = ""]) => bad(`chunk size ${size}`, chunked("POST /s", body))),
  bad("a blank before the colon [9112 §5.1]", http("POST /s", ["X-A : 1", "Content-Length: 0"])),
  bad("a blank before the colon of Content-Length", http("POST /s", ["Content-Length : 5"], "hello")),
  bad("a blank before the first header", "POST /s HTTP/1.1\r\n Host: {H}\r\n{R}\r\nContent-Length: 0\r\n\r\n"),
  bad("a header without a colon", http("POST /s", ["X-A", "Content-Length: 0"])),
  bad("a header without a name", http("POST /s", [": x", "Content-Length: 0"])),
  bad("a NUL in a value", http("POST /s", ["X-A: a\0b", "Content-Length: 0"])),
  bad("a control character in a value", http("POST /s", ["X-A: a\x01b", "Content-Length: 0"])),
  bad("a bare CR in a value", http("POST /s", ["X-A: a\rX-B: b", "Content-Length: 0"])),
  bad("a bare LF in a value", http("POST /s", ["X-A: a\nX-B: b", "Content-Length: 0"])),
  bad("LF alone between lines", "POST /s HTTP/1.1\nHost: {H}\n{R}\nContent-Length: 0\n\n"),
  bad("a name that is no token", http("POST /s", ["X@A: 1", "Content-Length: 0"])),
  bad("a byte from 0x80 on in a name", http("POST /s", ["X-\xe9: 1", "Content-Length: 0"])),
  bad("a NUL in the target", http("POST /s\0x", ["Content-Length: 0"])),
  bad("a blank in the target", http("POST /s x", ["Content-Length: 0"])),
  bad("a target without a slash", http("POST s", ["Content-Length: 0"])),
  {
    ...bad(
      "a folded line: refused, or blanks instead [9112 §5.2]",
      http("POST /s", ["X-A: a\r\n b", "Content-Length: 0"]),
    ),
    expect: either(
      refused(400),
      check("X-A", ({ seen: [seen] }) =>
        seen?.fields.some(([name, text]) => name.toLowerCase() === "x-a" && /^a +b$/.test(text))
          ? undefined
          : "is neither refused nor unfolded",
      ),
    ),
  },
  {
    name: "what cannot be read is refused in the product's words",
    request: http("POST /s", ["Content-Length: 5", "Content-Length: 6"], "helloX"),
    expect: both(
      told(400),
      check("it", ({ answers: [answer] }) =>
        field(answer, "content-type") === undefined ? "says nothing" : undefined,
      ),
    ),
  },
];

export const requestRows: readonly Row[] = [
  ...methods,
  ...bodies,
  ...targets,
  ...hosts,
  ...headers,
  ...connections,
  ...smuggling,
];
