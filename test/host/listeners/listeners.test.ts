// Listener ports on real sockets: what opens, closes, and gets out of the way.
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createListenerProxy, type ListenerProxy } from "../../../src/host/proxy/listener-proxy.ts";
import { freePort } from "../../../src/host/process/free-port.ts";
import { Listeners } from "../../../src/host/listeners/listeners.ts";

const edge = createServer((_, res) => res.end("edge"));
let proxy: ListenerProxy;
let listeners: Listeners;
let said: string[];

beforeEach(async () => {
  edge.listen(0, "127.0.0.1");
  await once(edge, "listening");
  proxy = createListenerProxy(new URL(`http://127.0.0.1:${(edge.address() as AddressInfo).port}`), "s");
  said = [];
  listeners = new Listeners(proxy, (line) => said.push(line));
});

afterEach(async () => {
  listeners.close();
  await proxy.close();
  edge.close();
  edge.closeAllConnections();
});

const refused = async (port: number, host = "127.0.0.1") => {
  const socket = connect(port, host);
  return new Promise<boolean>((resolve) => {
    socket.once("error", () => resolve(true));
    socket.once("connect", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
};

test("opens on both loopback addresses, and closes, as the table says", async () => {
  const [one, two] = [await freePort(), await freePort()];
  await listeners.reconcile(new Set([one]));
  expect([await refused(one), await refused(one, "::1"), await refused(two)]).toEqual([false, false, true]);
  await listeners.reconcile(new Set([one, two]));
  expect([await refused(one), await refused(two)]).toEqual([false, false]);
  await listeners.reconcile(new Set([two]));
  expect([await refused(one), await refused(one, "::1"), await refused(two)]).toEqual([true, true, false]);
  expect(said).toEqual([
    `Port ${one} is open.`,
    `Port ${two} is open.`,
    `Port ${one} is closed: no Service has it any more.`,
  ]);
});

test("a port in use is named once, others open, and it opens when it becomes free", async () => {
  const taken = createTcpServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const other = await freePort();
  await listeners.reconcile(new Set([port, other]));
  await listeners.reconcile(new Set([port, other]));
  expect(said).toEqual([expect.stringMatching(`Port ${port} is in use.*ss -ltnp`), `Port ${other} is open.`]);
  expect(listeners.at(port)).toBeUndefined();
  taken.close();
  await once(taken, "close");
  await listeners.reconcile(new Set([port, other]));
  expect(said.at(-1)).toBe(`Port ${port} is open.`);
  expect(listeners.at(port)).toBe(port);
});

test("a port below 1024 that needs rights opens 8000 higher, and says so", async () => {
  const denied: ListenerProxy = {
    ...proxy,
    server(port) {
      const server = proxy.server(port);
      const listen = server.listen.bind(server);
      // The test may run as root, to whom the kernel refuses nothing.
      server.listen = ((at: number, host: string) => {
        if (at >= 1024) return listen(at, host);
        process.nextTick(() => server.emit("error", Object.assign(new Error("no"), { code: "EACCES" })));
        return server;
      }) as Server["listen"];
      return server;
    },
  };
  listeners = new Listeners(denied, (line) => said.push(line));
  await listeners.reconcile(new Set([997]));
  expect(listeners.at(997)).toBe(8997);
  expect(await refused(8997)).toBe(false);
  expect(said).toEqual(["Port 997 needs rights that this user lacks: it is open as 8997."]);

  // A Service that comes later with the very port that stands in.
  await listeners.reconcile(new Set([997, 8997]));
  expect(said.slice(1)).toEqual([
    expect.stringContaining(
      "Port 8997 cannot be opened, so its Service cannot be reached: port 8997 stands in for port 997",
    ),
  ]);
  listeners.close();

  // Both at once: it is the Service's that has it.
  said = [];
  await listeners.reconcile(new Set([997, 8997]));
  expect([listeners.at(997), listeners.at(8997), [...listeners.open]]).toEqual([undefined, 8997, [8997]]);
  expect(said).toEqual([
    expect.stringMatching(/^Port 997 needs rights .*ip_unprivileged_port_start=997/),
    "Port 8997 is open.",
  ]);
  listeners.close();

  // Nor does a port stand in that the owner does not offer.
  said = [];
  listeners = new Listeners(denied, (line) => said.push(line), { mayStandIn: (port) => port !== 8997 });
  await listeners.reconcile(new Set([997]));
  expect(listeners.at(997)).toBeUndefined();
  expect(said).toEqual([expect.stringContaining("needs rights")]);
});

test("a connection that cannot be accepted is its client's trouble, not the process's", async () => {
  const servers: Server[] = [];
  const seen: ListenerProxy = {
    ...proxy,
    server(port) {
      const server = proxy.server(port);
      servers.push(server);
      return server;
    },
  };
  listeners = new Listeners(seen, (line) => said.push(line));
  const port = await freePort();
  await listeners.reconcile(new Set([port]));
  for (const server of servers) server.emit("error", Object.assign(new Error("accept EMFILE"), { code: "EMFILE" }));
  expect(await refused(port)).toBe(false);
});
