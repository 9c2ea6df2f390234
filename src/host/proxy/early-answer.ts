// An answer that is complete before its request is. The rest of the request is read and thrown away for a while, so that the client
// can read the answer: bytes that nobody reads would reset the connection, and the answer with it.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Connection } from "./connections.ts";

export interface EarlyAnswer {
  readonly req: IncomingMessage;
  readonly socket: Socket;
  readonly connection: Connection;
  readonly response: ServerResponse | undefined;
}

/** Ends the answer; the connection goes on if the request is whole within `lingerMs`, and is destroyed if not. */
export function endEarly({ req, socket, connection, response }: EarlyAnswer, lingerMs: number): void {
  // node:http destroys with this a connection that is not kept.
  socket.destroySoon = () => socket.end();
  connection.broken = true;
  response?.once("finish", () => {
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    const done = () => {
      clearTimeout(timer);
      connection.broken = false;
      Reflect.deleteProperty(socket, "destroySoon");
      if (socket.writableEnded) socket.destroy();
    };
    req.once("end", done).once("close", done);
  });
  response?.end();
}
