// One TCP connect, against sockets of the kernel.
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";
import { DIAL_MS, dialTcp } from "../../../agent/probe/dial-tcp.ts";
import { freePort } from "../../../src/host/process/free-port.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Nobody accepts there any more: the thread sleeps, and the queue of connections that the kernel makes for it is full. */
async function silentPort(): Promise<number> {
  const source = `
    const { parentPort } = require("node:worker_threads");
    const server = require("node:net").createServer();
    server.listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => {
      parentPort.postMessage(server.address().port);
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
    });`;
  const worker = new Worker(source, { eval: true });
  cleanups.push(() => worker.terminate());
  const [port] = (await once(worker, "message")) as [number];
  const waiting = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  cleanups.push(() => waiting.forEach((socket) => void socket.destroy()));
  await Promise.all(waiting.slice(0, 2).map((socket) => once(socket, "connect")));
  return port;
}

test("somebody accepts: connected, and the connection is closed at once", async () => {
  const server = createServer();
  const closed = new Promise<void>((resolve) =>
    server.on("connection", (socket) => socket.on("close", resolve).resume()),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  const dial = await dialTcp("127.0.0.1", (server.address() as AddressInfo).port);
  expect(dial).toEqual({ result: "connected", ms: expect.any(Number) as number });
  await closed;
});

test("nothing listens: refused", async () => {
  expect(await dialTcp("127.0.0.1", await freePort())).toMatchObject({ result: "refused", why: "ECONNREFUSED" });
});

test("nothing answers: timeout, after its time and not later", async () => {
  const port = await silentPort();
  const dial = await dialTcp("127.0.0.1", port);
  expect(dial).toEqual({ result: "timeout", ms: expect.any(Number) as number });
  expect(dial.ms).toBeGreaterThanOrEqual(DIAL_MS - 5);
  expect(dial.ms).toBeLessThan(DIAL_MS + 2_000);
});

test("no route leads there: unreachable", async () => {
  // A broadcast address, which no TCP connection can have.
  expect(await dialTcp("255.255.255.255", 80)).toMatchObject({ result: "unreachable" });
});
