// A listener proxy between raw sockets and a server in place of the edge, all real.
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type RequestListener, type Server } from "node:http";
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server as TcpServer,
  type Socket,
} from "node:net";
import { afterEach } from "vitest";
import {
  createListenerProxy,
  type ListenerProxy,
  type ListenerProxyOptions,
} from "../../../src/host/proxy/listener-proxy.ts";

export const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
});

export async function listen(server: TcpServer): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup.push(() => {
    server.close();
    if ("closeAllConnections" in server) (server as Server).closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** A listener proxy to 127.0.0.1:`edge`, and the port of its listener 8888. */
export async function forwarding(
  edge: number,
  options: ListenerProxyOptions = {},
): Promise<{ proxy: ListenerProxy; port: number }> {
  const proxy = createListenerProxy(new URL(`http://127.0.0.1:${edge}`), "s3cret", options);
  cleanup.push(() => proxy.close());
  return { proxy, port: await listen(proxy.server(8888)) };
}

/** The port of a listener proxy in front of `upstream`. */
export async function before(upstream: TcpServer, options: ListenerProxyOptions = {}): Promise<number> {
  const { port } = await forwarding(await listen(upstream), options);
  return port;
}

type Handler = (...exchange: Parameters<RequestListener>) => unknown;
export const beforeHandler = (handler: Handler, options: ListenerProxyOptions = {}): Promise<number> =>
  before(
    createServer((req, res) => void handler(req, res)),
    options,
  );

/** A server that answers each connection's first head with these bytes, and says what it got. */
export async function beforeBytes(
  answer: string,
  then: "keep" | "end" | "reset" = "keep",
  options: ListenerProxyOptions = {},
): Promise<[number, Promise<string>]> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const port = await before(
    createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (head) => {
        resolve(head.toString("latin1"));
        socket.write(answer, "latin1", () => {
          if (then === "end") socket.end();
          if (then === "reset") socket.resetAndDestroy();
        });
      });
    }),
    options,
  );
  return [port, promise];
}

export interface Raw {
  readonly text: string;
  readonly broken: boolean;
}

/** Collects what a raw client gets until its connection is closed. */
export async function read(socket: Socket): Promise<Raw> {
  let text = "";
  let broken = false;
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => {
    broken = true;
  });
  await new Promise((resolve) => socket.once("close", resolve));
  return { text, broken };
}

/** Sends raw bytes; resolves with all that came back once the listener proxy closed, and whether it was broken. */
export function raw(port: number, bytes: string): Promise<Raw> {
  const socket = connect(port, "127.0.0.1");
  socket.write(bytes, "latin1");
  return read(socket);
}

/** The same, and a FIN behind them: the client sends no more, and reads on. */
export function halfClosed(port: number, bytes: string): Promise<Raw> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.end(bytes, "latin1");
  return read(socket);
}

export async function get(port: number, options: object = {}): Promise<IncomingMessage> {
  const req = request({ port, host: "127.0.0.1", agent: false, ...options });
  req.on("error", () => {});
  req.end();
  const [res] = (await once(req, "response")) as [IncomingMessage];
  return res;
}
