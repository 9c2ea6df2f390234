// What a backend sent is what the client gets, and the other way round, byte for byte, by both transports: a real server
// in this process stands behind the whole of `npm start`.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dial, Emulation } from "./emulation.ts";

const plain = Buffer.from("All that a backend sends is its own business. ".repeat(2_000));
const bodies = { gzip: gzipSync(plain), br: brotliCompressSync(plain), odd: Buffer.from([0, 255, 13, 10, 0]) };

/** What the backend does next, set by each test. */
let handle: (req: IncomingMessage, res: ServerResponse) => unknown;
const backend = createServer((req, res) => {
  if (req.url === "/") return res.end("ready");
  return void handle(req, res);
});

let emulation: Emulation;
beforeAll(async () => {
  backend.listen(18_099, "127.1.7.9");
  await once(backend, "listening");
  // Both Services get this server as their only endpoint: no demo pods.
  emulation = await Emulation.start((yaml) =>
    yaml
      .split("---\n")
      .filter((document) => !/name: web(-direct)?-2\n/.test(document))
      .join("---\n")
      .replaceAll("127.1.7.1", "127.1.7.9")
      .replaceAll("port: 18081", "port: 18099")
      .replaceAll('    postern.dev/demo-pods: "true"\n', ""),
  );
  expect(emulation.ready.pods).toEqual([]);
});
afterAll(async () => {
  await emulation?.stop();
  backend.close();
  backend.closeAllConnections();
});

/** Method, path, headers and body, to the service; the answer, its body unread. */
async function send(
  service: string,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: Buffer } = {},
): Promise<IncomingMessage> {
  const { body, ...rest } = options;
  const req = dial(new URL(path, emulation.url(service)), rest);
  req.on("error", () => {});
  req.end(body);
  const [res] = (await once(req, "response")) as [IncomingMessage];
  return res;
}

describe.each(["web", "web-direct"])("%s", (service) => {
  test.each([
    ["gzip", "gzip"],
    ["br", "br"],
    ["odd", undefined],
  ] as const)("a %s body keeps its bytes, its length and its encoding", async (name, encoding) => {
    const body = bodies[name];
    handle = (_, res) => {
      if (encoding) res.setHeader("content-encoding", encoding);
      res.setHeader("content-length", body.length);
      res.end(body);
    };
    for (const accept of ["gzip, br", "identity", undefined]) {
      const res = await send(service, "/body", accept === undefined ? {} : { headers: { "accept-encoding": accept } });
      expect([res.headers["content-encoding"], res.headers["content-length"]]).toEqual([encoding, String(body.length)]);
      expect((await buffer(res)).equals(body)).toBe(true);
    }
  });

  test("a body that is plain stays so, whatever the client accepts", async () => {
    handle = (_, res) => res.writeHead(200, { "content-type": "text/html" }).end(plain);
    const res = await send(service, "/plain", { headers: { "accept-encoding": "gzip, br" } });
    expect(res.headers["content-encoding"]).toBeUndefined();
    expect((await buffer(res)).equals(plain)).toBe(true);
  });

  test("the backend hears what the client accepts, not what the edge would", async () => {
    handle = (req, res) => res.end(String(req.headers["accept-encoding"]));
    const heard = async (headers: Record<string, string>) =>
      (await buffer(await send(service, "/accept", { headers }))).toString();
    expect(await heard({ "accept-encoding": "zstd;q=0.5, identity" })).toBe("zstd;q=0.5, identity");
    expect(await heard({})).toBe("undefined");
  });

  test("a range", async () => {
    handle = (req, res) =>
      res.writeHead(206, { "content-range": `bytes 2-4/5`, "x-asked": req.headers.range }).end("cde");
    const res = await send(service, "/range", { headers: { range: "bytes=2-4" } });
    expect([res.statusCode, res.headers["content-range"], res.headers["x-asked"]]).toEqual([
      206,
      "bytes 2-4/5",
      "bytes=2-4",
    ]);
    expect((await buffer(res)).toString()).toBe("cde");
  });

  test.each([
    ["HEAD", 200, { "content-length": "12345" }],
    ["GET", 204, {}],
    ["GET", 304, { etag: '"e"' }],
    ["DELETE", 200, { "content-length": "0" }],
    ["OPTIONS", 405, { allow: "GET" }],
  ])("%s answered with %i has its headers and no body", async (method, status, headers) => {
    handle = (req, res) => res.writeHead(req.method === method ? status : 500, headers).end();
    const res = await send(service, "/none", { method });
    expect(res.statusCode).toBe(status);
    expect(res.headers).toMatchObject(headers);
    expect(await buffer(res)).toHaveLength(0);
  });

  test("several cookies stay several; a redirect is the client's to follow", async () => {
    handle = (_, res) => res.writeHead(302, { "set-cookie": ["a=1", "b=2; Path=/"], location: "/elsewhere" }).end();
    const res = await send(service, "/cookies");
    expect([res.statusCode, res.headers["set-cookie"], res.headers.location]).toEqual([
      302,
      ["a=1", "b=2; Path=/"],
      "/elsewhere",
    ]);
    res.resume();
  });

  test("trailers are dropped cleanly", async () => {
    handle = (_, res) => {
      res.writeHead(200, { trailer: "x-sum" });
      res.write("body");
      res.addTrailers({ "x-sum": "1" });
      res.end();
    };
    const res = await send(service, "/trailers");
    expect((await buffer(res)).toString()).toBe("body");
    expect([res.headers.trailer, res.trailers]).toEqual([undefined, {}]);
  });

  test("the backend is told who the client is, and is not told lies", async () => {
    handle = (req, res) => res.end(JSON.stringify(req.headers));
    const lies = {
      "x-forwarded-for": "9.9.9.9",
      forwarded: "for=9.9.9.9",
      "cf-connecting-ip": "9.9.9.9",
      "x-postern-client": "9.9.9.9",
      "x-real-ip": "9.9.9.9",
    };
    const heard = JSON.parse((await buffer(await send(service, "/who", { headers: lies }))).toString()) as Record<
      string,
      string
    >;
    expect(heard["x-forwarded-for"]).toBe("127.0.0.1");
    expect(heard["x-forwarded-host"]).toBe(emulation.url(service).host);
    expect(heard.host).toMatch(service === "web" ? emulation.url(service).host : /^127\.0\.7\.[12]:31889$/);
    expect(
      Object.keys(heard).filter((name) => name.startsWith("x-postern-") || name.startsWith("cf-connecting")),
    ).toEqual([]);
    expect(JSON.stringify(heard)).not.toContain("9.9.9.9");
  });

  test("an upload arrives whole; Expect: 100-continue is answered", async () => {
    handle = async (req, res) => {
      const body = await buffer(req);
      // Of unknown length for the client, it may have become known on the way.
      res.end(`${req.headers.expect} ${req.headers["content-length"] ?? plain.length} ${body.equals(plain)}`);
    };
    const length = { "content-length": String(plain.length) };
    for (const [headers, expected] of [
      [length, `undefined ${plain.length} true`],
      [{ ...length, expect: "100-continue" }, `undefined ${plain.length} true`],
      [{ "transfer-encoding": "chunked" }, `undefined ${plain.length} true`],
    ] as const)
      expect((await buffer(await send(service, "/up", { method: "POST", headers, body: plain }))).toString()).toBe(
        expected,
      );
  });

  test("an answer cut by the backend is broken, or a clean 502; never a 200 that looks whole", async () => {
    handle = (_, res) => {
      res.writeHead(200, { "content-type": "text/plain" });
      res.write("the beginning", () => setTimeout(() => res.socket?.resetAndDestroy(), 100));
    };
    const cut = await send(service, "/cut");
    await expect(buffer(cut)).rejects.toThrow();

    handle = (req) => req.socket.resetAndDestroy();
    const refused = await send(service, "/reset", { method: "POST" });
    expect([refused.statusCode, refused.headers["x-postern-reason"]]).toEqual([502, "endpoint-broke"]);
    refused.resume();
  });

  test.each(["before the answer", "in the middle of it"])(
    "a client that leaves %s is gone for the backend",
    async (when) => {
      const arrived = Promise.withResolvers<void>();
      const left = Promise.withResolvers<void>();
      handle = (_, res) => {
        res.once("close", () => left.resolve());
        if (when === "in the middle of it") res.write("more to come");
        arrived.resolve();
      };
      const req = dial(new URL("/leave", emulation.url(service)));
      req.on("error", () => {});
      req.end();
      await arrived.promise;
      if (when === "in the middle of it") {
        const [res] = (await once(req, "response")) as [IncomingMessage];
        await once(res, "data");
        res.on("error", () => {});
      }
      req.destroy();
      await left.promise;
    },
  );
});
