// Many connections that nobody answers: one datagram each, to all ports of an address from as many sockets as that needs. A program of its
// own, since it runs where the node's are. Arguments: address, count.
import { createSocket, type Socket } from "node:dgram";
import { promisify } from "node:util";

const [address = "", wanted = "0"] = process.argv.slice(2);
const PORTS = 60_000;
const AT_ONCE = 500;

/** To the ports 1 to `count`. */
async function flows(socket: Socket, count: number): Promise<void> {
  const send = promisify((port: number, done: (error: Error | null) => void) => socket.send("x", port, address, done));
  for (let port = 1; port <= count; port += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - port + 1) }, (_, at) => send(port + at)));
}

for (let left = Number(wanted); left > 0; left -= PORTS) {
  const socket = createSocket("udp4");
  await flows(socket, Math.min(PORTS, left));
  socket.close();
}
