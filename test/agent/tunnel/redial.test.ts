// A tunnel that waits long before it dials again dials at once when the edge was reached by another way.
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import pino from "pino";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Backends } from "../../../agent/endpoints/endpoints.ts";
import { createTunnel, type Tunnel } from "../../../agent/tunnel/index.ts";

let edge: Server;
let tunnel: Tunnel;
let dials: number;
let status: number;
beforeEach(async () => {
  [dials, status] = [0, 503];
  edge = createServer();
  edge.on("upgrade", (_request, socket) => {
    dials++;
    socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  });
  await once(edge.listen(0, "127.0.0.1"), "listening");
  // The first wait, of at most 500 ms with an honest die, is a day.
  vi.spyOn(Math, "random").mockReturnValue(200_000);
});
afterEach(() => {
  vi.restoreAllMocks();
  tunnel.close();
  edge.closeAllConnections();
  edge.close();
});

/** Resolves when the tunnel has said so of one ended dial. */
const ended = async () => {
  const before = told;
  await vi.waitFor(() => expect(told).toBeGreaterThan(before), { timeout: 10_000, interval: 5 });
};
let told = 0;
const start = () => {
  tunnel = createTunnel({
    edge: new URL(`http://127.0.0.1:${(edge.address() as AddressInfo).port}`),
    cluster: "home",
    token: () => "pst_home_0123456789",
    node: "n1",
    instance: "i1",
    software: "test",
    backends: new Backends(),
    log: pino({ level: "silent" }),
    answerProbe: () => undefined,
    onState: () => told++,
  });
  tunnel.dial();
};

it("dials at once, and waits again", async () => {
  start();
  await ended();
  expect(dials).toBe(1);
  tunnel.redialNow();
  await ended();
  expect(dials).toBe(2);
  // While it dials, there is nothing to hurry.
  tunnel.redialNow();
  tunnel.redialNow();
  await ended();
  expect(dials).toBe(3);
});

it("not with a token that was refused, and not when it stops", async () => {
  status = 401;
  start();
  await ended();
  tunnel.redialNow();
  status = 503;
  await tunnel.drain();
  tunnel.redialNow();
  await new Promise((resolve) => setImmediate(resolve));
  expect(dials).toBe(1);
});
