// The sockets of an upgrade, of which node:http has let go: two that are joined, or one that gets an answer after all.
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { destroyLater } from "./refusal.ts";

/** Where the answer to an upgrade that is refused goes: framed anew, and the connection's last. */
export function answerOn(req: IncomingMessage, socket: Socket, lingerMs: number): ServerResponse {
  const response = new ServerResponse(req);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once("finish", () => {
    socket.end();
    socket.removeAllListeners("readable");
    socket.resume();
    destroyLater(socket, lingerMs);
  });
  return response;
}

/** The head with which a client is told that its protocol was switched; a byte string, as `headers` are. */
export function switchHead(status: number, headers: readonly string[]): string {
  let head = `HTTP/1.1 ${status} Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${head}\r\n`;
}

/** Passes bytes both ways; the end or the break of one is the other's. */
export function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on("error", () => from.destroy());
    from.once("close", () => to.destroy());
  }
}
