// What undici's sockets do beyond undici, with real ones. IP plan: 127.0.0.1:<free port>.
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { type Dispatcher, Pool } from "undici";
import { afterEach, describe, expect, test } from "vitest";
import {
  answerBeforeWriteError,
  connector,
  NothingSent,
  skipContinue,
  tellNothingSent,
} from "../../../src/shared/upstream/connector.ts";

let server: Server;
let pool: Pool;
let heads = 0;
const sockets = new Set<Socket>();

async function serve(answer: (socket: Socket) => void): Promise<void> {
  heads = 0;
  sockets.clear();
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      if (!chunk.includes("\r\n\r\n")) return;
      heads++;
      answer(socket);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const connect = connector({ timeout: 2_000 }, tellNothingSent, answerBeforeWriteError, skipContinue);
  pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { connect, connections: 1 });
}

afterEach(async () => {
  await pool.destroy();
  for (const socket of sockets) socket.destroy();
  server.close();
});

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ask = async (method: Dispatcher.HttpMethod, body: Buffer | null = null): Promise<string> => {
  const answer = await pool.request({ method, path: "/", body });
  return `${answer.statusCode} ${await answer.body.text()}`;
};

describe("100 Continue unasked", () => {
  const sent = `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 100 C\r\n\r\n${OK}`;
  test("is left out, cut anywhere, on one kept connection", async () => {
    let at = 0;
    await serve((socket) => {
      socket.setNoDelay();
      socket.write(sent.slice(0, at), () => setImmediate(() => socket.write(sent.slice(at))));
    });
    for (at = 1; at < sent.length; at++) expect(await ask("POST", Buffer.from("x"))).toBe("200 ok");
    expect(sockets.size).toBe(1);
  });
});

describe("a kept connection that its server has just closed", () => {
  test.each(["GET", "POST"] as const)("%s: nothing was sent, and that is known", async (method) => {
    await serve((socket) => socket.write(OK));
    expect(await ask(method)).toBe("200 ok");
    // undici looks at an idle socket for one turn of the event loop before it writes; this comes right behind the look.
    for (const body of [null, Buffer.from("body")]) {
      await ask(method);
      // Until undici counts the socket as idle.
      for (let i = 0; i < 3; i++) await turn();
      setImmediate(() => [...sockets].at(-1)?.resetAndDestroy());
      const before = heads;
      const error = await ask(method, body).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(NothingSent);
      expect((error as NothingSent).kept).toBe(true);
      expect(heads).toBe(before);
    }
    expect(await ask(method)).toBe("200 ok");
  });

  test("one that had begun to take it is no such case", async () => {
    await serve((socket) => socket.resetAndDestroy());
    const error = await ask("POST", Buffer.alloc(8 * 1024 * 1024)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(NothingSent);
  });
});
