// Rows about answers: statuses, interim ones, bodies of every framing, header bytes, large heads, what is no HTTP, and answers
// cut at every point. What cannot be passed on is a 502 in the product's words; a cut answer never looks whole.
import type { Socket } from "node:net";
import { type Behaviour, response } from "./backend.ts";
import { both, broken, check, either, field, type Row, same, sameAnswer, sameOr, told } from "./row.ts";
import { utf8 } from "./wire.ts";

const request = (method = "GET", headers: readonly string[] = [], body = "") =>
  `${method} /a HTTP/1.1\r\n${["Host: {H}", "{R}", ...headers].join("\r\n")}\r\n\r\n${body}`;
const post = request("POST", ["Content-Length: 3"], "abc");

/** Writes this, and ends the connection where `then` says so. */
function writes(bytes: Buffer | string, then?: "end" | "reset"): Behaviour {
  return {
    answer(socket: Socket) {
      const done = () => {
        if (then === "end") socket.end();
        // The bytes before it arrive first.
        if (then === "reset") setTimeout(() => socket.resetAndDestroy(), 50);
      };
      socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes, done);
      if (bytes.length === 0) done();
    },
  };
}

const row = (name: string, head: string, body = "", expect = same, method = "GET", then?: "end" | "reset"): Row => ({
  name: `answer ${name}`,
  request: request(method),
  backend: writes(response(`HTTP/1.1 ${head}`, body), then),
  expect,
});

const ok = response("HTTP/1.1 200 OK\nContent-Length: 2", "ok");
const interim: Row[] = ["GET", "POST"].flatMap((method) =>
  [
    ["100", ["HTTP/1.1 100 Continue"]],
    ["102", ["HTTP/1.1 102 Processing"]],
    ["103", ["HTTP/1.1 103 Early Hints\nLink: </x.css>; rel=preload"]],
    [
      "100, 103, 103, 102",
      [
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 103 Early Hints\nLink: </x>; rel=preload",
        "HTTP/1.1 103 Early Hints",
        "HTTP/1.1 102 Processing",
      ],
    ],
    ["110, of which nobody knows", ["HTTP/1.1 110 Odd"]],
  ].map(
    ([name, heads]): Row => ({
      name: `unasked ${String(name)} before the answer to a ${method} (F14)`,
      request: method === "POST" ? post : request(),
      backend: writes(Buffer.concat([...(heads as string[]).map((head) => response(head)), ok])),
      expect: same,
    }),
  ),
);

const statuses: Row[] = [
  ...[
    200, 201, 202, 203, 206, 226, 299, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 409, 410, 411,
    412, 414, 416, 418, 421, 422, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 520, 530,
    599,
  ].map((status) => row(String(status), `${status} Odd\nX-A: b\nContent-Length: 2`, "ok")),
  row("407, which is not ours to hide", "407 Proxy Authentication Required\nContent-Length: 2", "no"),
  row("without a phrase", "200 \nContent-Length: 2", "ok"),
  row("without a phrase and its blank", "200\nContent-Length: 2", "ok"),
  row("with a phrase of Latin-1", "404 Non trouv\xe9\nContent-Length: 2", "no"),
  row("204", "204 No Content\nX-A: b"),
  row("204 with Content-Length: 0", "204 No Content\nContent-Length: 0"),
  row("204 with Content-Length: 5", "204 No Content\nContent-Length: 5"),
  row("304 with a length, which may be dropped [9110 §15.4.5]", '304 Not Modified\nETag: "a"\nContent-Length: 1234'),
  row("304 without", '304 Not Modified\nETag: "a"'),
  row("304, closing", '304 Not Modified\nETag: "a"\nConnection: close', "", same, "GET", "end"),
  row("205", "205 Reset Content\nContent-Length: 0"),
  row(
    "205 with a body (S21): without it, or 502",
    "205 Reset Content\nContent-Length: 2",
    "ok",
    either(
      told(502),
      check("it", ({ answers: [a] }) =>
        a?.status === 205 && a.whole && a.bodyBytes === 0 ? undefined : `is ${a?.status} with ${a?.bodyBytes}`,
      ),
    ),
  ),
  row(
    "205, chunked (S21): without it, or 502",
    "205 Reset Content\nTransfer-Encoding: chunked",
    "2\r\nok\r\n0\r\n\r\n",
    either(
      told(502),
      check("it", ({ answers: [a] }) =>
        a?.status === 205 && a.whole && a.bodyBytes === 0 ? undefined : `is ${a?.status} with ${a?.bodyBytes}`,
      ),
    ),
  ),
  row("HEAD with a length", "200 OK\nContent-Length: 12345", "", same, "HEAD"),
  row("HEAD with a length of 10 GB", "200 OK\nContent-Length: 10737418240\nAccept-Ranges: bytes", "", same, "HEAD"),
  row("HEAD, chunked", "200 OK\nTransfer-Encoding: chunked\nX-A: b", "", same, "HEAD"),
  row("HEAD without a length", "200 OK\nX-A: b", "", same, "HEAD"),
  row("HEAD 404 with a length", "404 Not Found\nContent-Length: 99", "", same, "HEAD"),
  row("HEAD 304", '304 Not Modified\nETag: "a"', "", same, "HEAD"),
  // RFC 9112 §4: three digits; RFC 9110 §15: 100 to 599.
  ...["000", "099", "20", "2000", "abc", "-20"].map((status) =>
    row(`status ${status} is none: 502 (S2, S3)`, `${status} X\nContent-Length: 2`, "ok", told(502)),
  ),
  ...["600", "999"].flatMap((status) => [
    row(`status ${status}: as it came, or 502 (S2)`, `${status} X\nContent-Length: 2`, "ok", sameOr(502)),
    row(
      `status ${status}, chunked: as it came, or 502 (S2)`,
      `${status} X\nTransfer-Encoding: chunked`,
      "2\r\nok\r\n0\r\n\r\n",
      sameOr(502),
    ),
  ]),
  row("101 unasked: 502", "101 Switching Protocols\nConnection: Upgrade\nUpgrade: foo", "", told(502)),
];

const long = (bytes: number) => "x".repeat(bytes);
const mebibyte = "y".repeat(1024 * 1024);
const bodies: Row[] = [
  row("of 1 MiB", `200 OK\nContent-Length: ${mebibyte.length}`, mebibyte),
  row("empty", "200 OK\nContent-Length: 0"),
  row("chunked", "200 OK\nTransfer-Encoding: chunked", "2\r\nok\r\n3\r\n!!!\r\n0\r\n\r\n"),
  row("chunked, empty", "200 OK\nTransfer-Encoding: chunked", "0\r\n\r\n"),
  row("chunked, with extensions", "200 OK\nTransfer-Encoding: chunked", '2;n="v"\r\nok\r\n0;e\r\n\r\n'),
  row(
    "chunked, with trailers, which may be dropped",
    "200 OK\nTransfer-Encoding: chunked\nTrailer: X-Sum",
    "2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
  ),
  row("chunked, in other letters", "200 OK\nTransfer-Encoding: Chunked", "2\r\nok\r\n0\r\n\r\n"),
  row("chunked, 1 MiB in one", "200 OK\nTransfer-Encoding: chunked", `100000\r\n${mebibyte}\r\n0\r\n\r\n`),
  row("chunked, 1,000 of one byte", "200 OK\nTransfer-Encoding: chunked", `${"1\r\nz\r\n".repeat(1_000)}0\r\n\r\n`),
  row("until the connection ends", "200 OK\nContent-Type: text/plain", "until the end", same, "GET", "end"),
  row("until the connection ends, 1 MiB", "200 OK\nContent-Type: text/plain", mebibyte, same, "GET", "end"),
  row("until the connection ends, empty", "200 OK\nContent-Type: text/plain", "", same, "GET", "end"),
  row("to a POST, closing", "200 OK\nConnection: close\nContent-Length: 2", "ok", same, "POST", "end"),
  {
    name: "answer of HTTP/1.0",
    request: request(),
    backend: writes(response("HTTP/1.0 200 OK\nContent-Type: text/plain", "ten"), "end"),
    expect: same,
  },
  {
    name: "answer of HTTP/1.0 that keeps the connection",
    request: request(),
    backend: writes(response("HTTP/1.0 200 OK\nConnection: keep-alive\nContent-Length: 2", "ok")),
    expect: same,
  },
  row(
    "with bytes after its length",
    "200 OK\nContent-Length: 2",
    "okEXTRA",
    either(
      both(
        check("it", ({ answers: [a] }) =>
          a?.status === 200 && a.body.toString() === "ok" ? undefined : `is ${a?.status}`,
        ),
      ),
      told(502),
      broken,
    ),
  ),
  row("labelled gzip that is none: passed as it is", "200 OK\nContent-Encoding: gzip\nContent-Length: 2", "ok"),
  row("labelled zstd", "200 OK\nContent-Encoding: zstd\nContent-Length: 2", "ok"),
  row("labelled twice", "200 OK\nContent-Encoding: gzip, br\nContent-Length: 2", "ok"),
  row(
    "with a part",
    "206 Partial Content\nContent-Range: bytes 0-1/4294967299\nAccept-Ranges: bytes\nContent-Length: 2",
    "ok",
  ),
];

const heads: Row[] = [
  ...[8_000, 16_300, 17_000, 40_000, 62_000, 100_000].map((bytes) =>
    row(
      `with a header of ${bytes} bytes (F4)`,
      `200 OK\nContent-Security-Policy: ${long(bytes)}\nContent-Length: 2`,
      "ok",
    ),
  ),
  {
    ...row("with a header of 17,000 bytes, to a POST (F4)", ""),
    request: post,
    backend: writes(response(`HTTP/1.1 200 OK\nX-Big: ${long(17_000)}\nContent-Length: 2`, "ok")),
  },
  row(
    "with a head of 600,000 bytes: passed or 502",
    `200 OK\nX-Big: ${long(600_000)}\nContent-Length: 2`,
    "ok",
    sameOr(502),
  ),
  row(
    "with 60 cookies of 300 bytes (F4)",
    `200 OK\n${Array.from({ length: 60 }, (_, i) => `Set-Cookie: k${i}=${long(300)}; Path=/`).join("\n")}\nContent-Length: 2`,
    "ok",
  ),
  row(
    "with 300 headers",
    `200 OK\n${Array.from({ length: 300 }, (_, i) => `X-H${i}: v${i}`).join("\n")}\nContent-Length: 2`,
    "ok",
  ),
  row(
    "with cookies in order",
    "200 OK\nSet-Cookie: a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT; Path=/\nSet-Cookie: b=2; HttpOnly\nset-cookie: a=3\nContent-Length: 2",
    "ok",
  ),
  row(
    "with names on several lines",
    '200 OK\nLink: </a>; rel=preload\nX-D: 1\nLink: </b>; rel=preload\nX-D: 2\nWWW-Authenticate: Negotiate\nWWW-Authenticate: Basic realm="a, b"\nVary: Accept\nVary: Cookie\nContent-Length: 2',
    "ok",
  ),
  row("with empty values", "200 OK\nX-Empty:\nX-Blank:   \nX-After: y\nContent-Length: 2", "ok"),
  row("with a tab", "200 OK\nX-Tab: a\tb\nContent-Length: 2", "ok"),
  row(
    "with what a proxy might take for its own",
    '200 OK\nX-Forwarded-For: 1.2.3.4\nServer: Test/1\nDate: Thu, 01 Jan 1970 00:00:00 GMT\nAlt-Svc: h3=":443"\nStrict-Transport-Security: max-age=1\nAge: 5\nRefresh: 5; url=/x\nContent-Length: 2',
    "ok",
  ),
  row(
    "with headers that Connection lists (S29)",
    "200 OK\nConnection: X-Hop\nX-Hop: 1\nX-Keep: 2\nContent-Length: 2",
    "ok",
    check("the client", ({ answers: [a] }) =>
      field(a, "x-hop") !== undefined
        ? "got X-Hop"
        : field(a, "x-keep") === "2"
          ? undefined
          : `got ${a?.status} without X-Keep`,
    ),
  ),
  row(
    "that speaks for us",
    "200 OK\nX-Postern-Reason: no-endpoints\nX-Postern-Generation: 1\nX-Postern-Raw: []\nX-Postern-Unsent: 1\nContent-Length: 2",
    "ok",
    check("the client", ({ answers: [a] }) =>
      a?.status === 200 &&
      a.body.toString() === "ok" &&
      a.fields.every(([name]) => !name.toLowerCase().startsWith("x-postern-"))
        ? undefined
        : `got ${a?.status} ${a?.fields.map(([name]) => name).join()}`,
    ),
  ),
  ...[
    ["Location", utf8("/suche/größe")],
    ["Location", "/caf\xe9"],
    ["Content-Disposition", `attachment; filename="${utf8("größe.txt")}"`],
    ["Content-Disposition", `attachment; filename="${utf8("отчёт–日本.pdf")}"`],
    ["Content-Disposition", 'attachment; filename="caf\xe9.txt"'],
    ["Set-Cookie", "n=caf\xe9; Path=/"],
    ["Set-Cookie", `n=${utf8("天")}`],
    ["X-Name", "caf\xe9 \xfcber"],
    ["X-Name", utf8("Müller €🍐")],
    ["X-All", Buffer.from(Array.from({ length: 128 }, (_, i) => 128 + i)).toString("latin1")],
  ].flatMap(([name = "", value = ""]) => [
    row(
      `with ${name}: ${Buffer.from(value, "latin1").toString("hex").slice(0, 60)}, a length (F3)`,
      `302 Found\n${name}: ${value}\nContent-Length: 2`,
      "ok",
    ),
    row(
      `with ${name}: ${Buffer.from(value, "latin1").toString("hex").slice(0, 60)}, chunked (F3)`,
      `200 OK\n${name}: ${value}\nTransfer-Encoding: chunked`,
      "2\r\nok\r\n0\r\n\r\n",
    ),
  ]),
];

const nothing: Row[] = [
  row("with two lengths: 502", "200 OK\nContent-Length: 2\nContent-Length: 3", "okk", either(told(502), broken)),
  row(
    "with the same length twice",
    "200 OK\nContent-Length: 2\nContent-Length: 2",
    "ok",
    either(
      sameAnswer,
      check("it", ({ answers: [a] }) =>
        a?.status === 200 && a.body.toString() === "ok" ? undefined : `is ${a?.status}`,
      ),
      told(502),
    ),
  ),
  row("with a length that is none: 502", "200 OK\nContent-Length: two", "ok", told(502)),
  row("with a negative length: 502", "200 OK\nContent-Length: -2", "ok", told(502)),
  row(
    "chunked and with a length: the chunks count, or 502 [9112 §6.3]",
    "200 OK\nTransfer-Encoding: chunked\nContent-Length: 7",
    "2\r\nok\r\n0\r\n\r\n",
    either(
      check("it", ({ answers: [a] }) =>
        a?.status === 200 && a.whole && a.body.toString() === "ok" ? undefined : `is ${a?.status}`,
      ),
      told(502),
      broken,
    ),
  ),
  row("with a bad chunk: broken", "200 OK\nTransfer-Encoding: chunked", "2\r\nok\r\nzz\r\nno\r\n0\r\n\r\n", broken),
  row("with a bad first chunk: broken", "200 OK\nTransfer-Encoding: chunked", "zz\r\nno\r\n0\r\n\r\n", broken),
  row("with a blank in a name: 502", "200 OK\nX Bad: 1\nContent-Length: 2", "ok", told(502)),
  row(
    "with a blank before a colon: 502 or mended [9112 §5.1]",
    "200 OK\nX-Bad : 1\nContent-Length: 2",
    "ok",
    either(
      told(502),
      check("it", ({ answers: [a] }) =>
        a?.status === 200 && a.body.toString() === "ok" ? undefined : `is ${a?.status}`,
      ),
    ),
  ),
  row(
    "with a control character: as it came, or 502 (F5)",
    "200 OK\nX-Ctl: a\x01b\nContent-Length: 2",
    "ok",
    sameOr(502),
  ),
  row("with a NUL: 502", "200 OK\nX-Nul: a\0b\nContent-Length: 2", "ok", told(502)),
  row("with a bare CR: 502", "200 OK\nX-Cr: a\rb\nContent-Length: 2", "ok", told(502)),
  row(
    "with a folded line: blanks instead, or 502 [9112 §5.2]",
    "200 OK\nX-Fold: one\n  two\nContent-Length: 2",
    "ok",
    either(
      told(502),
      check("X-Fold", ({ answers: [a] }) =>
        /^one +two$/.test(field(a, "x-fold") ?? "") ? undefined : `is ${field(a, "x-fold")}`,
      ),
    ),
  ),
  ...(
    [
      ["of ICY", response("ICY 200 OK\nContent-Length: 2", "ok")],
      ["of http/1.1 in small letters", response("http/1.1 200 OK\nContent-Length: 2", "ok")],
      ["of SSH", Buffer.from("SSH-2.0-OpenSSH_9.6\r\n\r\n")],
      ["of TLS", Buffer.from("\x15\x03\x01\x00\x02\x02\x46", "latin1")],
      ["of HTTP/0.9", Buffer.from("<html>hello</html>\r\n\r\n")],
    ] as const
  ).map(
    ([name, bytes]): Row => ({
      name: `answer ${name}: 502`,
      request: request(),
      backend: writes(bytes, "end"),
      expect: told(502),
    }),
  ),
];

/** Where an answer can be cut: its bytes until then. */
export const cutPoints: readonly [name: string, text: string][] = [
  ["before its first byte", ""],
  ["in its start line", "HTTP/1.1 20"],
  ["in its head", "HTTP/1.1 200 OK\r\nContent-Le"],
  ["before the head's last line", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"],
  ["after a head with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
  ["in a body with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"],
  ["a byte before the end of 1 MiB", `HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n${mebibyte}`],
  ["after a head, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["in a chunk's size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1"],
  ["in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
  ["before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"],
  ["in the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"],
  ["after a 100", "HTTP/1.1 100 Continue\r\n\r\n"],
];
const cuts: Row[] = cutPoints.flatMap(([where, text]) =>
  (["end", "reset"] as const).flatMap((then) =>
    (
      [
        ["GET", request()],
        ["POST", post],
        ["chunked POST", request("POST", ["Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\n\r\n")],
      ] as const
    ).map(
      ([method, bytes]): Row => ({
        name: `answer to a ${method} cut ${where} by ${then === "end" ? "FIN" : "RST"} (S1, S4)`,
        request: bytes,
        methods: [method.split(" ").at(-1) as string],
        backend: writes(text, then),
        expect: broken,
      }),
    ),
  ),
);
cuts.push({
  name: "answer without a length, cut by RST, never looks whole",
  request: request(),
  backend: writes("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nsome", "reset"),
  // An end of the connection alone would look like the whole of it, where the answer goes on without a length.
  expect: check(
    "it",
    ({ answers: [a], end }) =>
      a === undefined || !a.whole || a.status === 502 ? undefined : `is a whole ${a.status}, connection ${end}`,
    true,
  ),
});

export const answerRows: readonly Row[] = [...interim, ...statuses, ...bodies, ...heads, ...nothing, ...cuts];
