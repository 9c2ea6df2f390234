// Transport direct over the real runtime and raw sockets: what bytes a backend gets, and what bytes a client gets back. Starts
// workerd with the Worker, as `npm run edge` does, and a backend that answers what it is told to.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { freePort } from "../../../src/host/process/free-port.ts";
import { builtWorker } from "../../../src/host/workerd/built-worker.ts";
import { workerdConfig } from "../../../src/host/workerd/configuration.ts";
import { workerdBinary } from "../../../src/host/workerd/binary.ts";
import { service } from "../routing/snapshots.ts";

const HOST = "web-default-home.edge.test";
const folder = mkdtempSync(join(tmpdir(), "postern-direct-"));
let edge: number;
let backend: Server;
let stop = (): void => {};
/** Heads that the backend got, each with what came with it. */
let got: string[] = [];
/** What it answers, as bytes; "": it breaks the connection. */
let answer = "";

beforeAll(async () => {
  backend = createServer((socket) => {
    let text = "";
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (end < 0 || text.length < end + 4 + length) return;
      // The prober's own have no such header.
      if (text.includes("x-forwarded-host")) got.push(text);
      text = "";
      if (answer === "") socket.resetAndDestroy();
      else socket.write(Buffer.from(answer, "latin1"));
    });
  });
  backend.listen(0, "127.0.0.1");
  await once(backend, "listening");
  edge = await freePort();
  mkdirSync(join(folder, "state"));
  const { declared, module } = await builtWorker(join(folder, "worker.json"), {
    assets: join(folder, "assets"),
    log: join(folder, "build.log"),
  });
  writeFileSync(join(folder, "postern.js"), module);
  const bindings = {
    EDGE_DOMAIN: "edge.test",
    ADMIN_HOST: `127.0.0.1:${edge}`,
    ADMIN_TOKEN_SHA256: createHash("sha256").update("admin").digest("hex"),
    LISTENER_PORTS: "any",
    DIRECT_ADDRESSES: "any",
    PROBE_SECONDS: "3600",
  };
  writeFileSync(
    join(folder, "workerd.capnp"),
    workerdConfig("postern.js", declared, {
      listen: `127.0.0.1:${edge}`,
      storage: join(folder, "state"),
      assets: join(folder, "assets"),
      bindings,
      loopback: true,
    }),
  );
  const child = spawn(workerdBinary(), ["serve", "--experimental", join(folder, "workerd.capnp")], { stdio: "ignore" });
  stop = () => child.kill("SIGKILL");
  await answering();
  const api = async (method: string, path: string, token: string, body: object, headers = {}): Promise<Response> =>
    await fetch(`http://127.0.0.1:${edge}/api/v1/clusters${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  const { token } = (await (await api("POST", "", "admin", { name: "home" })).json()) as { token: string };
  const { port } = backend.address() as { port: number };
  const ports = [{ name: "http", port: 80, protocol: "TCP" as const, nodePort: port }];
  const snapshot = {
    version: 1,
    nodes: [{ name: "n1", directAddress: "127.0.0.1" }],
    services: [service("web", { transport: "direct", ports })],
  };
  answer = reply("x");
  const published = await api("PUT", "/home/snapshot", token, snapshot, { "postern-generation": "1.1" });
  expect(published.status).toBe(200);
  // It builds the Worker, which takes a busy machine a while.
}, 60_000);
afterAll(() => {
  stop();
  backend.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  got = [];
  answer = reply("x");
});

const reply = (body: string, head = "HTTP/1.1 200 OK", ...lines: string[]): string =>
  [head, `Content-Length: ${body.length}`, ...lines, "", body].join("\r\n");

async function answering(): Promise<void> {
  for (let left = 200; ; left--) {
    const socket = connect(edge, "127.0.0.1");
    const up = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (up) return;
    if (left === 0) throw new Error("workerd does not serve");
    // The process does not say when it serves, so it is asked until it does.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Sends these bytes, and gives those that came back until `ends` is among them. */
function raw(bytes: string, ends = "x"): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(edge, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const body = text.split("\r\n\r\n")[1] ?? "";
      if (!body.endsWith(ends) && !body.endsWith("}\n")) return;
      socket.destroy();
      resolve(text);
    });
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
    socket.write(Buffer.from(bytes, "latin1"));
  });
}
const get = (target = "/", ...lines: string[]): Promise<string> =>
  raw([`GET ${target} HTTP/1.1`, `Host: ${HOST}`, ...lines, "", ""].join("\r\n"));

describe("a request", () => {
  test("its header bytes pass as they came, whether they are text or not", async () => {
    await get(
      "/",
      "X-Latin: caf\xe9",
      "X-Utf: \xe5\xa4\xa9\xe6\xb0\x94",
      "User-Agent: B\xfccher/1",
      "Cookie: a=\xff",
      "Cookie: b=1",
    );
    for (const line of ["X-Latin: caf\xe9", "X-Utf: \xe5\xa4\xa9\xe6\xb0\x94", "User-Agent: B\xfccher/1"])
      expect(got[0]).toContain(`${line}\r\n`);
    expect(got[0]).toContain("a=\xff");
  });

  test("what Connection lists ends here, and what only the edge may say is the edge's", async () => {
    await get(
      "/",
      "Connection: keep-alive, X-Hop",
      "X-Hop: 1",
      "X-Forwarded-For: 198.51.100.9",
      "X-Postern-Raw: []",
      "Keep-Alive: 5",
      "TE: trailers",
    );
    expect(got[0]).not.toMatch(/x-hop|198\.51|x-postern|^keep-alive:|^te:/im);
    expect(got[0]?.match(/x-forwarded-host: web-default-home\.edge\.test\r\n/gi)).toHaveLength(1);
  });

  test.each(["/x?a=1", "//x//y", "/%zz", "/a/...", "/~!$&()*+,;=:@?[]|{}^"])(
    "target %s passes as it came",
    async (target) => {
      await get(target);
      expect(got[0]?.split(" ")[1]).toBe(target);
    },
  );

  // What is not bodiless and idempotent workerd does not send again, though the connection had been kept.
  test.each([
    ["PUT", "abc"],
    ["POST", ""],
    ["PATCH", ""],
  ])("%s %s on a kept connection that breaks is seen once", async (method, body) => {
    expect(await get()).toContain(" 200 ");
    [answer, got] = ["", []];
    const length = body === "" ? [] : [`Content-Length: ${body.length}`];
    const text = await raw([`${method} / HTTP/1.1`, `Host: ${HOST}`, ...length, "", body].join("\r\n"), "");
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(got).toHaveLength(1);
  });

  test.each(["PUT", "DELETE", "OPTIONS"])(
    "%s without a body, which workerd would send again and again, goes by tunnel: here nobody is connected",
    async (method) => {
      expect(await get()).toContain(" 200 ");
      [answer, got] = ["", []];
      for (const lines of [[], ["Content-Length: 0"]]) {
        const text = await raw([`${method} / HTTP/1.1`, `Host: ${HOST}`, ...lines, "", ""].join("\r\n"), "");
        expect(text).toMatch(/^HTTP\/1\.1 503 [^]*x-postern-reason: no-available-node/i);
      }
      expect(got).toEqual([]);
    },
  );

  test("what a fetch would change or refuse goes by tunnel: here nobody is connected, and no node is blamed", async () => {
    const answers = await Promise.all([
      get("/a/../b"),
      get("/x?it's"),
      get("/", "Content-Length: 3\r\n\r\nabc"),
      get("/", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0"),
      raw(`HEAD / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 3\r\n\r\nabc`, ""),
    ]);
    for (const each of answers) expect(each).toMatch(/^HTTP\/1\.1 503 [^]*x-postern-reason: no-available-node/i);
    expect(got).toEqual([]);
    expect(await get()).toContain(" 200 ");
  });

  test("a GET with a body of length 0 has none", async () => {
    expect(await get("/", "Content-Length: 0")).toContain(" 200 ");
  });

  test.each(["POST", "PUT"])("%s passes its body", async (method) => {
    const send = `${method} / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 4\r\n\r\ndata`;
    expect(await raw(send)).toContain(" 200 ");
    expect(got.join("")).toMatch(/content-length: 4\r\n[^]*data$/i);
  });
});

describe("an answer", () => {
  test("its header bytes pass as they came, and several Set-Cookie stay several", async () => {
    const lines = [
      "X-Latin: caf\xe9",
      "Content-Disposition: attachment; filename=\xd0\xbe.pdf",
      "Set-Cookie: a=1\xe9",
      "Set-Cookie: b=2",
    ];
    answer = reply("x", "HTTP/1.1 200 OK", ...lines);
    const plain = await get();
    for (const line of lines) expect(plain).toContain(`${line}\r\n`);
    // The same where a copy is made, because something must not pass.
    answer = reply(
      "x",
      "HTTP/1.1 200 Fine",
      ...lines,
      "X-Postern-Raw: []",
      "X-Postern-Unsent: 1",
      "X-Postern-Generation: 7",
    );
    const copied = await get();
    for (const line of lines) expect(copied).toContain(`${line}\r\n`);
    expect(copied).toMatch(/^HTTP\/1\.1 200 Fine\r\n/);
    expect(copied).not.toMatch(/x-postern/i);
  });

  test("what Connection lists ends here, and other hop-by-hop headers", async () => {
    answer = reply("x", "HTTP/1.1 200 OK", "Connection: keep-alive, X-Hop", "X-Hop: 1", "X-End: \xe9");
    const text = await get();
    expect(text).not.toMatch(/x-hop/i);
    expect(text).toContain("X-End: \xe9\r\n");
    answer = reply("x", "HTTP/1.1 200 OK", "Proxy-Connection: keep-alive", "Keep-Alive: timeout=5");
    expect(await get()).not.toMatch(/proxy-connection|keep-alive/i);
  });

  test.each([
    ["101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"],
    ["999", reply("x", "HTTP/1.1 999 X")],
    ["600", reply("x", "HTTP/1.1 600 X", "X-Postern-Raw: 1")],
    ["no HTTP", "SSH-2.0-x\r\n\r\n"],
  ])("%s is a 502 in the edge's own words", async (_, bytes) => {
    answer = bytes;
    expect(await get()).toMatch(/^HTTP\/1\.1 502 [^]*x-postern-reason: /i);
    answer = reply("x");
    expect(await get()).toContain(" 200 ");
  });
});
