// The listener proxy between a real client and a real server (in place of the edge), on real sockets.
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { before, beforeBytes, beforeHandler, cleanup, forwarding, get, listen, raw } from "./between.ts";

describe("heads", () => {
  test("a request crosses byte for byte, but for our own headers", async () => {
    const [port, head] = await beforeBytes("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "end");
    await raw(
      port,
      "GET /a%20b?x=%2f&y HTTP/1.1\r\nHost: Shop.localhost:8888\r\nX-Two: 2\r\nx-one: \xe9\r\nX-Two: 1\r\n" +
        "X-Postern-Forwarder: guess\r\nConnection: close\r\n\r\n",
    );
    expect((await head).split("\r\n")).toEqual([
      "GET /a%20b?x=%2f&y HTTP/1.1",
      "host: Shop.localhost:8888",
      "connection: keep-alive",
      "X-Two: 2",
      "x-one: \xe9",
      "X-Two: 1",
      `x-postern-raw: ${btoa('["x-one","\xe9"]')}`,
      "x-postern-forwarder: s3cret",
      "x-postern-client: 127.0.0.1",
      "x-postern-port: 8888",
      "x-postern-accept-encoding: -",
      "",
      "",
    ]);
  });

  test("an answer crosses byte for byte, without its trailers", async () => {
    const [port] = await beforeBytes(
      "HTTP/1.1 299 Quite Fine\r\nSet-Cookie: b=2\r\nX-Odd: \xe9\r\nSet-Cookie: a=1\r\nTrailer: x-sum\r\n" +
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
    );
    const { text } = await raw(port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(text).toBe(
      "HTTP/1.1 299 Quite Fine\r\nSet-Cookie: b=2\r\nX-Odd: \xe9\r\nSet-Cookie: a=1\r\n" +
        "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
  });

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200, "1234"],
    ["GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, undefined],
    ["GET", "HTTP/1.1 304 Not Modified\r\nETag: e\r\n\r\n", 304, undefined],
    ["GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"],
  ])("%s answered %j has no body and ends", async (method, answer, status, length) => {
    const [port] = await beforeBytes(answer);
    const res = await get(port, { method });
    expect(res.statusCode).toBe(status);
    expect(res.headers["content-length"]).toBe(length);
    expect(await buffer(res)).toHaveLength(0);
  });

  test("a compressed body and a range stay as they are", async () => {
    const body = gzipSync("x".repeat(100_000));
    const port = await beforeHandler((req, res) => {
      res.writeHead(206, { "content-encoding": "gzip", "content-range": `bytes 0-9/10`, "x-range": req.headers.range });
      res.end(body);
    });
    const res = await get(port, { headers: { range: "bytes=0-9" } });
    expect([res.statusCode, res.headers["content-encoding"], res.headers["x-range"]]).toEqual([
      206,
      "gzip",
      "bytes=0-9",
    ]);
    expect((await buffer(res)).equals(body)).toBe(true);
  });

  test("requests sent in one packet on one connection are answered in order", async () => {
    const port = await beforeHandler((req, res) => {
      setImmediate(() => res.end(`<${req.url}>`));
    });
    const one = (path: string, last = false) =>
      `GET ${path} HTTP/1.1\r\nHost: h\r\n${last ? "Connection: close\r\n" : ""}\r\n`;
    const { text } = await raw(port, one("/1") + one("/2") + one("/3", true));
    expect(text.match(/<[^>]+>/g)).toEqual(["</1>", "</2>", "</3>"]);
  });

  test("what is not HTTP gets a 400 and does no harm", async () => {
    const port = await beforeHandler((_, res) => res.end("fine"));
    for (const bytes of ["GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"])
      expect((await raw(port, bytes)).text).toMatch(/^HTTP\/1.1 400 /);
    expect((await buffer(await get(port))).toString()).toBe("fine");
  });

  test("no edge is a 502 that says so", async () => {
    const gone = createTcpServer();
    const port = await before(gone);
    gone.close();
    await once(gone, "close");
    const res = await get(port);
    expect(res.statusCode).toBe(502);
    expect(JSON.parse((await buffer(res)).toString())).toMatchObject({
      reason: "edge-away",
      detail: expect.stringContaining("The request was not sent"),
      remedy: expect.stringContaining("terminal"),
    });
  });
});

describe("bodies", () => {
  test("an upload arrives whole, with its framing", async () => {
    const port = await beforeHandler(async (req, res) => {
      const body = await buffer(req);
      res.end(`${req.headers["content-length"] ?? req.headers["transfer-encoding"]} ${body.length}`);
    });
    for (const [headers, expected] of [
      [{ "content-length": "300000" }, "300000 300000"],
      [{ "transfer-encoding": "chunked" }, "chunked 300000"],
    ] as const) {
      const req = request({ port, host: "127.0.0.1", method: "POST", headers, agent: false });
      req.end(Buffer.alloc(300_000, 7));
      const [res] = (await once(req, "response")) as [IncomingMessage];
      expect((await buffer(res)).toString()).toBe(expected);
    }
  });

  test("Expect: 100-continue is answered here", async () => {
    const port = await beforeHandler(async (req, res) => {
      res.end(`${req.headers.expect} ${(await buffer(req)).length}`);
    });
    const req = request({ port, host: "127.0.0.1", method: "PUT", headers: { expect: "100-continue" }, agent: false });
    req.flushHeaders();
    await once(req, "continue");
    req.end("12345");
    const [res] = (await once(req, "response")) as [IncomingMessage];
    expect((await buffer(res)).toString()).toBe("undefined 5");
  });

  test("an answer before the end of the upload reaches the client", async () => {
    const port = await beforeHandler((_, res) => {
      res.writeHead(413).end("too large");
    });
    const req = request({ port, host: "127.0.0.1", method: "POST", agent: false });
    req.on("error", () => {});
    req.write(Buffer.alloc(1_000_000));
    const [res] = (await once(req, "response")) as [IncomingMessage];
    expect([res.statusCode, (await buffer(res)).toString()]).toEqual([413, "too large"]);
    req.destroy();
  });

  test("the head of a stream that is still silent arrives at once", async () => {
    const port = await beforeHandler((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    });
    const res = await get(port);
    expect(res.headers["content-type"]).toBe("text/event-stream");
    res.destroy();
  });

  test("a client that does not read stops the server, and both go on when it does", async () => {
    let sent = 0;
    const stalled = Promise.withResolvers<void>();
    const total = 64 * 1024 * 1024;
    const port = await beforeHandler(async (_, res) => {
      const chunk = Buffer.alloc(64 * 1024);
      for (; sent < total; sent += chunk.length) {
        if (res.write(chunk)) continue;
        const drained = once(res, "drain");
        // Full for half a second: nobody reads. (Reading takes milliseconds here, and no event tells that nobody does.)
        const timer = setTimeout(() => stalled.resolve(), 500);
        await drained;
        clearTimeout(timer);
      }
      res.end();
    });
    const res = await get(port);
    await stalled.promise;
    expect(sent).toBeLessThan(total / 2);
    expect((await buffer(res)).length).toBe(total);
  });
});

describe("breaks", () => {
  test.each([
    ["a length", "Content-Length: 10\r\n\r\nhello"],
    ["chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
  ])("an answer with %s that the edge cuts is broken for the client", async (_, rest) => {
    for (const how of ["end", "reset"] as const) {
      const [port] = await beforeBytes(`HTTP/1.1 200 OK\r\n${rest}`, how);
      const res = await get(port);
      await expect(buffer(res)).rejects.toThrow();
    }
  });

  test("a client of HTTP/1.0 sees a reset, not an end, when the edge cuts an answer", async () => {
    const [port] = await beforeBytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "reset");
    const { broken } = await raw(port, "GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    expect(broken).toBe(true);
  });

  test.each(["destroy", "resetAndDestroy"] as const)("a client's %s is a reset for the edge, at once", async (how) => {
    // An end alone would pass for a half-close there, which leaves the backend at work.
    const gone = Promise.withResolvers<unknown>();
    const port = await before(
      createTcpServer((socket) => {
        socket.on("error", (error) => gone.resolve("code" in error && error.code));
        socket.on("end", () => gone.resolve("end"));
        socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"));
      }),
    );
    const res = await get(port);
    await once(res, "data");
    res.socket[how]();
    expect(await gone.promise).toBe("ECONNRESET");
  });

  test("a client that leaves before the answer, or in mid-upload, is gone for the edge too", async () => {
    const arrived: (() => void)[] = [];
    const gone: (() => void)[] = [];
    const port = await beforeHandler((req) => {
      req.socket.once("close", () => gone.shift()?.());
      req.on("error", () => {});
      req.resume();
      arrived.shift()?.();
    });
    for (const bytes of [
      "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
    ]) {
      const seen = new Promise<void>((resolve) => arrived.push(resolve));
      const left = new Promise<void>((resolve) => gone.push(resolve));
      const socket: Socket = connect(port, "127.0.0.1");
      socket.write(bytes);
      await seen;
      socket.resetAndDestroy();
      await left;
    }
  });
});

describe("WebSockets", () => {
  async function beforeWebSockets(): Promise<[number, WebSocketServer]> {
    const server = createServer();
    const webSockets = new WebSocketServer({
      server,
      handleProtocols: (offered) => [...offered].at(-1) ?? false,
      verifyClient: (info, answer) =>
        info.req.url === "/no" ? answer(false, 403, "not you", { "x-why": "because" }) : answer(true),
    });
    webSockets.on("connection", (socket) => {
      socket.on("message", (data, binary) => socket.send(data, { binary }));
      socket.on("error", () => {});
    });
    return [await before(server), webSockets];
  }

  test("echo text and binary, with the subprotocol and close codes kept", async () => {
    const [port, server] = await beforeWebSockets();
    const client = new WebSocket(`ws://127.0.0.1:${port}/`, ["a", "b"]);
    const [accepted] = await once(server, "connection");
    await once(client, "open");
    expect(client.protocol).toBe("b");
    for (const message of ["grüß", Buffer.alloc(200_000, 3)]) {
      client.send(message);
      const [echo, binary] = await once(client, "message");
      expect(binary).toBe(typeof message !== "string");
      expect(Buffer.from(message).equals(echo)).toBe(true);
    }
    client.close(4001, "done");
    const [code, reason] = await once(accepted, "close");
    expect([code, String(reason)]).toEqual([4001, "done"]);
  });

  test("a refusal reaches the client as the answer that it is", async () => {
    const [port] = await beforeWebSockets();
    const client = new WebSocket(`ws://127.0.0.1:${port}/no`);
    client.on("error", () => {});
    const [, res] = await once(client, "unexpected-response");
    expect([res.statusCode, res.headers["x-why"]]).toEqual([403, "because"]);
    expect((await buffer(res)).toString()).toBe("not you");
  });

  test("a break on either side breaks the other", async () => {
    // Resets: an end would pass through the pipes by itself.
    const [port, server] = await beforeWebSockets();
    const open = async () => {
      const client = new WebSocket(`ws://127.0.0.1:${port}/`);
      client.on("error", () => {});
      const [[backend, request], [response]] = await Promise.all([once(server, "connection"), once(client, "upgrade")]);
      const code = (socket: WebSocket) => new Promise((resolve) => socket.once("close", resolve));
      return { client: response.socket, backend: request.socket, codes: [code(client), code(backend)] };
    };
    const left = await open();
    left.client.resetAndDestroy();
    expect(await left.codes[1]).toBe(1006);
    const right = await open();
    right.backend.resetAndDestroy();
    expect(await right.codes[0]).toBe(1006);
  });

  test("other upgrades are ignored, as HTTP allows", async () => {
    const port = await beforeHandler((req, res) => res.end(`${req.headers.upgrade}`));
    const { text } = await raw(port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n");
    expect(text).toMatch(/^HTTP\/1.1 200 [\s\S]*undefined/);
  });
});

describe("refusing by reset", () => {
  const saying = (reason: string, status = 404) =>
    createServer(
      (_, res) => void res.writeHead(status, reason === "" ? {} : { "x-postern-reason": reason }).end("words"),
    );

  test.each([["no-such-listener"], ["no-endpoints"], ["source-refused"], ["no-eligible-nodes"], ["no-available-node"]])(
    "%s: the connection closes without a byte",
    async (reason) => {
      const port = await before(saying(reason), { refuse: "reset" });
      expect(await raw(port, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")).toMatchObject({ text: "" });
    },
  );

  test.each([[""], ["timeout"], ["endpoint-broke"], ["body-too-large"]])("%s: is answered", async (reason) => {
    const port = await before(saying(reason, 502), { refuse: "reset" });
    expect((await get(port)).statusCode).toBe(502);
  });

  test("is not what it does unasked", async () => {
    expect((await get(await before(saying("no-such-listener")))).statusCode).toBe(404);
  });
});

describe("an edge that restarts", () => {
  const PATIENCE = { patienceMs: 10_000 };
  /** An edge at this port: its answer is `text`. */
  const edgeAt = async (port: number, text: string): Promise<Server> => {
    const server = createServer((req, res) => void req.resume().once("end", () => res.end(text)));
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    cleanup.push(
      () => server.closeAllConnections(),
      () => server.close(),
    );
    return server;
  };

  /** A proxy in front of this edge, whose owner says at `ends()` that its process ended (and is up again at once). */
  const beforeMortal = async (handle: (req: IncomingMessage, res: ServerResponse, ends: () => void) => void) => {
    let ends = () => {};
    const edge = await listen(createServer((req, res) => handle(req, res, () => ends())));
    const { proxy, port } = await forwarding(edge, PATIENCE);
    ends = () => proxy.pause(Promise.resolve());
    return port;
  };

  test("a request that was lost with the edge's process is sent again, once, if it may be", async () => {
    let asked: (string | undefined)[] = [];
    const port = await beforeMortal((req, res, ends) => {
      asked.push(req.headers["x-postern-again"] as string | undefined);
      if (req.url === "/twice" || asked.length === 1) {
        req.socket.destroy();
        // The owner knows it a moment later than the socket.
        setTimeout(ends, 50);
      } else res.end(`${req.method} ${asked.length}`);
    });
    expect((await buffer(await get(port))).toString()).toBe("GET 2");
    expect(asked).toEqual([undefined, "1"]);
    asked = [];
    expect((await get(port, { method: "POST" })).statusCode).toBe(502);
    expect(asked).toHaveLength(1);
    asked = [];
    expect((await get(port, { path: "/twice" })).statusCode).toBe(502);
    expect(asked).toHaveLength(2);
  });

  test("so is one of whose answer there was the head alone; a head whose body comes later is passed on", async () => {
    let asked = 0;
    const port = await beforeMortal((req, res, ends) => {
      asked++;
      res.setHeader("content-length", 5).flushHeaders();
      if (req.url === "/breaks" && asked === 1) {
        ends();
        req.socket.destroySoon();
      } else if (req.url === "/begins") {
        ends();
        req.socket.write("he", () => req.socket.destroySoon());
      } else if (req.url !== "/waits") res.end("whole");
    });
    expect((await buffer(await get(port, { path: "/breaks" }))).toString()).toBe("whole");
    expect(asked).toBe(2);
    const waiting = await get(port, { path: "/waits" });
    expect(waiting.headers["content-length"]).toBe("5");
    waiting.on("error", () => {}).destroy();
    asked = 0;
    await expect(get(port, { path: "/begins" }).then(buffer)).rejects.toThrow();
    expect(asked).toBe(1);
  });

  test.each([
    ["no answer", ""],
    ["a head without its body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    ["a head that is too large", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(300_000)}\r\n\r\n`],
    ["no HTTP", "SSH-2.0-OpenSSH\r\n"],
    ["an unasked 101", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
  ])("what an edge that is up breaks off with %s is never sent again", async (_, bytes) => {
    for (const method of ["GET", "DELETE", "PUT"]) {
      let asked = 0;
      const lines: string[] = [];
      const port = await before(
        createTcpServer((socket) => {
          socket.on("error", () => {});
          socket.once("data", () => {
            asked++;
            socket.end(bytes, "latin1");
          });
        }),
        { ...PATIENCE, limits: { wordMs: 20 }, log: (line) => lines.push(line) },
      );
      const res = await get(port, { method });
      expect(res.statusCode).toBe(502);
      const { requestId } = JSON.parse((await buffer(res)).toString()) as { requestId: string };
      expect(asked).toBe(1);
      // The log says why.
      expect(lines).toEqual([expect.stringContaining(requestId)]);
    }
  });

  test("an answer's head may have 256 KiB", async () => {
    const port = await beforeHandler((_, res) => {
      res.setHeader("x-long", "x".repeat(200_000)).end("whole");
    });
    const res = await get(port, { maxHeaderSize: 300_000 });
    expect([res.statusCode, res.headers["x-long"]?.length]).toEqual([200, 200_000]);
  });

  test("requests wait while it is down, with their bodies", async () => {
    const gone = createTcpServer();
    const edge = await listen(gone);
    gone.close();
    await once(gone, "close");
    const { proxy, port } = await forwarding(edge, PATIENCE);
    const up = Promise.withResolvers<void>();
    proxy.pause(up.promise);
    const answer = raw(port, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody");
    // Not held by the pause alone: this one dials until the edge is there.
    await edgeAt(edge, "back");
    up.resolve();
    expect((await answer).text).toContain("back");
  });

  test("patience ends", async () => {
    const gone = createTcpServer();
    const edge = await listen(gone);
    gone.close();
    await once(gone, "close");
    const { proxy, port } = await forwarding(edge, { patienceMs: 200 });
    proxy.pause(new Promise(() => {}));
    expect((await get(port)).statusCode).toBe(502);
  });
});
