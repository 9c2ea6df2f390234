// The port of the admin host: the one that was asked for, or the usual one, or any that is free.
import { once } from "node:events";
import { createServer } from "node:net";
import { freePort } from "../host/process/free-port.ts";

const DEFAULT_PORT = 8787;

/** Throws, in words for its user, where the port that was asked for is in use. */
export async function choosePort(asked: number | undefined): Promise<number> {
  if (asked !== undefined) {
    if (await canListen(asked, "127.0.0.1")) return asked;
    throw new Error(`Port ${asked} is in use by another program: give --port another one.`);
  }
  return (await canListen(DEFAULT_PORT, "127.0.0.1")) ? DEFAULT_PORT : await freePort();
}

export async function canListen(port: number, address: string): Promise<boolean> {
  const server = createServer().listen(port, address);
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
