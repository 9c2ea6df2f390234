// What clients do to the listener proxy with raw sockets: leave, half-close, linger, pipeline, say nothing. An exception that
// nobody catches fails the run. Where a backend takes its time, or a limit runs out, the time is real: the kernel's sockets and
// node:http's own timers know no clock that a test can set.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { before, beforeBytes, beforeHandler, forwarding, halfClosed, listen, raw, read } from "./between.ts";

const HOST = "Host: shop.localhost:8888\r\n";

describe("an answer to a request with a body that breaks", () => {
  const bodies = [
    ["a length", `POST /x HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`],
    ["chunks", `POST /x HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`],
  ] as const;

  test.each(bodies)("because the client leaves in its middle (%s)", async (_, request) => {
    const gone = Promise.withResolvers<void>();
    const port = await beforeHandler((req, res) => {
      req.resume();
      res.on("error", () => {}).once("close", gone.resolve);
      res.write("x".repeat(100_000));
    });
    const client = connect(port, "127.0.0.1");
    client.write(request);
    await once(client, "data");
    client.destroy();
    await gone.promise;
  });

  test.each(
    bodies.flatMap(([body, request]) =>
      (["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] as const).flatMap(
        (rest) => (["end", "reset"] as const).map((how) => [body, how, request, rest] as const),
      ),
    ),
  )("because the edge cuts it (%s, %s): the client sees a reset", async (_, how, request, rest) => {
    const [port] = await beforeBytes(`HTTP/1.1 200 OK\r\n${rest}`, how);
    expect((await raw(port, request)).broken).toBe(true);
  });

  test.each(bodies)("because it is refused by a reset (%s)", async (_, request) => {
    const port = await beforeHandler(
      (req, res) => {
        req.resume().once("end", () => res.writeHead(404, { "x-postern-reason": "no-such-listener" }).end("words"));
      },
      { refuse: "reset" },
    );
    expect(await raw(port, request)).toEqual({ text: "", broken: true });
  });
});

test("an answer that only the end of its connection ends breaks when its client leaves", async () => {
  const gone = Promise.withResolvers<unknown>();
  const port = await before(
    createTcpServer((socket) => {
      socket.on("error", gone.resolve).on("end", () => gone.reject(new Error("ended")));
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbegun"));
    }),
  );
  const client = connect(port, "127.0.0.1");
  client.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
  await once(client, "data");
  client.resetAndDestroy();
  expect(await gone.promise).toMatchObject({ code: "ECONNRESET" });
});

describe("an answer before the end of the upload", () => {
  const early = (then: (socket: Socket) => void) =>
    createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nlogin");
        then(socket);
      });
    });

  test.each([
    ["closes", (socket: Socket) => socket.destroySoon()],
    // Not before the answer has been sent.
    ["resets", (socket: Socket) => setTimeout(() => socket.resetAndDestroy(), 20)],
    ["reads on", (socket: Socket) => socket.resume()],
    ["reads nothing more", (socket: Socket) => socket.pause()],
  ])("reaches a client that sends on, where the edge %s", async (_, then) => {
    for (const connection of ["keep-alive", "close"]) {
      const port = await before(early(then));
      const client = connect(port, "127.0.0.1");
      client.write(`PUT /up HTTP/1.1\r\n${HOST}Connection: ${connection}\r\nContent-Length: 20000000\r\n\r\n`);
      // As a client that looks for an answer only when it has sent all.
      for (let sent = 0; sent < 20_000_000; sent += 100_000)
        if (!client.write(Buffer.alloc(100_000))) await once(client, "drain");
      let text = "";
      while (!text.includes("login")) text += String(((await once(client, "data")) as [Buffer])[0]);
      expect(text).toMatch(/^HTTP\/1.1 401 Unauthorized\r\n/);
      // The connection is whole: it serves the next request.
      if (connection === "keep-alive") {
        client.write(`PUT /again HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`);
        const [next] = (await once(client, "data")) as [Buffer];
        expect(String(next)).toMatch(/^HTTP\/1.1 401 /);
      }
      client.destroy();
    }
  });

  test("what a client then sends is read for a bounded time", async () => {
    const port = await before(
      early(() => {}),
      { limits: { lingerMs: 200 } },
    );
    const client = connect(port, "127.0.0.1");
    client.write(`PUT /up HTTP/1.1\r\n${HOST}Content-Length: 20000000\r\n\r\nabc`);
    expect((await read(client)).text).toMatch(/login$/);
  });

  test("of the proxy itself, too", async () => {
    const port = await beforeHandler((_, res) => res.end());
    const client = connect(port, "127.0.0.1");
    client.write("PUT /up HTTP/1.1\r\nHost: a b\r\nContent-Length: 2000000\r\n\r\n");
    client.write(Buffer.alloc(2_000_000));
    const { text, broken } = await read(client);
    expect([text.slice(0, 13), broken]).toEqual(["HTTP/1.1 400 ", false]);
  });
});

test("a request with a body goes to the edge with its first byte, not before", async () => {
  let connections = 0;
  const server = createServer((req, res) => void req.resume().once("end", () => res.end("done")));
  server.on("connection", () => connections++);
  const port = await before(server);
  const client = connect(port, "127.0.0.1");
  client.write(`POST / HTTP/1.1\r\n${HOST}Connection: close\r\nContent-Length: 3\r\n\r\n`);
  // Another request, on another connection, that comes later and is there first.
  expect((await raw(port, `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)).text).toContain("done");
  expect(connections).toBe(1);
  client.write("abc");
  expect((await read(client)).text).toContain("done");
});

describe("a client that half-closes after its request", () => {
  test.each([
    ["GET", `GET / HTTP/1.1\r\n${HOST}\r\n`],
    ["HTTP/1.0", `GET / HTTP/1.0\r\n${HOST}\r\n`],
    ["HEAD", `HEAD / HTTP/1.1\r\n${HOST}\r\n`],
    ["POST", `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`],
    ["chunks", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`],
  ])("gets its answer, however slow (%s)", async (_, request) => {
    const port = await beforeHandler((req, res) => {
      req.resume().once("end", () => setTimeout(() => res.end("answer"), 300));
    });
    const { text, broken } = await halfClosed(port, request);
    expect(text).toMatch(/^HTTP\/1.1 200 /);
    expect(broken).toBe(false);
    if (!request.startsWith("HEAD")) expect(text).toContain("answer");
  });

  test("gets all answers, if it has pipelined", async () => {
    const port = await beforeHandler((req, res) => setTimeout(() => res.end(`<${req.url}>`), 20));
    const { text } = await halfClosed(port, `GET /1 HTTP/1.1\r\n${HOST}\r\nGET /2 HTTP/1.1\r\n${HOST}\r\n`);
    expect(text.match(/<[^>]+>/g)).toEqual(["</1>", "</2>"]);
  });

  test("gets an answer that flows for longer than a silent one would be waited for", async () => {
    const port = await beforeHandler(
      async (_, res) => {
        for (let i = 0; i < 10; i++) {
          res.write(`<${i}>`);
          await delay(50);
        }
        res.end("<end>");
      },
      { limits: { halfClosedMs: 300, leftMs: 300 } },
    );
    expect((await halfClosed(port, `GET / HTTP/1.1\r\n${HOST}\r\n`)).text).toContain("<end>");
  });

  test.each([
    ["before the answer", false],
    ["in the middle of it", true],
  ])("and has left %s is gone for the edge when nothing comes for a while", async (_, begun) => {
    const asked = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const port = await beforeHandler(
      (_, res) => {
        if (begun) res.write("begun");
        res.once("close", gone.resolve);
        asked.resolve();
      },
      { limits: { halfClosedMs: 200, leftMs: 100 } },
    );
    const client = connect(port, "127.0.0.1");
    client.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    await asked.promise;
    if (begun) await once(client, "data");
    client.destroy();
    await gone.promise;
  });

  test("and has left before its WebSocket was answered is gone for the edge", async () => {
    const asked = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const upstream = createTcpServer((socket) => {
      socket.on("error", () => {}).once("close", gone.resolve);
      socket.once("data", asked.resolve);
    });
    const port = await before(upstream, { limits: { halfClosedMs: 200, leftMs: 100 } });
    const client = connect(port, "127.0.0.1");
    client.write(`GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    await asked.promise;
    client.destroy();
    await gone.promise;
  });

  test("is gone at once when a write to it fails", async () => {
    const gone = Promise.withResolvers<void>();
    let answer: ServerResponse | undefined;
    const asked = Promise.withResolvers<void>();
    const port = await beforeHandler((_, res) => {
      res.once("close", gone.resolve);
      answer = res;
      asked.resolve();
    });
    const client = connect(port, "127.0.0.1");
    client.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    await asked.promise;
    client.destroy();
    // More than one: the first makes the client's machine say that nobody is there.
    const writing = setInterval(() => answer?.write("x"), 10);
    await gone.promise;
    clearInterval(writing);
  });

  test("in the middle of its body gets a 400, and the edge sees a break", async () => {
    const asked = Promise.withResolvers<void>();
    const broke = Promise.withResolvers<void>();
    const port = await beforeHandler((req) => {
      req.once("error", () => broke.resolve()).resume();
      asked.resolve();
    });
    const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    client.write(`POST / HTTP/1.1\r\n${HOST}Content-Length: 9\r\n\r\nabc`);
    await asked.promise;
    client.end();
    const { text } = await read(client);
    expect(text).toMatch(/^HTTP\/1.1 400 [\s\S]*closed before the request was whole/);
    await broke.promise;
  });
});

describe("several requests on one connection", () => {
  test("are asked one after the other", async () => {
    let open = 0;
    let most = 0;
    const port = await beforeHandler(async (_, res) => {
      most = Math.max(most, ++open);
      await delay(5);
      open--;
      res.end("<>");
    });
    const one = `GET / HTTP/1.1\r\n${HOST}\r\n`;
    const last = `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    const { text } = await raw(port, one.repeat(30) + last);
    expect(text.match(/<>/g)).toHaveLength(31);
    expect(most).toBe(1);
  });

  test("are limited", async () => {
    const lines: string[] = [];
    const port = await beforeHandler(() => {}, { limits: { pipelined: 10 }, log: (line) => lines.push(line) });
    expect(await raw(port, `GET / HTTP/1.1\r\n${HOST}\r\n`.repeat(20))).toEqual({ text: "", broken: true });
    expect(lines).toEqual([expect.stringContaining("10 requests waiting")]);
  });

  test("what is no HTTP behind a request is refused after its answer", async () => {
    const port = await beforeHandler((_, res) => setTimeout(() => res.end("answer"), 50));
    const { text } = await raw(port, `GET / HTTP/1.1\r\n${HOST}\r\nNONSENSE\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n[\s\S]*answer[\s\S]*HTTP\/1.1 400 /);
  });

  test.each(["Connection: Upgrade\r\nUpgrade: websocket\r\n", ""])(
    "an upgrade, or CONNECT, behind an unanswered request ends the connection alone",
    async (upgrade) => {
      const port = await beforeHandler((req, res) => (req.url === "/waits" ? undefined : res.end("fine")));
      const second = upgrade === "" ? "CONNECT a:1 HTTP/1.1" : "GET / HTTP/1.1";
      await raw(port, `GET /waits HTTP/1.1\r\n${HOST}\r\n${second}\r\n${HOST}${upgrade}\r\n`);
      expect((await raw(port, `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)).text).toContain("fine");
    },
  );
});

describe("limits", () => {
  test.each([
    ["nothing", "", ""],
    ["half a request line", "GET / HT", "HTTP/1.1 408 "],
    ["half a head", `GET / HTTP/1.1\r\n${HOST}X-A: 1\r\n`, "HTTP/1.1 408 "],
  ])("a connection that sends %s is closed after a while", async (_, bytes, answer) => {
    const port = await beforeHandler(() => {}, { limits: { headMs: 200 } });
    const { text } = await raw(port, bytes);
    expect(text.slice(0, 13)).toBe(answer);
  });

  test("a head that comes drop by drop has the same time", async () => {
    const port = await beforeHandler(() => {}, { limits: { headMs: 300 } });
    const client = connect(port, "127.0.0.1");
    client.write(`GET / HTTP/1.1\r\n${HOST}`);
    const drip = setInterval(() => client.write("X: 1\r\n"), 20);
    const { text } = await read(client);
    clearInterval(drip);
    expect(text).toMatch(/^HTTP\/1.1 408 [\s\S]*request-timeout/);
  });

  test("a body may take longer", async () => {
    const port = await beforeHandler((req, res) => void req.resume().once("end", () => res.end("whole")), {
      limits: { headMs: 100 },
    });
    const client = connect(port, "127.0.0.1");
    client.write(`POST / HTTP/1.1\r\n${HOST}Connection: close\r\nContent-Length: 10\r\n\r\n`);
    const answer = read(client);
    for (let i = 0; i < 10; i++) {
      await delay(50);
      client.write("x");
    }
    expect((await answer).text).toContain("whole");
  });

  test("a head beyond 64 KiB is a 431 that says so", async () => {
    const port = await beforeHandler((_, res) => res.end());
    const { text } = await raw(port, `GET / HTTP/1.1\r\n${HOST}X: ${"x".repeat(70_000)}\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1.1 431 [\s\S]*larger than 64 KiB/);
  });

  test("connections beyond the limit are reset, and there is room again when one closes", async () => {
    const lines: string[] = [];
    const edge = await listen(createServer((_, res) => res.end("fine")));
    const { port } = await forwarding(edge, { limits: { connections: 2 }, log: (line) => lines.push(line) });
    const open = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
    await Promise.all(open.map((socket) => once(socket, "connect")));
    expect(await raw(port, "")).toEqual({ text: "", broken: true });
    expect(lines).toEqual([expect.stringContaining("2 connections are open")]);
    open[0]?.resetAndDestroy();
    const ask = `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    await expect.poll(() => raw(port, ask).then(({ text }) => text)).toContain("fine");
    open[1]?.destroy();
  });
});

test("a WebSocket that its client half-closes lives until its server ends it", async () => {
  const server = createServer();
  server.on("upgrade", (_req: IncomingMessage, socket: Socket) => {
    socket.on("error", () => {}).resume();
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.once("end", () => setTimeout(() => socket.end("last words"), 300));
  });
  const port = await before(server, { limits: { leftMs: 50 } });
  const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  client.write(`GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  client.once("data", () => client.end());
  expect((await read(client)).text).toMatch(/last words$/);
});

test("a large refusal of a WebSocket arrives whole", async () => {
  const server = createServer();
  server.on("upgrade", (req: IncomingMessage, socket: Socket) => {
    expect(req.headers.upgrade).toBe("websocket");
    socket.on("error", () => {});
    socket.end(`HTTP/1.1 403 Forbidden\r\nContent-Length: 3000000\r\n\r\n${"x".repeat(3_000_000)}`);
  });
  const port = await before(server);
  const client = connect(port, "127.0.0.1");
  client.write(`GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  client.pause();
  setTimeout(() => client.resume(), 200);
  const { text } = await read(client);
  expect(text).toMatch(/^HTTP\/1.1 403 /);
  expect(text.length).toBeGreaterThan(3_000_000);
});

test.each(["POST", "GET"])("a %s with a body that asks for a WebSocket keeps its body", async (method) => {
  const port = await beforeHandler(async (req, res) => res.end(`<${req.headers.upgrade} ${await text(req)}>`));
  const ask = `${method} / HTTP/1.1\r\n${HOST}Connection: Upgrade, close\r\nUpgrade: websocket\r\n`;
  expect((await raw(port, `${ask}Content-Length: 3\r\n\r\nabc`)).text).toContain("<undefined abc>");
});
