// Header values with bytes from 0x80 on, both ways, on the wire: as they came beside what the Worker is told of them, and as
// the Worker says of an answer, however the answer is framed.
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { encodeLines } from "../../../src/edge/http/forwarded.ts";
import { before, beforeBytes, beforeHandler, raw, read } from "./between.ts";

const HOST = "Host: shop.localhost:8888\r\n";
const values = [
  ["latin1", "caf\xe9"],
  ["UTF-8", "caf\xc3\xa9"],
  ["beyond U+00FF", "\xe5\xa4\xa9.pdf"],
  ["every byte", Array.from({ length: 128 }, (_, i) => String.fromCharCode(128 + i)).join("")],
  ["quotes and backslashes", 'a"\\\xe9"'],
] as const;
const names = ["Location", "Set-Cookie", "Content-Disposition", "X-Anything"];
const told = (...lines: string[]): string => encodeLines(lines);

test.each(values)("a request's pass as they came, and are told to the Worker (%s)", async (_, value) => {
  for (const upgrade of ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"]) {
    const [port, head] = await beforeBytes("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    await raw(port, `GET / HTTP/1.0\r\n${HOST}User-Agent: ${value}\r\n${upgrade}\r\n`);
    expect(await head).toContain(`\r\nUser-Agent: ${value}\r\n`);
    expect(await head).toContain(`\r\nx-postern-raw: ${told("user-agent", value)}\r\n`);
  }
});

test("a request of ASCII alone has nothing to tell", async () => {
  const [port, head] = await beforeBytes("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
  await raw(port, `GET / HTTP/1.1\r\n${HOST}Connection: close\r\nUser-Agent: x\r\nX-Postern-Raw: []\r\n\r\n`);
  expect(await head).not.toContain("raw");
});

describe.each(values)("an answer's (%s)", (_, value) => {
  const shapes: [string, string, string, string][] = [
    ["a length", "GET", "200 OK", "Content-Length: 5\r\n\r\nhello"],
    ["chunks", "GET", "200 OK", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    ["HEAD", "HEAD", "200 OK", "Content-Length: 5\r\n\r\n"],
    ["204", "GET", "204 No Content", "\r\n"],
    ["304", "GET", "304 Not Modified", "\r\n"],
    ["302 without a body", "GET", "302 Found", "Content-Length: 0\r\n\r\n"],
  ];
  test.each(shapes)("pass as they came, with %s", async (_shape, method, status, rest) => {
    for (const name of names)
      for (const first of [true, false]) {
        const line = `${name}: ${value}\r\n`;
        const [lines, end] = first ? [line, rest] : ["", rest.replace("\r\n\r\n", `\r\n${line}\r\n`)];
        // Of "\r\n" alone there is one line end to replace.
        const tail = first || end !== rest ? end : `${line}${rest}`;
        const [port] = await beforeBytes(`HTTP/1.1 ${status}\r\n${lines}${tail}`, "keep");
        const { text } = await raw(port, `${method} / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
        expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status.slice(0, 3)} `));
        expect(text).toContain(`\r\n${line}`);
        if (rest.includes("hello")) expect(text).toContain("hello");
      }
  });

  test("pass as the Worker says them", async () => {
    for (const name of names) {
      const lower = name.toLowerCase();
      const [port] = await beforeBytes(
        `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${name}: decoded\r\nx-postern-raw: ${told(lower, value)}\r\n\r\nhello`,
      );
      const { text } = await raw(port, `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
      expect(text).toContain(`\r\n${lower}: ${value}\r\n`);
      expect(text).not.toMatch(/decoded|postern/);
      expect(text).toMatch(/\r\n\r\nhello$/);
    }
  });

  test("pass in a head that goes out before its body", async () => {
    let upstream: Socket | undefined;
    const port = await before(
      createTcpServer((socket) => {
        upstream = socket.on("error", () => {});
        socket.once("data", () => {
          socket.write(`HTTP/1.1 200 OK\r\nX-A: ${value}\r\nTransfer-Encoding: chunked\r\n\r\n`, "latin1");
        });
      }),
    );
    const client = connect(port, "127.0.0.1");
    client.write(`GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    client.once("data", (head) => {
      expect(head.toString("latin1")).toContain(`\r\nX-A: ${value}\r\n`);
      upstream?.write("5\r\nhello\r\n0\r\n\r\n");
    });
    expect((await read(client)).text).toMatch(/hello\r\n0\r\n\r\n$/);
  });

  test("pass in a 101, and as the Worker says them", async () => {
    const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    const ask = `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
    for (const lines of [`x-a: ${value}\r\n`, `x-a: decoded\r\nx-postern-raw: ${told("x-a", value)}\r\n`]) {
      const [port] = await beforeBytes(`${switching}${lines}\r\n`, "end");
      const { text } = await raw(port, ask);
      expect(text).toContain(`\r\nx-a: ${value}\r\n`);
      expect(text).not.toMatch(/decoded|postern/);
    }
  });
});

test("an answer whose head cannot be passed on is a 502 of its own, with nothing of the answer's", async () => {
  for (const framing of ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]) {
    const lines: string[] = [];
    const [port] = await beforeBytes(
      `HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nx-postern-raw: nonsense\r\n${framing}`,
      "keep",
      {
        log: (line) => lines.push(line),
      },
    );
    const { text } = await raw(port, `GET / HTTP/1.1\r\n${HOST}\r\n`);
    expect(text).toMatch(/^HTTP\/1.1 502 Bad Gateway\r\n[\s\S]*"bad-gateway-answer"/);
    expect(text).not.toMatch(/Set-Cookie|Fine|abc/);
    const [, length] = /content-length: (\d+)/.exec(text) ?? [];
    expect(text.slice(text.indexOf("\r\n\r\n") + 4)).toHaveLength(Number(length));
    expect(lines).toHaveLength(1);
  }
});

test("a reason phrase of other bytes does no harm", async () => {
  const port = await beforeHandler((_, res) => {
    res.socket?.end("HTTP/1.1 200 Gr\xfc\xdfe\r\nContent-Length: 0\r\n\r\n", "latin1");
  });
  const { text } = await raw(port, `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
  expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n/);
});
